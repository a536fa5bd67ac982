"""Counts of what the pools did. Plain integers that the metrics page reads; written by the event loop's thread only.

One PoolStats may serve several pools: CoreDNS's `coredns_proxy_*` families have no label for the `forward` they
belong to, so pools that ask the same upstream add to the same counts.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BUCKETS_S = tuple(0.00025 * 2**n for n in range(16))
"""Upper bounds, in seconds, of coredns_proxy_request_duration_seconds (CoreDNS plugin/metrics.go TimeBuckets)."""


class Histogram:
    """Durations by bucket: counts[i] are those at most BUCKETS_S[i] and above the one before; the last has no bound."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


@dataclass(slots=True)
class UpstreamStats:
    """Counts of one upstream; what has no CoreDNS name is exported under `shardns_`."""

    durations: list[Histogram | None] = field(default_factory=lambda: [None] * 16)
    """By rcode: coredns_proxy_request_duration_seconds."""
    healthcheck_failures: int = 0
    """coredns_proxy_healthcheck_failures_total."""
    tcp_queries: int = 0
    """Queries given to TCP connections that were up."""
    tcp_waited: int = 0
    """Of those, the ones that had to wait for a dial: coredns_proxy_conn_cache_misses_total{proto="tcp"}."""
    udp_queries: int = 0
    """Queries sent by UDP."""
    udp_shared: int = 0
    """Of those, the ones that shared a socket (only under load): conn_cache_hits_total{proto="udp"}."""
    dials: int = 0
    """TCP connections begun."""
    dial_failures: int = 0
    """Of those, refused, unreachable or not up within a second."""
    open_connections: int = 0
    """TCP connections up now."""
    in_flight: int = 0
    """Sendings of queries that waited for an answer at the last tick, at most 0.15 s ago while there are any; a
    hedged query counts once per connection."""
    hedges: int = 0
    """Queries asked a second time because their connection fell silent."""
    retries: int = 0
    """Queries asked again after a time-out, a truncated or unparsable answer."""
    resent: int = 0
    """Queries asked again because their connection died."""
    timeouts: int = 0
    """Queries that found no answer here within their whole time."""
    unknown_ids: int = 0
    """Answers with an id that nobody waits for; ignored."""
    wrong_questions: int = 0
    """Answers with a known id and another question."""
    malformed: int = 0
    """Answers that could not be read."""
    truncated: int = 0
    """Answers with TC, or that end before their records do."""

    def observe(self, rcode: int, seconds: float) -> None:
        """Count one answer."""
        histogram = self.durations[rcode]
        if histogram is None:
            histogram = self.durations[rcode] = Histogram()
        histogram.observe(seconds)

    def conn_cache_hits(self, proto: str) -> int:
        """coredns_proxy_conn_cache_hits_total; proto is "tcp" or "udp"."""
        return self.tcp_queries - self.tcp_waited if proto == "tcp" else self.udp_shared

    def conn_cache_misses(self, proto: str) -> int:
        """coredns_proxy_conn_cache_misses_total; proto is "tcp" or "udp"."""
        return self.tcp_waited if proto == "tcp" else self.udp_queries - self.udp_shared


@dataclass(slots=True)
class PoolStats:
    """Counts of all pools that were given this object."""

    upstreams: dict[str, UpstreamStats] = field(default_factory=dict)
    """By label of the upstream (`to`)."""
    healthcheck_broken: int = 0
    """coredns_forward_healthcheck_broken_total."""
    max_concurrent_rejects: int = 0
    """coredns_forward_max_concurrent_rejects_total."""

    def of(self, label: str) -> UpstreamStats:
        """The counts of the upstream with this label, made on first use."""
        found = self.upstreams.get(label)
        if found is None:
            found = self.upstreams[label] = UpstreamStats()
        return found
