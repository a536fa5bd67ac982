"""What the metrics page is made from. The upstream process fills a Sources once; the page looks at it at each scrape.

Numbers that others keep are reached through functions or live objects, so that nothing is copied between scrapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shardns.metrics.histogram import Histogram


class RowLike(Protocol):
    """A counters row of the Plan: one (listen address, zone) pair."""

    @property
    def index(self) -> int:
        """Its place in every segment's rows."""

    @property
    def server(self) -> str:
        """The label: dns://127.0.0.1:53."""

    @property
    def zone(self) -> str:
        """The label: cluster.local. with its dot, or "dropped"."""


class DurationsLike(Protocol):
    """A histogram over the time buckets of CoreDNS (plugin/metrics.go)."""

    @property
    def counts(self) -> Sequence[int]:
        """Per bucket, not cumulative; the last has no bound."""

    @property
    def sum_s(self) -> float:
        """All durations together."""


class UpstreamLike(Protocol):
    """Counts of one nameserver that is asked (exchange.UpstreamStats)."""

    healthcheck_failures: int
    tcp_queries: int
    udp_queries: int
    dials: int
    dial_failures: int
    open_connections: int
    in_flight: int
    hedges: int
    retries: int
    resent: int
    timeouts: int
    unknown_ids: int
    wrong_questions: int
    malformed: int
    truncated: int

    @property
    def durations(self) -> Sequence[DurationsLike | None]:
        """Of answered queries, by rcode; None where there were none."""

    def conn_cache_hits(self, proto: str) -> int:
        """proto is tcp or udp."""

    def conn_cache_misses(self, proto: str) -> int:
        """proto is tcp or udp."""


class PoolsLike(Protocol):
    """Counts of all pools (exchange.PoolStats)."""

    healthcheck_broken: int
    max_concurrent_rejects: int

    @property
    def upstreams(self) -> Mapping[str, UpstreamLike]:
        """By the label `to`: 192.0.2.53:53."""


class FlightsLike(Protocol):
    """Counts of flights (upstream.FlightCounts)."""

    started: int
    joined: int
    failed: int
    open: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Descriptors of the segments, readable. The numbers are read by pread, which makes no page of a sparse segment."""

    slots: tuple[int, ...]
    """Every worker slot, of both generations; of worker w: slots w and w + len(slots) / 2."""
    workers: tuple[int, ...]
    """The slots of this generation's workers, worker 0 first."""
    upstream: int


@dataclass(frozen=True, slots=True)
class PluginView:
    """One plugin of a server block at one of its listen addresses."""

    server: str
    zone: str
    name: str


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What a server block's share of the table holds, and what was thrown out."""

    success: int = 0
    denial: int = 0
    success_evictions: int = 0
    denial_evictions: int = 0


@dataclass(frozen=True, slots=True)
class CacheView:
    """The cache of one server block."""

    zones: str
    """The label: the block's zones joined by commas."""
    rows: Mapping[str, Sequence[int]]
    """By server label, in the order of the Plan: the counters rows of the block at that address."""
    counts: Callable[[], CacheCounts]


@dataclass(frozen=True, slots=True)
class TableUse:
    """The whole table: struct shd_table_use."""

    size_bytes: int
    used_bytes: int = 0
    entries: int = 0
    pages_used: int = 0
    pages_total: int = 0
    classes: Sequence[tuple[int, int]] = ()
    """(octets of a cell, entries) of each size class."""
    refusals: int = 0


SETUP_ERRORS = ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")


@dataclass(frozen=True, slots=True)
class Control:
    """What only the supervisor knows."""

    reloads: int = 0
    reloads_failed: int = 0
    worker_restarts: int = 0
    upstream_restarts: int = 0
    children_stuck: int = 0
    http_busy: int = 0
    setup_errors: Mapping[str, int] = field(default_factory=dict)
    """By errortype of node-cache; those not named are 0."""
    config_sha512: str = ""
    """Of the Corefile in use, hexadecimal, once a reload was made; empty before (CoreDNS plugin/reload)."""


@dataclass(slots=True)
class LocalCounts:
    """Counts of the plugins that answer by themselves."""

    hosts_entries: dict[str, int] = field(default_factory=dict)
    """By the path of the hosts file: its entries and those of the Corefile."""
    hosts_changed_s: float = 0.0
    """When the hosts file that was read last had been changed, seconds since the epoch."""
    template_matches: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By (server, zone, class, type)."""
    template_failures: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By (server, zone, class, type, section, template)."""
    template_rr_failures: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Likewise."""


@dataclass(slots=True)
class Sources:
    """All the page needs."""

    version: str
    memory: Memory
    rows: Sequence[RowLike]
    pools: PoolsLike
    flights: FlightsLike
    table: Callable[[], TableUse]
    start_time_s: float
    """When the supervisor started, seconds since the epoch."""
    supervisor_pid: int
    revision: str = ""
    plugins: Sequence[PluginView] = ()
    caches: Sequence[CacheView] = ()
    control: Callable[[], Control] = Control
    health: Histogram = field(default_factory=Histogram)
    """How long /health took to answer our own question, once a second."""
    health_failures: int = 0
    panics: int = 0
    """Queries under which our own code failed."""
    lines_lost: int = 0
    """Log lines that earlier upstream processes lost."""
    local: LocalCounts = field(default_factory=LocalCounts)
