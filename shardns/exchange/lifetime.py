"""How long a connection is kept. Pure.

Connections to a Service stay with the replica that the first packet met. Replacing them at random ages spreads the
load over replicas that came later. Some nameservers close connections by themselves after some time; a query that
crosses their FIN has to be asked again. So when two connections in a row end like that at about the same age, later
ones are replaced a bit before it.
"""

from __future__ import annotations

from random import Random

from shardns.exchange.health import NEVER

LEARNED_FOR_S = 60.0
"""Seconds that a lesson is believed; then it has to be learned again, at the price of two such ends."""
SHORTEST_S = 0.05
"""An end before this age has another reason than age."""
SAFE_PART = 0.7
"""The part of the learned age after which a replacement is dialled; the rest is time for the dial and for draining."""


class Lifetime:
    """Ages for the connections to one upstream."""

    __slots__ = ("_believed_until", "_dice", "_last_age_s", "_max_age_s", "learned_s")

    def __init__(self, max_age_s: float, dice: Random) -> None:
        """max_age_s 0 is no limit of our own."""
        self._max_age_s = max_age_s
        self._dice = dice
        self._last_age_s = 0.0
        self._believed_until = 0.0
        self.learned_s = 0.0
        """The age at which the upstream closes connections in use; 0 when it does not seem to."""

    def draw(self, now: float) -> float:
        """The age in seconds at which a connection made now is to be replaced; NEVER for no limit."""
        age = self._max_age_s * self._dice.uniform(0.5, 1.0) if self._max_age_s else NEVER
        if self.learned_s and now < self._believed_until:
            age = min(age, self.learned_s * SAFE_PART * self._dice.uniform(0.9, 1.0))
        return age

    def closed_by_peer(self, age_s: float, now: float) -> None:
        """A connection in use ended by FIN at this age."""
        if age_s < SHORTEST_S:
            return
        last, self._last_age_s = self._last_age_s, age_s
        if last and 0.75 < age_s / last < 1.33:
            self.learned_s = min(last, age_s)
            self._believed_until = now + LEARNED_FOR_S
