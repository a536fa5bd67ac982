"""Histograms: CoreDNS's bucket bounds, a small counter for Python's side, and samples out of counts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

TIME_S: Final = tuple(0.00025 * 2**n for n in range(16))
"""Of most durations (CoreDNS plugin/metrics.go TimeBuckets)."""
SLIM_TIME_S: Final = (0.00025, 0.0025, 0.025, 0.25, 2.5)
"""Of /health's own duration (SlimTimeBuckets)."""
SIZE_BYTES: Final = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)
"""Of messages (plugin/metrics/vars/vars.go)."""


def bounds_text(bounds: Sequence[float]) -> tuple[str, ...]:
    """The values of the label `le`, as Go prints them, "+Inf" included."""
    return (*(f"{bound:.9g}" for bound in bounds), "+Inf")


def cumulated(bounds: Sequence[str], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: (bound, how many were at most that), from counts per bucket."""
    return list(zip(bounds, accumulate(counts), strict=True))


class Histogram:
    """Durations over SLIM_TIME_S."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SLIM_TIME_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(SLIM_TIME_S, seconds)] += 1
        self.sum_s += seconds
