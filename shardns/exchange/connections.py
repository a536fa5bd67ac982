"""The TCP side of one upstream: which of the few connections takes a query, when one is dialled, replaced, given up.

    dialling --> open --> retiring (old: takes nothing new, closes when its last answer is in)
        |         | ^
        |         v |
        |       suspect (answers nothing: takes nothing new while there is another; well again with any answer)
        v         |
      failed     ended (FIN, RST, idle, silent for SILENT_S): its asks are asked again elsewhere

Usually an ask goes to a connection at once, however many wait there already, and there are two to four of them. Only
an upstream that answers in turn and is slow (habits.py) gets few asks per connection and up to 32 connections; then
asks wait in the queue for the first one that is free. What becomes of an ask that gets no answer is the pool's to
decide.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from random import Random

from shardns.exchange.ask import ASK_LIMIT_S, Ask
from shardns.exchange.config import PoolConfig
from shardns.exchange.growth import MAX_SERIAL_LINKS, Growth
from shardns.exchange.habits import STUCK_S, Habits
from shardns.exchange.health import NEVER
from shardns.exchange.ids import Ids
from shardns.exchange.lifetime import Lifetime
from shardns.exchange.outcome import CLOSED_BY_PEER, UNPARSABLE, dial_text, read_text
from shardns.exchange.target import Owner, Target
from shardns.exchange.tcp import TcpLink
from shardns.exchange.tcp_mux import MAX_ASKS

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
MAX_SERIAL_DIALS = 8
"""Dials at a time to an upstream that answers in turn; one otherwise."""


class Connections:
    """The connections to one upstream. All times are CLOCK_MONOTONIC in seconds."""

    def __init__(
        self,
        target: Target,
        config: PoolConfig,
        *,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        dice: Random,
        ids: Ids,
        max_links: int,
    ) -> None:
        """max_links are the connections it usually may have, those being dialled included."""
        self.turn = owner.turn
        self.current: TcpLink | None = None  # takes the queries of this turn; None: choose
        self._target = target
        self._stats = target.stats
        self._health = target.health
        self._habits = Habits()
        self._growth = Growth(max_links)
        self._answers = 0
        self._lifetime = Lifetime(config.max_age_s, dice)
        self._expire_s = config.expire_s
        self._owner = owner
        self._loop = loop
        self._dice = dice
        self._ids = ids
        self._max_links = max_links
        self._links: list[TcpLink] = []
        self._dials: list[TcpLink] = []
        # Both wait for a connection, in the order of coming; what is late came before what is not.
        self._queue: deque[Ask] = deque()
        self._queue_late: deque[Ask] = deque()
        self._spare_at = 0.0

    # ------------------------------------------------------------------------------------------------ sending

    def submit(self, ask: Ask, now: float, *, avoid: TcpLink | None = None, forced: bool = False) -> bool:
        """Send the ask, or let it wait for a connection; False when neither can be (the reason: refusal_text).

        avoid   the connection it should not go to
        forced  dial whatever the back-off says
        """
        link = self._choose(ask, now, avoid, forced=forced)
        if link is not None:
            self._put(link, ask, now)
            return True
        if not self._is_worth_waiting(now, forced=forced):
            return False
        self._queue.append(ask)
        return True

    def first_choice(self, now: float) -> TcpLink | None:
        """The connection for the queries of this turn, where nothing needs a thought: all are well and none is busy."""
        links = self._links
        if len(links) < WANTED or self._health.fails or self._habits.serial(now):
            return None
        best = links[0]
        for link in links:
            mux = link.mux
            if link.retiring or link.suspect_since or link.stuffed or mux.waiting or mux.late:
                return None
            if link.used < best.used:
                best = link
        self.current = best
        return best

    def refusal_text(self) -> str:
        """Why submit said no."""
        return self._health.dial_error or dial_text("tcp", self._target.label, errno.ETIMEDOUT)

    def has_other(self, avoid: object, since: float) -> bool:
        """Whether a connection besides avoid is well and was heard of since then."""
        return any(link is not avoid and _is_well(link) and link.heard_at >= since for link in self._links)

    def flush(self, link: TcpLink, now: float) -> None:
        """Write what the turn put on this connection; the next turn takes another one."""
        count = link.flush(now)
        self._stats.tcp_queries += count
        link.taken += count
        self.current = None
        limit = self._habits.limit(now)
        if 0 < limit <= link.taken and not link.closed:
            self._retire(link)

    def _put(self, link: TcpLink, ask: Ask, now: float) -> None:
        """Send the ask on this connection, with the frames of this turn."""
        mux = link.mux
        if not mux.out:
            self._owner.woken(link)
        trouble = ask.trouble
        if trouble is None:
            mux.send(ask, now)
        else:
            trouble.place = link
            (mux.send_again if trouble.stage else mux.send)(ask, now)

    def _choose(self, ask: Ask, now: float, avoid: TcpLink | None, *, forced: bool) -> TcpLink | None:
        """The connection for the next asks; None when they have to wait for one or cannot be sent."""
        well = [link for link in self._links if link is not avoid and _is_well(link)]
        if avoid is not None:
            # What did not answer since then may be as dead as the one to avoid; a fresh dial is the better bet.
            well = [link for link in well if link.heard_at >= ask.sent]
        if not well:
            self._dial(now, forced=forced)
            return None if self._is_worth_waiting(now, forced=forced) else self._least_bad(avoid)
        # The shortest queue first: where an upstream is stuck on one connection the others are shorter. Among equals
        # the longest unused, so that turns alternate between connections, and so between replicas.
        best = min(well, key=_load)
        if self._habits.serial(now):
            return self._choose_serial(best, now)
        busy = len(best.mux)
        oldest = best.mux.oldest()
        stuck = oldest is not None and oldest + STUCK_S < now
        if stuck or busy >= GROW_ASKS or (len(well) < WANTED and now >= self._spare_at):
            self._dial(now)
        if avoid is None and busy < GROW_ASKS:
            self.current = best
        return best if busy < MAX_ASKS else None

    def _choose_serial(self, best: TcpLink, now: float) -> TcpLink | None:
        """As _choose, where an ask should not wait behind others: the best connection only if it is free enough."""
        if len(best.mux) < self._room(best, now):
            return best
        self._dial(now)
        return None if self._is_worth_waiting(now, forced=False) else best

    def _room(self, link: TcpLink, now: float) -> int:
        """How many asks may be on this connection at a time."""
        if not self._habits.serial(now):
            return MAX_ASKS
        depth = self._habits.depth(self._target.rtt.mean_s)
        limit = self._habits.limit(now)
        return min(depth, limit - link.taken) if limit else depth

    def _serial_links(self, now: float) -> int:
        """How many connections a serial upstream may have; all it can where each takes only a few queries."""
        return MAX_SERIAL_LINKS if self._habits.limit(now) else self._growth.links

    def _feed(self, link: TcpLink, now: float) -> None:
        """Give this connection, which is new or has just become free, what waits for one."""
        while (queue := self._queue_late or self._queue) and _is_well(link) and len(link.mux) < self._room(link, now):
            ask = queue.popleft()
            if ask.trouble is None or not ask.trouble.finished:
                self._put(link, ask, now)
                self._stats.tcp_waited += 1
        if queue:
            self._dial(now)

    def _least_bad(self, avoid: TcpLink | None) -> TcpLink | None:
        """A connection to use when none is well and no other can be made."""
        rest = [link for link in self._links if link is not avoid and len(link.mux) < MAX_ASKS]
        return max(rest, key=lambda link: (not link.stuffed, link.mux.progress), default=None)

    def _is_worth_waiting(self, now: float, *, forced: bool) -> bool:
        """Whether an ask may wait: for a dial under way, or for a connection of a serial upstream to become free.

        After failures only a young dial is worth it: it may be the one that works, an older one most likely is not.
        """
        if not self._dials:
            return self._habits.serial(now) and len(self._links) >= self._serial_links(now)
        return forced or not self._health.dial_failures or now - self._dials[-1].born < SECOND_DIAL_S

    # ------------------------------------------------------------------------------------------------ dialling

    def _dial(self, now: float, *, forced: bool = False, another: bool = False) -> None:
        """Start a dial unless enough are under way, there are enough connections, or the back-off forbids it."""
        serial = self._habits.serial(now)
        at_once = min(len(self._queue) + len(self._queue_late) + 1, MAX_SERIAL_DIALS) if serial else 1 + another
        limit = self._serial_links(now) if serial else self._max_links
        if len(self._links) + len(self._dials) >= limit:
            if serial:
                self._growth.wanted(self._answers, now)
            return
        if len(self._dials) >= at_once:
            return
        if not forced and not self._health.may_dial(now):
            return
        if not serial:
            self._growth.reset()
        self._stats.dials += 1
        self._owner.stirred()
        target = self._target
        try:
            link = TcpLink(self, self._loop, target.family, target.address, target.label, self._ids, now)
        except OSError as error:  # no descriptor left, no memory for a socket
            self._stats.dial_failures += 1
            self._health.dial_failed(now, dial_text("tcp", target.label, error.errno or errno.EIO))
        else:
            self._dials.append(link)

    def link_opened(self, link: TcpLink, now: float) -> None:
        """A dial worked: send what waits, retire what it replaces."""
        self._dials.remove(link)
        self._links.append(link)
        self._stats.open_connections += 1
        link.retire_at = now + self._lifetime.draw(now)
        self._spare_at = now + self._dice.uniform(0.03, 0.1)
        self.current = None
        for old in list(self._links):
            if now >= old.retire_at:
                self._retire(old)
        self._feed(link, now)

    def link_failed(self, link: TcpLink, code: int, now: float) -> None:
        """A dial failed: no other for a while; what waited for it and no other dial is told."""
        self._dials.remove(link)
        self._owner.stirred()
        self._dial_failed(code, now)

    def _dial_failed(self, code: int, now: float) -> None:
        health = self._health
        self._stats.dial_failures += 1
        health.dial_failed(now, dial_text("tcp", self._target.label, code))
        if not self._links and health.trouble_is_news:
            # A check now would be this very dial again: take it for the first failed one.
            self._stats.healthcheck_failures += 1
            health.check_failed(now)
        if self._dials or (self._habits.serial(now) and any(map(_is_well, self._links))):
            return
        for ask in self._take_queue():
            self._owner.lost(self._target, ask, health.dial_error, now, unreachable=True)

    def _take_queue(self) -> list[Ask]:
        queue = [*self._queue_late, *self._queue]
        self._queue_late.clear()
        self._queue.clear()
        return queue

    # ------------------------------------------------------------------------------------------------ answers, ends

    def link_answered(self, link: TcpLink, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Answers came."""
        mux = link.mux
        if link.suspect_since:
            link.suspect_since = 0.0
        if mux.unknown_ids:
            self._stats.unknown_ids += mux.unknown_ids
            mux.unknown_ids = 0
        if found:
            self._answers += len(found)
            if self._health.dial_failures:
                self._health.dial_worked()
            if not self._habits.parallel and (mux.waiting or len(found) > 1 or found[0][0].trouble is not None):
                self._habits.answered(mux, found, now)
            self._target.rtt.observe(now - found[-1][2])
            self._owner.answered(self._target, found, now)
        if link.retiring and not len(mux) and not mux.out:
            self._drop(link)
        if (self._queue or self._queue_late) and (not self._dials or self._habits.serial(now)):
            self._feed(link, now)

    def link_ended(self, link: TcpLink, code: int, now: float) -> None:
        """A connection ended by the other side: replace it at once when it was in use, ask its asks again."""
        self._drop(link)
        self._owner.stirred()
        asks = link.mux.abandon()
        error = CLOSED_BY_PEER
        if code > 0:
            error = read_text("tcp", link.local, self._target.label, code)
        elif code:
            error = UNPARSABLE
            self._stats.malformed += 1
        if asks and not link.mux.heard:
            self._stats.dial_failures += 1
            self._health.ended_unheard(now, error)
            self._health.trouble(now)
        elif now - link.used < BUSY_S:
            if code == 0:
                self._lifetime.closed_by_peer(now - link.opened, now)
                if asks:
                    self._habits.closed(link.mux.heard, now)
            if not link.retiring and len(self._links) < WANTED:
                self._dial(now)
        for ask in asks:
            self._owner.lost(self._target, ask, error, now, unreachable=False)

    def suspect(self, link: TcpLink, since: float, now: float) -> None:
        """The connection owes an answer since then and gives none: queries go elsewhere, a replacement is dialled.

        So do those that were not heard of since: where all go through one Service address, they may lead to the same
        dead replica, and a fresh dial is a better bet than a second time-out. Not with an upstream that answers in
        turn: there a connection is stuck all by itself.
        """
        serial = self._habits.serial(now)
        for each in self._links:
            if not each.suspect_since and (each is link or (not serial and each.heard_at < since)):
                each.suspect_since = now
        if self.current is not None and self.current.suspect_since:
            self.current = None
        self._dial(now)

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
            self._stats.open_connections -= 1
        if self.current is link:
            self.current = None
        link.close()

    # ------------------------------------------------------------------------------------------------ time

    def tick(self, now: float) -> float:
        """Do what is due; when to come again (NEVER: not before the next query)."""
        due = NEVER
        for link in list(self._dials):
            due = min(due, self._tick_dial(link, now))
        for link in list(self._links):
            due = min(due, self._tick_link(link, now))
        return min(due, self._tick_queue(now))

    def _tick_dial(self, link: TcpLink, now: float) -> float:
        """Time-out of a dial; a second one beside it."""
        if now >= link.born + DIAL_LIMIT_S:
            self._dials.remove(link)
            link.close()
            self._dial_failed(errno.ETIMEDOUT, now)
            return NEVER
        if now >= link.born + SECOND_DIAL_S:
            if len(self._dials) == 1 and (self._queue or self._queue_late) and not self._health.dial_failures:
                self._dial(now, another=True)
            return link.born + DIAL_LIMIT_S
        return link.born + SECOND_DIAL_S

    def _tick_link(self, link: TcpLink, now: float) -> float:
        """First time-outs, silence, idleness and age of a connection."""
        mux = link.mux
        oldest = mux.oldest()
        patient_to = now - self._target.rtt.hedge_s
        if oldest is not None and oldest <= patient_to:
            first, *others = mux.overdue(patient_to)
            # An upstream that serves a connection in turn is stuck at the first: it must not block the others again.
            for ask in (*others, first):
                self._owner.late(self._target, link, ask, now)
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
        return max(self._link_due(link, oldest, now), now + 0.005)

    def _link_due(self, link: TcpLink, oldest: float | None, now: float) -> float:
        """When to look at a connection again."""
        if oldest is not None:
            due = oldest + self._target.rtt.hedge_s
        else:
            due = (now if len(link.mux) else link.used) + self._expire_s
        if link.mux.late:
            due = min(due, (link.mux.oldest_late() or now) + ASK_LIMIT_S)
        if link.suspect_since:
            due = min(due, link.suspect_since + SILENT_S)
        if not link.retiring:
            due = min(due, link.retire_at if link.retire_at > now else now + SECOND_DIAL_S)
        return due

    def _renew(self, link: TcpLink, now: float) -> None:
        """An old connection: dial its successor while it serves on, or let it go when it is not needed."""
        if now - link.used > BUSY_S or (len(self._links) >= self._max_links and self.has_other(link, 0.0)):
            self._retire(link)
        else:
            self._dial(now)

    def _end(self, link: TcpLink, now: float) -> None:
        """Give a silent connection up."""
        self._drop(link)
        if not len(link.mux):
            return
        error = link.timeout_text()
        self._health.trouble(now)
        for ask in link.mux.abandon():
            self._owner.lost(self._target, ask, error, now, unreachable=False)

    def _tick_queue(self, now: float) -> float:
        """Tell the pool of asks that wait for a connection longer than an answer should take."""
        while self._queue:
            ask = self._queue[0]
            at = max(ask.started, ask.sent) + self._target.rtt.hedge_s
            if at > now:
                return at
            self._queue_late.append(self._queue.popleft())
            self._owner.late(self._target, None, ask, now)
        return NEVER

    # ------------------------------------------------------------------------------------------------ the end

    def __len__(self) -> int:
        """Sendings that wait for an answer."""
        return sum(len(link.mux) for link in self._links)

    def close(self) -> list[Ask]:
        """Close everything; the asks that waited here."""
        asks = [ask for link in self._links for ask in link.mux.abandon()]
        asks += self._take_queue()
        for link in [*self._links, *self._dials]:
            self._drop(link)
        self._dials.clear()
        return asks


def _load(link: TcpLink) -> tuple[int, float]:
    """The order in which connections are to be used."""
    return len(link.mux), link.used


def _is_well(link: TcpLink) -> bool:
    """Whether a connection should get new queries."""
    return not (link.retiring or link.suspect_since or link.stuffed)
