"""The UDP side of one upstream: sockets of one query each, and when a datagram is taken for lost."""

from __future__ import annotations

import asyncio
import errno
from random import Random

from shardns.exchange.ask import ASK_LIMIT_S, Ask
from shardns.exchange.health import NEVER
from shardns.exchange.ids import Ids
from shardns.exchange.outcome import dial_text, read_text
from shardns.exchange.reply import Verdict
from shardns.exchange.target import Owner, Target
from shardns.exchange.udp_socket import UdpLink, UdpPoller

MAX_SOCKETS = 512
"""Open UDP sockets per upstream; queries beyond share them."""


class Datagrams:
    """The UDP sockets to one upstream."""

    def __init__(
        self, target: Target, *, owner: Owner, loop: asyncio.AbstractEventLoop, dice: Random, ids: Ids
    ) -> None:
        """No socket is opened before the first query."""
        self._target = target
        self._owner = owner
        self._loop = loop
        self._dice = dice
        self._ids = ids
        self._poller = UdpPoller(loop, owner.turn)
        self._waiting: dict[Ask, UdpLink] = {}  # before their first time-out, in the order of sending
        self._sockets: dict[UdpLink, None] = {}  # open, oldest first

    def __len__(self) -> int:
        """Asks before their first time-out."""
        return len(self._waiting)

    def submit(self, ask: Ask, now: float) -> bool:
        """Send the ask, from a new socket while there are not too many; False when no socket can be had."""
        target = self._target
        target.stats.udp_queries += 1
        if len(self._sockets) >= MAX_SOCKETS:
            target.stats.udp_shared += 1
            link = self._dice.choice(list(self._sockets))
        else:
            try:
                link = UdpLink(
                    self, self._poller, self._loop, target.family, target.address, target.label, self._ids, now
                )
            except OSError as error:
                target.health.dial_error = dial_text("udp", target.label, error.errno or errno.EIO)
                target.health.trouble(now)
                return False
            self._sockets[link] = None
        ask.sent = now
        trouble = ask.trouble
        if trouble is not None:
            trouble.place = link
        if trouble is None or not trouble.stage:
            self._waiting[ask] = link
        link.send(ask)
        return True

    def datagram_answered(self, link: UdpLink, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer came."""
        if self._waiting.pop(ask, None) is not None:
            self._target.rtt.observe(now - ask.sent)
        if not link.match.waiting:
            self._drop(link)
        self._owner.datagram(self._target, ask, wire, verdict, now)

    def datagram_failed(self, link: UdpLink, asks: list[Ask], code: int, now: float) -> None:
        """The upstream's host says that nobody listens, or a router that there is no way."""
        self._drop(link)
        self._owner.stirred()
        self._target.health.trouble(now)
        error = read_text("udp", link.local, self._target.label, code)
        for ask in asks:
            self._waiting.pop(ask, None)
            self._owner.lost(self._target, ask, error, now, unreachable=True)

    def tick(self, now: float) -> float:
        """Tell of first time-outs and close sockets whose answer will not come any more; when to come again."""
        wait_s = self._target.rtt.udp_retry_s
        due = NEVER
        late = []
        for ask in self._waiting:
            if ask.sent + wait_s > now:
                due = ask.sent + wait_s
                break
            late.append(ask)
        for ask in late:
            self._owner.late(self._target, self._waiting.pop(ask), ask, now)
        for link in list(self._sockets):
            if link.born + ASK_LIMIT_S > now:
                return min(due, link.born + ASK_LIMIT_S)
            self._drop(link)
        return due

    def close(self) -> list[Ask]:
        """Close everything; the asks that waited here."""
        asks = [ask for link in self._sockets for ask in link.match.waiting.values()]
        for link in list(self._sockets):
            self._drop(link)
        self._poller.close()
        self._waiting.clear()
        return asks

    def _drop(self, link: UdpLink) -> None:
        """Close and forget a socket."""
        if self._sockets.pop(link, 0) is None:
            self._target.stats.unknown_ids += link.match.unknown_ids
            self._target.stats.wrong_questions += link.match.wrong_questions
            link.close()
