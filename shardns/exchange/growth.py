"""How many connections an upstream that answers in turn gets: more as long as more of them bring more answers. Pure.

Names that are slow because the upstream itself waits for somebody are answered twice as fast on twice the connections.
An upstream out of CPU answers no faster, however its connections share what there is. So their number is doubled
when they did not suffice for TRIAL_S, and the next time only if the doubling has paid.
"""

from __future__ import annotations

MAX_SERIAL_LINKS = 32
"""Connections to an upstream that answers in turn, while it is slow. CoreDNS's own forward has no limit."""
TRIAL_S = 0.5
PAUSE_S = 0.1
"""Seconds without a want after which the connections suffice again."""
GAIN = 1.4
"""How many times the answers of before a doubling has to bring."""


class Growth:
    """The limit of one upstream's connections."""

    __slots__ = ("_answers", "_first", "_rate", "_since", "_wanted_at", "links")

    def __init__(self, first: int) -> None:
        """Begin with so many."""
        self._first = first
        self.links = first
        """Connections that there may be."""
        self._rate = 0.0  # answers per second before the last doubling
        self._since = self._wanted_at = 0.0
        self._answers = 0

    def wanted(self, answers: int, now: float) -> None:
        """A query finds all connections taken. answers: of the upstream so far."""
        if now > self._wanted_at + PAUSE_S:
            self._since, self._answers = now, answers
        elif now >= self._since + TRIAL_S:
            rate = (answers - self._answers) / (now - self._since)
            if rate > GAIN * self._rate and self.links < MAX_SERIAL_LINKS:
                self.links = min(2 * self.links, MAX_SERIAL_LINKS)
                self._rate = rate
            self._since, self._answers = now, answers
        self._wanted_at = now

    def reset(self) -> None:
        """Begin anew."""
        self.links = self._first
        self._rate = 0.0
