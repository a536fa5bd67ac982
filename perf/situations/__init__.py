"""The situations of the table "Measured", each built on real processes on one machine: what happens to the clients.

    python -m perf.situations            their names
    python -m perf.situations NAME ...   builds them, prints the figures and the bounds; exit code 1 if one is missed
    python -m perf.situations all

tests/e2e/test_situations.py runs them shortened and holds the figures that are counts, never those that are times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number and what it must be; bound is empty for one that only explains."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    is_time: bool = False  # depends on how busy the machine is: never decides a test

    @property
    def is_met(self) -> bool:
        """Whether the number is within its bounds."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        bounds = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        bounds += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        verdict = ("met" if self.is_met else "MISSED") if bounds else ""
        number = f"{int(self.value):,}" if self.value == int(self.value) else f"{self.value:g}"
        value = f"{number} {self.unit}".strip()
        return f"  {self.what:<58} {value:>14}   {' and '.join(bounds):<16} {verdict}".rstrip()


# What a situation is: (an empty directory, how much of the full measure: 1.0 is all) -> figures.
Situation = Callable[[Path, float], list[Figure]]


class Skipped(Exception):  # noqa: N818 - not an error
    """This machine cannot build the situation; the text says why."""
