"""Which upstream a query tries first, second and so on (CoreDNS 1.13.2 plugin/forward/policy.go). Pure but for dice."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from shardns.exchange.config import PolicyName


class Policy:
    """Orders the upstreams 0 to count-1 for each query."""

    def __init__(self, name: PolicyName, count: int, dice: Random) -> None:
        """dice decides `random`; the other policies do not use it."""
        self._name = name
        self._all = tuple(range(count))
        self._dice = dice
        self._robin = 0

    def order(self) -> Sequence[int]:
        """All upstreams, each once, the first to try first."""
        count = len(self._all)
        if count == 1 or self._name == "sequential":
            return self._all
        if self._name == "random":
            return self._dice.sample(self._all, count)
        # CoreDNS counts before it takes: the first query goes to the second upstream.
        self._robin = (self._robin + 1) % count
        first = self._robin
        return (first, *self._all[:first], *self._all[first + 1 :])
