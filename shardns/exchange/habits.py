"""How an upstream treats the queries of one connection, learned from how it answers. Pure.

RFC 7766 s.6.2.1.1 asks servers to work on pipelined queries at the same time. Not all do:

- CoreDNS (miekg/dns server.go, serveTCPConn) answers the queries of a connection strictly in turn, so that one slow
  name holds up all behind it. As long as it is fast nobody notices. When it is not, the remedy is the one that its own
  forward plugin always uses: a connection for each query that waits, up to MAX_SERIAL_LINKS.
- Some close a connection after a number of queries: 128 in CoreDNS before 1.10.1, one in small test servers. The
  remedy is to send no more than that on one.

An answer that overtakes an older query proves the first habit wrong, for good.
"""

from __future__ import annotations

BELIEVED_S = 300.0
"""Seconds that a habit is believed without new evidence."""
STUCK_S = 0.03
"""A query that waits this long since the last answer on its connection is taken to be held up."""
MAX_SERIAL_LINKS = 32
"""Connections to an upstream that answers in turn, while it is slow. CoreDNS's own forward has no limit."""
MAX_DEPTH = 64


class Habits:
    """What is known of one upstream's ways with connections."""

    __slots__ = ("_closed_after", "_closing_until", "_limit", "_serial_until", "parallel")

    def __init__(self) -> None:
        """Take the upstream for a good one."""
        self.parallel = False
        """Whether an answer has ever overtaken an older query of its connection."""
        self._serial_until = 0.0
        self._closed_after = 0
        self._closing_until = 0.0
        self._limit = 0

    def overtaken(self) -> None:
        """An answer came before that of an older query on the same connection."""
        self.parallel = True
        self._serial_until = 0.0

    def stuck(self, now: float) -> None:
        """Queries were held up behind another one of their connection."""
        if not self.parallel:
            self._serial_until = now + BELIEVED_S

    def closed(self, answers: int, now: float) -> None:
        """The upstream closed a connection after that many answers, with queries unanswered."""
        if answers and answers == self._closed_after:
            self._limit = answers
            self._closing_until = now + BELIEVED_S
        self._closed_after = answers

    def serial(self, now: float) -> bool:
        """Whether queries should not wait behind others: answered in turn, or few per connection."""
        return now < self._serial_until or 0 < self.limit(now) < MAX_DEPTH

    def limit(self, now: float) -> int:
        """How many queries one connection takes in its life; 0 is no limit."""
        return self._limit if now < self._closing_until else 0

    def depth(self, usual_s: float) -> int:
        """How many queries may wait on one connection of a serial upstream that usually needs usual_s for one."""
        return max(1, min(MAX_DEPTH, int(STUCK_S / usual_s))) if usual_s > 0 else MAX_DEPTH
