"""The page itself, in Prometheus's text format.

It is made in pieces of a few milliseconds at most, so that the event loop of the upstream process can answer misses in
between: every piece is a prometheus_client collector of its own, rendered by that library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Final

from shardns.metrics import coredns, own
from shardns.metrics.counters import Reader
from shardns.metrics.families import Metric, generate_latest
from shardns.metrics.processes import Group
from shardns.metrics.sources import Sources

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Piece:
    """A prometheus_client collector of a few families; those without a series are left out, as Go's library does."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families that have something to show."""
        return (family for family in self._families() if family.samples)


class Page:
    """The metrics page of the whole program; made anew at each scrape."""

    def __init__(self, sources: Sources) -> None:
        """Look at sources at each scrape."""
        self._sources = sources
        self._reader = Reader(sources.memory, 1 + max((row.index for row in sources.rows), default=0))
        self._group = Group(sources.supervisor_pid)

    @property
    def reader(self) -> Reader:
        """The reader of the C counters, for others who want a number."""
        return self._reader

    def pieces(self) -> Iterator[bytes]:
        """The page in order, piece by piece; the C counters are read before the first."""
        sources = self._sources
        steps = coredns.steps(sources, self._reader.rows())
        steps += [
            lambda: own.workers(self._reader, len(sources.memory.workers), monotonic_ns()),
            lambda: own.upstream(sources),
            lambda: own.nameservers(sources.pools),
            lambda: own.supervisor(sources),
            lambda: self._group.families(sources.start_time_s),
        ]
        return (generate_latest(_Piece(step)) for step in steps)

    async def render(self) -> bytes:
        """The whole page; the event loop turns between its pieces."""
        found: list[bytes] = []
        for piece in self.pieces():
            found.append(piece)
            await asyncio.sleep(0)
        return b"".join(found)
