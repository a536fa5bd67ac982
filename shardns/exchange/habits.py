"""How an upstream treats the queries of one connection, learned from how it answers. Pure.

RFC 7766 s.6.2.1.1 asks servers to work on pipelined queries at the same time. Not all do:

- CoreDNS (miekg/dns server.go, serveTCPConn) answers the queries of a connection strictly in turn, so that one slow
  name holds up all behind it. As long as it is fast nobody notices. When it is not, the remedy is the one that its own
  forward plugin always uses: a connection for each query that waits, as many as growth.py finds to be of use.
  Slow is not serial: an upstream that gets no CPU answers late and in order as well, and more connections would be
  more work for it. What tells them apart is what was asked a second time on another connection, because its own had
  fallen silent: whoever has no CPU answers all of it late; whoever is serial answers there at once what was held up,
  and only the query that held it up is slow there too. HOLD_UPS of these are believed, nothing less.
- Some close a connection after a number of queries: 128 in CoreDNS before 1.10.1, one in small test servers. The
  remedy is to send no more than that on one.

An answer that overtakes an older query proves the first habit wrong, for good.
"""

from __future__ import annotations

from itertools import chain

from shardns.exchange.ask import Ask
from shardns.exchange.tcp_mux import TcpMux

BELIEVED_S = 300.0
"""Seconds that a habit is believed without new evidence."""
STUCK_S = 0.03
"""A query that waits this long is taken to be held up."""
HOLD_UPS = 3
"""Times, each within BELIEVED_S of the one before, that queries were held up by a slow one, until it is believed. Once
may be an accident: an upstream that lost the CPU between two answers."""
MAX_DEPTH = 64


class Habits:
    """What is known of one upstream's ways with connections."""

    __slots__ = ("_believed_until", "_closed_after", "_closing_until", "_hold_ups", "_limit", "parallel")

    def __init__(self) -> None:
        """Take the upstream for a good one."""
        self.parallel = False
        """Whether an answer has ever overtaken an older query of its connection."""
        self._hold_ups = 0
        self._believed_until = 0.0  # how long the hold-ups count
        self._closed_after = 0
        self._closing_until = 0.0
        self._limit = 0

    def overtaken(self) -> None:
        """An answer came before that of an older query on the same connection."""
        self.parallel = True
        self._hold_ups = 0

    def held_up(self, now: float) -> None:
        """A query that is slow wherever it is asked held up others of its connection, which are not."""
        if not self.parallel:
            self._hold_ups = self._hold_ups + 1 if now < self._believed_until else 1
            self._believed_until = now + BELIEVED_S

    def answered(self, mux: TcpMux, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """See what these answers, the latest of their connection, tell."""
        first, _, sent = found[0]
        oldest = mux.oldest()
        if oldest is not None and oldest < mux.progress:
            self.overtaken()
            return
        trouble = first.trouble
        asked_elsewhere = trouble is not None and trouble.places > 1 and not trouble.answered_at
        if asked_elsewhere and _was_ahead(sent, mux, found, now - STUCK_S):
            self.held_up(now)
        for ask, _, _ in found:
            if ask.trouble is not None and not ask.trouble.answered_at:
                ask.trouble.answered_at = now

    def closed(self, answers: int, now: float) -> None:
        """The upstream closed a connection after that many answers, with queries unanswered."""
        if answers and answers == self._closed_after:
            self._limit = answers
            self._closing_until = now + BELIEVED_S
        self._closed_after = answers

    def serial(self, now: float) -> bool:
        """Whether queries should not wait behind others: answered in turn, or few per connection."""
        return (self._hold_ups >= HOLD_UPS and now < self._believed_until) or 0 < self.limit(now) < MAX_DEPTH

    def limit(self, now: float) -> int:
        """How many queries one connection takes in its life; 0 is no limit."""
        return self._limit if now < self._closing_until else 0

    def depth(self, usual_s: float) -> int:
        """How many queries may wait on one connection of a serial upstream that usually needs usual_s for one."""
        return max(1, min(MAX_DEPTH, int(STUCK_S / usual_s))) if usual_s > 0 else MAX_DEPTH


def _was_ahead(sent: float, mux: TcpMux, found: list[tuple[Ask, bytes, float]], before: float) -> bool:
    """Whether the connection still owed, behind what was sent at `sent`, an ask that was answered elsewhere before."""
    behind = chain(((ask, at) for ask, _, at in found), mux.late.values())
    return any(at >= sent and ask.trouble is not None and 0 < ask.trouble.answered_at <= before for ask, at in behind)
