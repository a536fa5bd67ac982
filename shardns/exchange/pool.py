"""The way of a query to one of several upstreams and back: the only door of this package.

A query goes to the upstream that the policy names first and that is neither down nor in back-off. If all goes well
that is all. If not:

    connection died          asked again at once, on another connection or upstream
    connection silent        after Rtt.hedge_s (0.15 s usually) asked a second time elsewhere; what comes first counts
    nothing by UDP           after Rtt.udp_retry_s asked again, of the next upstream, from another port
    still nothing            asked again at RETRY_AT_S, given up at ASK_LIMIT_S
    answer cannot be read    asked once more elsewhere; by TCP the same for an answer to another question
    no connection            the next upstream; when none is left the query fails at once

Every repetition is counted per query and bounded, so that an upstream in trouble gets at most MAX_SENDINGS times the
load, and usually less: silence is held against a connection only when it overtook nothing since the query went out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from shardns.dns import codes, message, names
from shardns.exchange.ask import ASK_LIMIT_S, MAX_CLOSINGS, RETRY_AT_S, Ask, Trouble
from shardns.exchange.config import PoolConfig
from shardns.exchange.connections import GROW_ASKS
from shardns.exchange.health import NEVER
from shardns.exchange.ids import Ids
from shardns.exchange.outcome import (
    POOL_CLOSED,
    UNPARSABLE,
    WRONG_QUESTION,
    Failure,
    Outcome,
    limit_text,
)
from shardns.exchange.peer import Peer
from shardns.exchange.reply import GOOD, RCODE, Verdict, as_truncated, bare_error, judge
from shardns.exchange.routing import Routing
from shardns.exchange.rtt import HEDGE_MIN_S
from shardns.exchange.stats import Histogram, PoolStats
from shardns.exchange.target import Target
from shardns.exchange.tcp import TcpLink
from shardns.exchange.turn import Turn
from shardns.exchange.udp_socket import UdpLink

CHECK_LIMIT_S = 1.0
"""Seconds a health check waits (CoreDNS plugin/pkg/proxy/health.go)."""
STALL_S = 0.02
"""A tick that comes later than this was held up by this process itself (CPU quota, a busy node): answers may lie unread
in the sockets, so it lets the loop read before it holds silence against anybody."""
MAX_LINKS = 4
"""TCP connections of a pool of one or two upstreams; each further upstream may have two more."""


class Pool:
    """Asks the upstreams of one `forward`. Everything happens in the loop's thread."""

    def __init__(
        self, config: PoolConfig, stats: PoolStats, *, loop: asyncio.AbstractEventLoop, turn: Turn | None = None
    ) -> None:
        """No connection is made before the first query. Raises OSError for a host that is no address.

        turn    the loop's, where others share it
        """
        self._config = config
        self._stats = stats
        self._loop = loop
        self.turn = turn or Turn(loop)
        self._dice = random.Random()
        ids = Ids()
        max_links = max(2, MAX_LINKS // len(config.upstreams))
        self._peers = [
            Peer(
                index,
                upstream,
                config,
                owner=self,
                stats=stats.of(upstream.label),
                loop=loop,
                dice=self._dice,
                ids=ids,
                max_links=max_links,
            )
            for index, upstream in enumerate(config.upstreams)
        ]
        self._routing = Routing(config, self._peers, stats, self._dice, self.stirred)
        self._only = self._peers[0].tcp if len(self._peers) == 1 else None
        self._force_tcp = config.force_tcp
        self._client_decides = not config.force_tcp and not config.prefer_udp
        self._limit = config.max_concurrent
        self._active = 0
        self._check = message.query(
            names.to_wire(config.health_check_domain), codes.Type.NS, id=0, rd=not config.health_check_no_rec
        )
        self._dirty: list[TcpLink] = []  # have frames to write
        self._failed: list[tuple[Ask, Outcome]] = []  # failed inside ask(): told from the loop
        self._is_put_off = False  # _end_turn
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._stalled = False  # the last tick came late
        self._later: list[tuple[float, int, Ask]] = []  # a heap: what has had its first time-out
        self._number = count()
        self._closed = False

    # ------------------------------------------------------------------------------------------------ asking

    def ask(self, query: bytes, over_tcp: bool, done: Callable[[Outcome], None]) -> None:
        """Send query (a whole message with one question; its id does not matter) to an upstream.

        over_tcp is the client's own transport: it decides where the config leaves it open. done is called exactly
        once, from the loop, never from here. Raises ValueError for a query without a whole question.
        """
        now = monotonic()
        ask = Ask(query, self._force_tcp or (over_tcp and self._client_decides), done, now)
        if self._limit and self._active >= self._limit:
            self._reject(ask)
            return
        self._active += 1
        only = self._only
        if only is not None and ask.by_tcp:
            # The way of nearly every query: one upstream, a connection that is up and has room.
            link = only.current or only.first_choice(now)
            if link is not None and len(link.mux.waiting) < GROW_ASKS:
                mux = link.mux
                if not mux.out:
                    self.woken(link)
                mux.send(ask, now)
                return
        if self._closed or not self._routing.send(ask, now):
            self._fail_soon(ask)

    async def close(self) -> None:
        """Close all sockets; queries that wait end with CLOSED. Later queries do so too."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asks = [ask for peer in self._peers for ask in peer.close()]
        asks += [ask for _, _, ask in self._later]
        self._later.clear()
        self._dirty.clear()
        for ask, outcome in self._take_failed():
            self._finish(ask, outcome)
        for ask in dict.fromkeys(asks):
            if not ask.troubled().finished:
                self._finish(ask, Outcome(None, ask.troubled().label, Failure.CLOSED, POOL_CLOSED))

    def _reject(self, ask: Ask) -> None:
        """Too many queries wait: this one ends (CoreDNS plugin/forward/forward.go: REFUSED)."""
        self._stats.max_concurrent_rejects += 1
        self._active += 1
        self._tell_soon(ask, Outcome(None, "", Failure.MAX_CONCURRENT, limit_text(self._limit)))

    def _fail_soon(self, ask: Ask) -> None:
        """End, from the loop, an ask that could not be sent anywhere."""
        if self._closed:
            self._finish_later_closed(ask)
            return
        trouble = ask.troubled()
        self._tell_soon(ask, Outcome(None, trouble.label, trouble.failure, trouble.detail))

    def _finish_later_closed(self, ask: Ask) -> None:
        """A query to a closed pool."""
        self._active -= 1
        self._loop.call_soon(ask.done, Outcome(None, "", Failure.CLOSED, POOL_CLOSED))

    def _tell_soon(self, ask: Ask, outcome: Outcome) -> None:
        """Call done at the end of this turn."""
        self._failed.append((ask, outcome))
        self.stirred()

    def _take_failed(self) -> list[tuple[Ask, Outcome]]:
        failed, self._failed = self._failed, []
        return failed

    # ------------------------------------------------------------------------------------------------ answers

    def answered(self, target: Target, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Messages came by TCP."""
        durations = target.stats.durations
        label = target.label
        for ask, wire, sent in found:
            verdict = judge(wire, ask.question)
            if verdict is not GOOD or ask.trouble is not None:
                self._answered_oddly(self._peers[target.index], ask, wire, verdict, now - sent)
                continue
            rtt_s = now - sent
            histogram = durations[wire[3] & RCODE]
            if histogram is None:
                histogram = durations[wire[3] & RCODE] = Histogram()
            histogram.observe(rtt_s)
            self._active -= 1
            try:
                ask.done(Outcome(wire, label, None, "", rtt_s))
            except Exception as error:  # noqa: BLE001 - the other answers of this batch must not be lost with it
                self._complain(error)

    def datagram(self, target: Target, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer came by UDP; it has been judged."""
        self._answered_oddly(self._peers[target.index], ask, wire, verdict, now - ask.sent)

    def _answered_oddly(self, peer: Peer, ask: Ask, wire: bytes, verdict: Verdict, rtt_s: float) -> None:
        """An answer to an ask that had trouble, or one that is not simply good."""
        trouble = ask.trouble
        if trouble is not None and trouble.finished:
            return
        by_tcp = ask.by_tcp
        if verdict is Verdict.TRUNCATED or (verdict is Verdict.CUT and not by_tcp):
            peer.stats.truncated += 1
            if self._config.prefer_udp and not by_tcp:
                self._retry_by_tcp(peer, ask)
                return
            if verdict is Verdict.CUT:
                wire = as_truncated(wire, ask.question)
        elif verdict is Verdict.BARE_ERROR:
            wire = bare_error(wire, ask.question)
        elif verdict is Verdict.WRONG_QUESTION:
            peer.stats.wrong_questions += 1
            self._answered_badly(peer, ask, WRONG_QUESTION, rtt_s)
            return
        elif verdict is not GOOD:
            peer.stats.malformed += 1
            self._answered_badly(peer, ask, UNPARSABLE, rtt_s)
            return
        peer.stats.observe(wire[3] & RCODE, rtt_s)
        self._finish(ask, Outcome(wire, peer.label, None, "", rtt_s))

    def _retry_by_tcp(self, peer: Peer, ask: Ask) -> None:
        """Ask again by TCP what did not fit into a datagram (RFC 7766 s.5), where it was asked before if possible."""
        trouble = ask.troubled()
        trouble.places -= 1
        ask.by_tcp = True
        now = monotonic()
        peer.stats.retries += 1
        if self._routing.send_to(peer, ask, now) or self._routing.send(ask, now):
            trouble.places += 1
        elif not trouble.places:
            self._fail(ask)

    def _answered_badly(self, peer: Peer, ask: Ask, detail: str, rtt_s: float) -> None:
        """An answer that cannot be read, or to another question, as one may be that comes when its id is in use again.

        Once that may be an accident, twice it is the answer.
        """
        trouble = ask.troubled()
        now = monotonic()
        again = not trouble.malformed and not trouble.pinned
        trouble.malformed = True
        if again and self._routing.send_again(ask, trouble, peer, trouble.place, now, other=True):
            trouble.places -= 1
            peer.stats.retries += 1
            return
        self._finish(ask, Outcome(None, peer.label, Failure.MALFORMED, detail, rtt_s))

    # ------------------------------------------------------------------------------------------------ what went wrong

    def lost(self, target: Target, ask: Ask, error: str, now: float, *, unreachable: bool) -> None:
        """The ask gets no answer at this place: send it elsewhere unless it waits elsewhere already."""
        trouble = ask.troubled()
        if trouble.finished:
            return
        trouble.places -= 1
        trouble.detail, trouble.label = error, target.label
        if unreachable:
            trouble.failed |= 1 << target.index
            trouble.failure = Failure.REFUSED_CONNECT
        else:
            trouble.closings += 1
            trouble.failure = Failure.CLOSED
        if trouble.places:
            return
        if trouble.pinned or trouble.closings > MAX_CLOSINGS or not self._routing.send(ask, now):
            self._fail(ask)
            return
        trouble.places += 1
        target.stats.resent += 1

    def late(self, target: Target, link: TcpLink | UdpLink | None, ask: Ask, now: float) -> None:
        """The first time-out of an ask. From here on its times are kept in a heap: these are few."""
        trouble = ask.troubled()
        if trouble.finished or trouble.stage:
            return
        peer = self._peers[target.index]
        trouble.stage = 1
        trouble.place = link
        trouble.label = peer.label
        self._plan_next(ask, trouble, now)
        if isinstance(link, TcpLink):
            if link.mux.progress >= ask.sent:
                return  # younger queries were answered: the connection is well, the name is slow
            peer.tcp.suspect(link, ask.sent, now)
        elif link is None and len(self._peers) == 1:
            return
        if self._routing.send_again(ask, trouble, peer, link, now, other=not isinstance(link, TcpLink)):
            if isinstance(link, UdpLink):
                peer.stats.retries += 1
                peer.health.trouble(now)
            else:
                peer.stats.hedges += 1

    def _plan_next(self, ask: Ask, trouble: Trouble, now: float) -> None:
        """Put the ask's next time-out into the heap."""
        stage = trouble.stage - 1
        at = ask.started + (RETRY_AT_S[stage] if stage < len(RETRY_AT_S) else ASK_LIMIT_S)
        heappush(self._later, (max(at, now), next(self._number), ask))

    def _come_again(self, ask: Ask, now: float) -> None:
        """A later time-out of an ask: ask again or give up."""
        trouble = ask.troubled()
        if trouble.finished:
            return
        peer = next((peer for peer in self._peers if peer.label == trouble.label), self._peers[0])
        if trouble.pinned or now >= ask.started + ASK_LIMIT_S:
            peer.stats.timeouts += 1
            peer.health.trouble(now)
            trouble.failure = Failure.TIMEOUT
            if trouble.place is not None:
                trouble.detail = trouble.place.timeout_text()
            self._fail(ask)
            return
        trouble.stage += 1
        self._plan_next(ask, trouble, now)
        peer.health.trouble(now)
        # TCP loses nothing: a query that waits on two connections to the only upstream, or for one to become free,
        # would be more load with another asking, not more hope. Where they die it is asked again anyway.
        if self._only is not None and ask.by_tcp and (trouble.places > 1 or trouble.place is None):
            return
        if self._routing.send_again(ask, trouble, peer, trouble.place, now, other=True):
            peer.stats.retries += 1

    def _fail(self, ask: Ask) -> None:
        """End the ask with what its trouble says."""
        trouble = ask.troubled()
        self._finish(ask, Outcome(None, trouble.label, trouble.failure, trouble.detail))

    def _finish(self, ask: Ask, outcome: Outcome) -> None:
        """End the ask, once."""
        trouble = ask.trouble
        if trouble is not None:
            if trouble.finished:
                return
            trouble.finished = True
        if trouble is None or not trouble.pinned:
            self._active -= 1
        try:
            ask.done(outcome)
        except Exception as error:  # noqa: BLE001 - other asks must not be lost with it
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Report an exception of a caller's callback."""
        self._loop.call_exception_handler({"message": "exchange: a done callback raised", "exception": error})

    # ------------------------------------------------------------------------------------------------ time

    def woken(self, link: TcpLink) -> None:
        """A link gets its first frame of this turn."""
        self._dirty.append(link)
        if not self._is_put_off:
            self._is_put_off = True
            self.turn.put_off(self._end_turn)

    def stirred(self) -> None:
        """Something has begun: the turn's end sees that the timer comes in time."""
        if not self._is_put_off and not self._closed:
            self._is_put_off = True
            self.turn.put_off(self._end_turn)

    def _end_turn(self) -> None:
        """Write the frames of all connections, tell of failures, and see that the timer comes in time."""
        self._is_put_off = False
        now = monotonic()
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for link in dirty:
                link.owner.flush(link, now)
        if self._failed:
            for ask, outcome in self._take_failed():
                self._finish(ask, outcome)
        # Whatever this turn began, nothing of it is due earlier: one timer serves all queries.
        if now + HEDGE_MIN_S < self._timer_at:
            self._arm(now + HEDGE_MIN_S, now)

    def _arm(self, at: float, now: float) -> None:
        """Have _tick called at this time or before."""
        if at < self._timer_at and not self._closed:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_later(max(at - now, 0.001), self._tick)

    def _tick(self) -> None:
        """Do what is due in all upstreams and arm the timer for what is next."""
        now = monotonic()
        self._timer = None
        stalled = now - self._timer_at > STALL_S and not self._stalled
        self._timer_at = NEVER
        self._stalled = stalled
        if stalled:
            self._arm(now, now)
            return
        later = self._later
        while later and later[0][0] <= now:
            self._come_again(heappop(later)[2], now)
        due = NEVER
        for peer in self._peers:
            if now >= peer.health.next_check:
                self._start_check(peer, now)
            due = min(due, peer.tick(now))
            peer.count_in_flight()
        if later:
            due = min(due, later[0][0])
        if due != NEVER:
            self._arm(due, now)

    def _start_check(self, peer: Peer, now: float) -> None:
        """Ask the health check's question: any reply at all is health."""
        peer.health.check_started()

        def done(outcome: Outcome) -> None:
            if outcome.wire is not None or outcome.failure is Failure.MALFORMED:
                peer.health.check_answered()
            elif outcome.failure is not Failure.CLOSED or not self._closed:
                peer.stats.healthcheck_failures += 1
                peer.health.check_failed(monotonic())
                self.stirred()

        ask = Ask(self._check, self._force_tcp, done, now)
        trouble = ask.troubled()
        trouble.pinned = True
        trouble.stage = 1
        trouble.label = peer.label
        if peer.submit(ask, now, forced=True):
            self.stirred()
            heappush(self._later, (now + CHECK_LIMIT_S, next(self._number), ask))
        else:
            self._fail(ask)
