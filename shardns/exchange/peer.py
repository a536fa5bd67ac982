"""One upstream and the few connections to it: which one takes a query, when one is dialled, replaced or given up.

    dialling --> open --> retiring (old: takes nothing new, closes when its last answer is in)
        |         | ^
        |         v |
        |       suspect (answers nothing: takes nothing new while there is another; well again with any answer)
        v         |
      failed     ended (FIN, RST, idle, silent for SILENT_S): its asks are asked again elsewhere

What becomes of a query that this upstream does not answer is the pool's to decide.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from random import Random
from typing import Protocol

from shardns.exchange.ask import ASK_LIMIT_S, Ask
from shardns.exchange.config import PoolConfig, Upstream
from shardns.exchange.health import NEVER, Health
from shardns.exchange.ids import Ids
from shardns.exchange.lifetime import Lifetime
from shardns.exchange.outcome import CLOSED_BY_PEER, UNPARSABLE, dial_text, read_text
from shardns.exchange.reply import Verdict
from shardns.exchange.rtt import Rtt
from shardns.exchange.stats import UpstreamStats
from shardns.exchange.tcp import TcpLink
from shardns.exchange.tcp_mux import MAX_ASKS
from shardns.exchange.udp_socket import UdpLink, UdpPoller

DIAL_LIMIT_S = 1.0
SECOND_DIAL_S = 0.25
"""A dial that takes longer gets a second one beside it: another source port, so maybe another replica."""
SILENT_S = 2.0
"""A suspect connection that stays silent this long is closed."""
GROW_ASKS = 100
"""Asks on every connection from which on another one is dialled."""
BUSY_S = 1.0
"""A connection written to within this time is in use: its successor is dialled before it is missed."""
WANTED = 2
"""Connections held while there is traffic: one that dies leaves another."""
MAX_UDP_SOCKETS = 512
"""Open UDP sockets per upstream; queries beyond share them."""


class Owner(Protocol):
    """The pool, as an upstream sees it."""

    def answered(self, peer: Peer, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Messages came by TCP: ask, message, when the ask was sent there."""

    def datagram(self, peer: Peer, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer came by UDP; it has been judged."""

    def lost(self, peer: Peer, ask: Ask, error: str, now: float, *, unreachable: bool) -> None:
        """The ask will get no answer at this place: dial failed, connection died, ICMP error."""

    def late(self, peer: Peer, link: TcpLink | UdpLink | None, ask: Ask, now: float) -> None:
        """The first time-out of an ask; link is None when it still waits for a dial."""

    def stirred(self) -> None:
        """Something has begun that `tick` must see in time."""

    def woken(self, peer: Peer, link: TcpLink) -> None:
        """The link is about to have its first frame in this turn of the loop."""


class Peer:
    """One upstream. All times are CLOCK_MONOTONIC in seconds."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        index: int,
        upstream: Upstream,
        config: PoolConfig,
        *,
        owner: Owner,
        stats: UpstreamStats,
        loop: asyncio.AbstractEventLoop,
        dice: Random,
        ids: Ids,
        max_links: int,
    ) -> None:
        """index is its place in the pool; max_links the connections it may have, those being dialled included."""
        self.index = index
        self.label = upstream.label
        self.stats = stats
        self.health = Health(config.max_fails, config.health_check_s, dice)
        self.rtt = Rtt()
        self.current: TcpLink | None = None  # takes the queries of this turn; None: choose
        self._lifetime = Lifetime(config.max_age_s, dice)
        self._expire_s = config.expire_s
        self._owner = owner
        self._loop = loop
        self._dice = dice
        self._ids = ids
        self._max_links = max_links
        found = socket.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        self._family = found[0][0]
        self._address = found[0][4]
        self._links: list[TcpLink] = []
        self._dials: list[TcpLink] = []
        self._queue: list[Ask] = []  # wait for a dial, in the order of coming
        self._queue_late = 0  # how many of them, from the first, were told late
        self._spare_at = 0.0
        self._udp: dict[Ask, UdpLink] = {}  # asks before their first time-out, in the order of sending
        self._poller = UdpPoller(loop)
        self._sockets: dict[UdpLink, None] = {}  # open, oldest first

    # ------------------------------------------------------------------------------------------------ sending

    def submit(self, ask: Ask, now: float, *, avoid: TcpLink | None = None, forced: bool = False) -> bool:
        """Send the ask, or let it wait for a dial; False when neither can be (the reason: refusal_text).

        avoid   the connection it should not go to
        forced  dial whatever the back-off says
        """
        if not ask.by_tcp:
            return self._send_udp(ask, now)
        link = self._choose(now, avoid, forced=forced)
        if link is not None:
            self.put(link, ask, now)
            return True
        if not self._is_worth_waiting(now, forced=forced):
            return False
        self._queue.append(ask)
        self.stats.tcp_waited += 1
        return True

    def put(self, link: TcpLink, ask: Ask, now: float) -> None:
        """Send the ask on this connection, with the frames of this turn."""
        mux = link.mux
        if not mux.out:
            self._owner.woken(self, link)
        trouble = ask.trouble
        if trouble is None:
            mux.send(ask, now)
        else:
            trouble.place = link
            (mux.send_again if trouble.stage else mux.send)(ask, now)

    def refusal_text(self) -> str:
        """Why submit said no."""
        return self.health.dial_error or dial_text("tcp", self.label, errno.ETIMEDOUT)

    def has_other(self, avoid: object) -> bool:
        """Whether a connection besides avoid is up and seems well."""
        return any(link is not avoid and _is_well(link) for link in self._links)

    def flush(self, link: TcpLink, now: float) -> None:
        """Write what the turn put on this connection; the next turn takes another one."""
        self.stats.tcp_queries += link.flush(now)
        self.current = None

    def _choose(self, now: float, avoid: TcpLink | None, *, forced: bool) -> TcpLink | None:
        """The connection for the next asks; None when they have to wait for a dial or cannot be sent."""
        well = [link for link in self._links if link is not avoid and _is_well(link)]
        if well:
            # Among equals the longest unused one: turns alternate between connections, and so between replicas.
            best = min(well, key=lambda link: (len(link.mux.waiting) // GROW_ASKS, link.used))
            busy = len(best.mux.waiting)
            if (len(well) < WANTED and now >= self._spare_at) or busy >= GROW_ASKS:
                self._dial(now)
            if avoid is None and busy < GROW_ASKS:
                self.current = best
            return best if busy < MAX_ASKS else None
        self._dial(now, forced=forced)
        return None if self._is_worth_waiting(now, forced=forced) else self._least_bad(avoid)

    def _is_worth_waiting(self, now: float, *, forced: bool) -> bool:
        """Whether a dial is under way that an ask may wait for.

        After failures only a young dial is: it may be the one that works, an older one most likely is not.
        """
        if not self._dials:
            return False
        return forced or not self.health.dial_failures or now - self._dials[-1].born < SECOND_DIAL_S

    def _least_bad(self, avoid: TcpLink | None) -> TcpLink | None:
        """A connection to use when none is well and no other can be made."""
        rest = [link for link in self._links if link is not avoid and len(link.mux) < MAX_ASKS]
        return max(rest, key=lambda link: (not link.stuffed, link.mux.progress), default=None)

    def _send_udp(self, ask: Ask, now: float) -> bool:
        """Send by UDP, from a new socket while there are not too many."""
        self.stats.udp_queries += 1
        if len(self._sockets) >= MAX_UDP_SOCKETS:
            self.stats.udp_shared += 1
            link = self._dice.choice(list(self._sockets))
        else:
            try:
                link = UdpLink(self, self._poller, self._loop, self._family, self._address, self.label, self._ids, now)
            except OSError as error:
                self.health.dial_error = dial_text("udp", self.label, error.errno or errno.EIO)
                self.health.trouble(now)
                return False
            self._sockets[link] = None
        ask.sent = now
        if ask.trouble is None:
            self._udp[ask] = link
        else:
            ask.trouble.place = link
            if not ask.trouble.stage:
                self._udp[ask] = link
        link.send(ask)
        return True

    # ------------------------------------------------------------------------------------------------ dialling

    def _dial(self, now: float, *, forced: bool = False, another: bool = False) -> None:
        """Start a dial unless one is under way, there are enough connections, or the back-off forbids it."""
        if (self._dials and not another) or len(self._links) + len(self._dials) >= self._max_links:
            return
        if not forced and not self.health.may_dial(now):
            return
        self.stats.dials += 1
        self._owner.stirred()
        self._dials.append(TcpLink(self, self._loop, self._family, self._address, self.label, self._ids, now))

    def link_opened(self, link: TcpLink, now: float) -> None:
        """A dial worked: send what waits, retire what it replaces."""
        self._dials.remove(link)
        self._links.append(link)
        self.stats.open_connections += 1
        link.retire_at = now + self._lifetime.draw(now)
        self._spare_at = now + self._dice.uniform(0.03, 0.1)
        self.current = None
        for old in list(self._links):
            if now >= old.retire_at:
                self._retire(old)
        queue, self._queue, self._queue_late = self._queue, [], 0
        for ask in queue:
            if ask.trouble is None or not ask.trouble.finished:
                self.put(link, ask, now)

    def link_failed(self, link: TcpLink, code: int, now: float) -> None:
        """A dial failed: no other for a while; what waited for it and no other dial is told."""
        self._dials.remove(link)
        self._owner.stirred()
        self._dial_failed(code, now)

    def _dial_failed(self, code: int, now: float) -> None:
        health = self.health
        self.stats.dial_failures += 1
        health.dial_failed(now, dial_text("tcp", self.label, code))
        if not self._links and health.trouble_is_news:
            # A check now would be this very dial again: take it for the first failed one.
            self.stats.healthcheck_failures += 1
            health.check_failed(now)
        if self._dials:
            return
        queue, self._queue, self._queue_late = self._queue, [], 0
        for ask in queue:
            self._owner.lost(self, ask, health.dial_error, now, unreachable=True)

    # ------------------------------------------------------------------------------------------------ answers, ends

    def link_answered(self, link: TcpLink, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Answers came by TCP."""
        if link.suspect_since:
            link.suspect_since = 0.0
        if link.mux.unknown_ids:
            self.stats.unknown_ids += link.mux.unknown_ids
            link.mux.unknown_ids = 0
        if found:
            if self.health.dial_failures:
                self.health.dial_worked()
            self.rtt.observe(now - found[-1][2])
            self._owner.answered(self, found, now)
        if link.retiring and not len(link.mux) and not link.mux.out:
            self._drop(link)

    def link_ended(self, link: TcpLink, code: int, now: float) -> None:
        """A connection ended by the other side: replace it at once when it was in use, ask its asks again."""
        self._drop(link)
        self._owner.stirred()
        in_use = now - link.used < BUSY_S
        asks = link.mux.abandon()
        error = CLOSED_BY_PEER
        if code > 0:
            error = read_text("tcp", link.local, self.label, code)
        elif code:
            error = UNPARSABLE
            self.stats.malformed += 1
        if asks and not link.mux.heard:
            self.stats.dial_failures += 1
            self.health.dial_failed(now, error)
            self.health.trouble(now)
        elif in_use:
            if code == 0:
                self._lifetime.closed_by_peer(now - link.opened, now)
            if not link.retiring and len(self._links) < WANTED:
                self._dial(now)
        for ask in asks:
            self._owner.lost(self, ask, error, now, unreachable=False)

    def datagram_answered(self, link: UdpLink, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer came by UDP."""
        if self._udp.pop(ask, None) is not None:
            self.rtt.observe(now - ask.sent)
        if not link.match.waiting:
            self._drop_socket(link)
        self._owner.datagram(self, ask, wire, verdict, now)

    def datagram_failed(self, link: UdpLink, asks: list[Ask], code: int, now: float) -> None:
        """The upstream's host says that nobody listens, or a router that there is no way."""
        self._drop_socket(link)
        self._owner.stirred()
        self.health.trouble(now)
        error = read_text("udp", link.local, self.label, code)
        for ask in asks:
            self._udp.pop(ask, None)
            self._owner.lost(self, ask, error, now, unreachable=True)

    def _retire(self, link: TcpLink) -> None:
        """Give the connection nothing new, and close it when nothing waits on it."""
        link.retiring = True
        if self.current is link:
            self.current = None
        if not len(link.mux) and not link.mux.out:
            self._drop(link)

    def _drop(self, link: TcpLink) -> None:
        """Close and forget a connection; its asks are the caller's."""
        if link in self._links:
            self._links.remove(link)
            self.stats.open_connections -= 1
        if self.current is link:
            self.current = None
        link.close()

    def _drop_socket(self, link: UdpLink) -> None:
        """Close and forget a UDP socket."""
        if self._sockets.pop(link, 0) is None:
            self.stats.unknown_ids += link.match.unknown_ids
            self.stats.wrong_questions += link.match.wrong_questions
            link.close()

    def suspect(self, link: TcpLink, since: float, now: float) -> None:
        """The connection owes an answer since then and gives none: queries go elsewhere, a replacement is dialled.

        So do those that were not heard of since: where all go through one Service address, they may lead to the same
        dead replica, and a fresh dial is a better bet than a second time-out.
        """
        for each in self._links:
            if not each.suspect_since and (each is link or each.heard_at < since):
                each.suspect_since = now
        if self.current is not None and self.current.suspect_since:
            self.current = None
        self._dial(now)

    # ------------------------------------------------------------------------------------------------ time

    def tick(self, now: float) -> float:
        """Do what is due; when to come again (NEVER: not before the next query)."""
        due = NEVER
        for link in list(self._dials):
            due = min(due, self._tick_dial(link, now))
        for link in list(self._links):
            due = min(due, self._tick_link(link, now))
        due = min(due, self._tick_queue(now))
        due = min(due, self._tick_udp(now))
        return min(due, self.health.next_check)  # last: what was late may have been news to it

    def _tick_dial(self, link: TcpLink, now: float) -> float:
        """Time-out of a dial; a second one beside it."""
        if now >= link.born + DIAL_LIMIT_S:
            self._dials.remove(link)
            link.close()
            self._dial_failed(errno.ETIMEDOUT, now)
            return NEVER
        if now >= link.born + SECOND_DIAL_S:
            if len(self._dials) == 1 and self._queue and not self.health.dial_failures:
                self._dial(now, another=True)
            return link.born + DIAL_LIMIT_S
        return link.born + SECOND_DIAL_S

    def _tick_link(self, link: TcpLink, now: float) -> float:
        """First time-outs, silence, idleness and age of a connection."""
        mux = link.mux
        oldest = mux.oldest()
        if oldest is not None and oldest + self.rtt.hedge_s <= now:
            first, *others = mux.overdue(now - self.rtt.hedge_s)
            # An upstream that serves a connection in turn is stuck at the first: it must not block the others again.
            for ask in (*others, first):
                self._owner.late(self, link, ask, now)
            oldest = mux.oldest()
        if link.suspect_since and now >= link.suspect_since + SILENT_S:
            self._end(link, now)
            return NEVER
        if mux.late:
            mux.forget(now - ASK_LIMIT_S)
        if not len(mux) and not mux.out and (link.retiring or now >= link.used + self._expire_s):
            self._drop(link)
            return NEVER
        if now >= link.retire_at and not link.retiring:
            self._renew(link, now)
        due = oldest + self.rtt.hedge_s if oldest is not None else link.used + self._expire_s
        if mux.late:
            due = min(due, (mux.oldest_late() or now) + ASK_LIMIT_S)
        if link.suspect_since:
            due = min(due, link.suspect_since + SILENT_S)
        if not link.retiring:
            due = min(due, link.retire_at if link.retire_at > now else now + SECOND_DIAL_S)
        return max(due, now + 0.005)

    def _renew(self, link: TcpLink, now: float) -> None:
        """An old connection: dial its successor while it serves on, or let it go when it is not needed."""
        if now - link.used > BUSY_S or (len(self._links) >= self._max_links and self.has_other(link)):
            self._retire(link)
        else:
            self._dial(now)

    def _end(self, link: TcpLink, now: float) -> None:
        """Give a silent connection up."""
        self._drop(link)
        if not len(link.mux):
            return
        error = link.timeout_text()
        self.health.trouble(now)
        for ask in link.mux.abandon():
            self._owner.lost(self, ask, error, now, unreachable=False)

    def _tick_queue(self, now: float) -> float:
        """Tell the pool of asks that wait for a dial longer than an answer should take."""
        while self._queue_late < len(self._queue):
            ask = self._queue[self._queue_late]
            at = max(ask.started, ask.sent) + self.rtt.hedge_s
            if at > now:
                return at
            self._queue_late += 1
            self._owner.late(self, None, ask, now)
        return NEVER

    def _tick_udp(self, now: float) -> float:
        """First time-outs of asks by UDP, and sockets whose answer will not come any more."""
        wait_s = self.rtt.udp_retry_s
        due = NEVER
        late = []
        for ask in self._udp:
            if ask.sent + wait_s > now:
                due = ask.sent + wait_s
                break
            late.append(ask)
        for ask in late:
            self._owner.late(self, self._udp.pop(ask), ask, now)
        for link in list(self._sockets):
            if link.born + ASK_LIMIT_S > now:
                return min(due, link.born + ASK_LIMIT_S)
            self._drop_socket(link)
        return due

    def in_flight(self) -> int:
        """Sendings that wait for an answer."""
        return sum(len(link.mux) for link in self._links) + len(self._udp)

    def close(self) -> list[Ask]:
        """Close everything; the asks that waited here."""
        asks = [ask for link in self._links for ask in link.mux.abandon()]
        asks += self._queue
        asks += [ask for link in self._sockets for ask in link.match.waiting.values()]
        for link in [*self._links, *self._dials]:
            self._drop(link)
        for sock in list(self._sockets):
            self._drop_socket(sock)
        self._poller.close()
        self._dials.clear()
        self._queue.clear()
        self._udp.clear()
        return asks


def _is_well(link: TcpLink) -> bool:
    """Whether a connection should get new queries."""
    return not (link.retiring or link.suspect_since or link.stuffed)
