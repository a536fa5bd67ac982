"""What a benchmark gives back: figures with their bounds, and what is behind them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from perf.servers import Site

NOISY = 0.25  # of a value: a wider spread of its rounds is remarked upon


@dataclass(frozen=True)
class Figure:
    """One number of the table. A bound of None: the figure only explains."""

    name: str  # of its row: stable, compared over commits
    what: str  # the same in words
    value: float
    unit: str = "x"
    must: float | None = None
    aim: float | None = None
    quick: float | None = None  # the bound in the quick form, with room for a noisy machine
    is_floor: bool = False  # the bounds are least values
    note: str = ""
    low: float | None = None  # of the rounds that the value is the median of
    high: float | None = None

    @classmethod
    def over(cls, name: str, what: str, rounds: Sequence[float], *bounds: float | None, note: str = "") -> Figure:
        """The median of the rounds' ratios, and how far they lie apart; bounds are must, aim and quick."""
        must, aim, quick = (*bounds, None, None, None)[:3]
        low, high = min(rounds), max(rounds)
        return cls(name, what, median(rounds), "x", must, aim, quick, note=note, low=low, high=high)

    @property
    def is_noisy(self) -> bool:
        """Whether the rounds differ by so much that the machine cannot have been quiet."""
        return self.low is not None and self.high is not None and self.high - self.low > NOISY * self.value

    def holds(self, bound: float | None) -> bool:
        """Whether the value is within a bound; there is nothing that None does not allow."""
        return bound is None or (self.value >= bound if self.is_floor else self.value <= bound)


@dataclass(frozen=True)
class Outcome:
    """Everything one benchmark found."""

    figures: Sequence[Figure]
    table: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # server (or step) -> quantity -> median
    rounds: Mapping[str, Sequence[float]] = field(default_factory=dict)  # what was measured, in its order
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)  # for the plots
    others: float = 0.0  # processors that all but the measurement took meanwhile, thieves of a virtual machine included
    seconds: float = 0.0  # how long it took
    failure: str = ""  # why there are no figures


@dataclass(frozen=True)
class Extent:
    """How much of a benchmark is run."""

    rounds: int = 5
    seconds: float = 2.0  # of one load
    misses: int = 30_000  # of one load
    peers: tuple[str, ...] = ()  # those measured beside the ones that a bound names
    is_quick: bool = False


QUICK = Extent(rounds=3, seconds=1.2, misses=12_000, is_quick=True)

Progress = Callable[[str], None]
Benchmark = Callable[[Site, Extent, Progress], Outcome]


class Skipped(Exception):  # noqa: N818 - not an error
    """This machine cannot measure it; the text says why."""


def ratios(values: Mapping[str, Sequence[float]], name: str, base: str) -> list[float]:
    """Name's value against base's in the same round, for each round."""
    return [one / other for one, other in zip(values[name], values[base], strict=True)]


def medians(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each series."""
    return {name: median(series) for name, series in values.items() if series}
