"""The health of one upstream, shared by all queries: failed checks, the schedule of checks, back-off of dials. Pure.

Two things are kept apart, because CoreDNS's options speak of the first and know nothing of the second:

- *down* follows failed health checks (plugin/pkg/proxy/health.go, pkg/up). Trouble starts checks; they are repeated
  every interval until one is answered. More than max_fails failures in a row: down. One answer: healthy.
- *back-off* follows failed dials. CoreDNS has none and dials some 14,000 times a second when refused. Here a failed
  dial forbids the next one for a time that doubles, and queries meanwhile fail at once. Checks dial regardless: their
  interval bounds them.

          trouble                 next check due           failed                 answered
  quiet ----------> waiting(due) ---------------> checking --------> waiting(due) ...     --> quiet, fails = 0
"""

from __future__ import annotations

from random import Random

BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 2.0
NEVER = float("inf")


class Health:
    """The health of one upstream."""

    __slots__ = (
        "_dice",
        "_interval_s",
        "_max_fails",
        "checking",
        "dial_error",
        "dial_failures",
        "dial_not_before",
        "fails",
        "next_check",
    )

    def __init__(self, max_fails: int, interval_s: float, dice: Random) -> None:
        """max_fails 0: never down and never checked. dice is for jitter only."""
        self._max_fails = max_fails
        self._interval_s = interval_s
        self._dice = dice
        self.fails = 0
        """Failed checks in a row."""
        self.checking = False
        self.next_check = NEVER
        """When the next check is to be started; NEVER while quiet and while one is under way."""
        self.dial_failures = 0
        """Failed dials in a row."""
        self.dial_not_before = 0.0
        self.dial_error = ""
        """The last failed dial in words."""

    @property
    def down(self) -> bool:
        """Whether queries should go elsewhere while there is an elsewhere."""
        return self.fails > self._max_fails > 0

    def trouble(self, now: float) -> None:
        """A query failed here: start checking, unless that is going on."""
        if self.trouble_is_news:
            self.next_check = now

    @property
    def trouble_is_news(self) -> bool:
        """Whether trouble now would start checks: they are wanted and none is under way or planned."""
        return self._max_fails > 0 and not self.checking and self.next_check == NEVER

    def check_started(self) -> None:
        """A check is under way."""
        self.checking = True
        self.next_check = NEVER

    def check_failed(self, now: float) -> None:
        """The check got no answer: count, and again after the interval, a little jittered against lockstep."""
        self.checking = False
        self.fails += 1
        self.next_check = now + self._interval_s * self._dice.uniform(1.0, 1.1)

    def check_answered(self) -> None:
        """Any reply at all: healthy."""
        self.checking = False
        self.next_check = NEVER
        self.fails = 0

    def dial_failed(self, now: float, error: str) -> None:
        """Forbid dials for a while: 0.1 s doubling to 2 s, each shortened by up to half at random."""
        self.dial_failures += 1
        self.dial_error = error
        limit = min(BACKOFF_FIRST_S * 2 ** min(self.dial_failures - 1, 10), BACKOFF_LAST_S)
        self.dial_not_before = now + limit * self._dice.uniform(0.5, 1.0)

    def ended_unheard(self, now: float, error: str) -> None:
        """A connection was up and ended before it answered: as a failed dial, but the first one forbids nothing.

        A replica that is going away does that, and the next dial may reach another one.
        """
        self.dial_failed(now, error)
        if self.dial_failures == 1:
            self.dial_not_before = now

    def dial_worked(self) -> None:
        """A connection answered: the next dial is free. Being connected is not enough, a proxy may accept and close."""
        self.dial_failures = 0
        self.dial_not_before = 0.0

    def may_dial(self, now: float) -> bool:
        """Whether a query may start a dial now."""
        return now >= self.dial_not_before
