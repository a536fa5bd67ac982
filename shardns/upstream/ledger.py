"""The upstream process's counts outlive it: what the metrics page showed once never becomes less.

C counts in shared memory. What Python counts (flights, exchanges, plugins that answer) and what is counted in private
memory of C (evictions) is written into the segment every second and with every page that is shown, and read by the
process that comes next, after a kill as after a reload. Gauges are not kept. The layout is no interface: segments do
not outlive the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from shardns import log
from shardns.core import ffi
from shardns.exchange import PoolStats
from shardns.exchange.stats import Histogram, UpstreamStats
from shardns.metrics import Sources
from shardns.metrics.histogram import Histogram as HealthHistogram
from shardns.upstream.flights import FlightCounts

CData = Any  # cffi has no types for what it makes
Saved = Any  # what msgpack gives back; only this module made it

_FLIGHTS = ("started", "joined", "failed", "served_stale")
_FORWARD = ("healthcheck_broken", "max_concurrent_rejects")
_SOURCES = ("health_failures", "panics")
_GAUGES = frozenset({"durations", "open_connections", "in_flight"})
_UPSTREAM = tuple(name for name in UpstreamStats.__slots__ if name not in _GAUGES)
_TEMPLATE = ("template_matches", "template_failures", "template_rr_failures")
_CAP = ("success_evictions", "denial_evictions")


class Ledger:
    """All counts that would end with the process, and the memory that keeps them."""

    def __init__(
        self, memory: CData, pools: PoolStats, flights: FlightCounts, sources: Sources, caps: Mapping[str, CData]
    ) -> None:
        """memory: a struct shd_ledger, written by this process alone. caps: a struct shd_cap by label."""
        self._memory = memory
        self._pools = pools
        self._flights = flights
        self._sources = sources
        self._caps = caps
        self._caps_gone: dict[str, list[int]] = {}  # of labels that this Plan has not
        self.refusals = 0
        """Of the table's earlier writers."""

    def restore(self) -> None:
        """Add what our predecessor counted; once, before anything is saved or shown."""
        turn = self._memory.turn
        if not turn:
            return
        half = turn & 1
        octets = ffi.buffer(self._memory.halves[half], self._memory.size[half])
        saved = msgpack.unpackb(octets, use_list=False, strict_map_key=False)
        _add(self._flights, _FLIGHTS, saved["flights"])
        _add(self._pools, _FORWARD, saved["forward"])
        _add(self._sources, _SOURCES, saved["sources"])
        self.refusals = saved["refusals"]
        self._sources.lines_lost = saved["lost"]
        for label, (counts, durations) in saved["upstreams"].items():
            stats = self._pools.of(label)
            _add(stats, _UPSTREAM, counts)
            for rcode, histogram in durations.items():
                known = stats.durations[rcode] = stats.durations[rcode] or Histogram()
                _add_histogram(known, histogram)
        _add_histogram(self._sources.health, saved["health"])
        for name, counts in zip(_TEMPLATE, saved["template"], strict=True):
            getattr(self._sources.local, name).update(dict(counts))
        for label, counts in saved["evictions"].items():
            if label in self._caps:
                _add(self._caps[label], _CAP, counts)
            else:
                self._caps_gone[label] = counts

    def save(self) -> None:
        """Write all counts; more than there is room for (hundreds of nameservers) are not kept."""
        octets = msgpack.packb(self._all())
        memory, half = self._memory, (self._memory.turn + 1) & 1
        if len(octets) <= len(memory.halves[half]):
            ffi.memmove(memory.halves[half], octets, len(octets))
            memory.size[half] = len(octets)
            memory.turn += 1

    def _all(self) -> Saved:
        """Everything, as restore wants it."""
        local, health = self._sources.local, self._sources.health
        return {
            "flights": _counts(self._flights, _FLIGHTS),
            "forward": _counts(self._pools, _FORWARD),
            "sources": _counts(self._sources, _SOURCES),
            "refusals": self._sources.table().refusals,
            "lost": log.lost() + self._sources.lines_lost,
            "upstreams": {label: _upstream(stats) for label, stats in self._pools.upstreams.items()},
            "health": (health.counts, health.sum_s),
            "template": [list(getattr(local, name).items()) for name in _TEMPLATE],
            "evictions": self._caps_gone | {label: _counts(cap, _CAP) for label, cap in self._caps.items()},
        }


def _upstream(stats: UpstreamStats) -> Saved:
    """The counts of one nameserver."""
    durations = {rcode: (one.counts, one.sum_s) for rcode, one in enumerate(stats.durations) if one is not None}
    return _counts(stats, _UPSTREAM), durations


def _counts(holder: object, names: tuple[str, ...]) -> list[int]:
    """The values of these fields."""
    return [getattr(holder, name) for name in names]


def _add(holder: object, names: tuple[str, ...], counts: Saved) -> None:
    """Add to these fields."""
    for name, count in zip(names, counts, strict=True):
        setattr(holder, name, getattr(holder, name) + count)


def _add_histogram(histogram: Histogram | HealthHistogram, saved: Saved) -> None:
    """Add durations that were counted before."""
    counts, sum_s = saved
    histogram.counts = [one + other for one, other in zip(histogram.counts, counts, strict=True)]
    histogram.sum_s += sum_s
