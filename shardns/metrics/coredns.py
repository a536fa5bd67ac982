"""The families that CoreDNS 1.13.2 and node-cache export: names, help, labels and buckets to the letter.

A family is yielded with the series that CoreDNS would show: those that were counted at least once, and those without
labels always. `view` is empty, as it is without CoreDNS's view plugin.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from shardns.dns import codes
from shardns.metrics import histogram
from shardns.metrics.counters import PROTOS, Row
from shardns.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from shardns.metrics.sources import SETUP_ERRORS, CacheView, LocalCounts, PoolsLike, RowLike, Sources

TIME: Final = histogram.bounds_text(histogram.TIME_S)
SLIM_TIME: Final = histogram.bounds_text(histogram.SLIM_TIME_S)
SIZE: Final = histogram.bounds_text(histogram.SIZE_BYTES)

_ZONE: Final = ("server", "zone", "view")
_ZONES: Final = ("server", "zones", "view")
_TYPED_ZONES: Final = ("server", "type", "zones", "view")

Rows = Sequence[tuple[RowLike, Row]]


def build(sources: Sources) -> Iterator[Metric]:
    """coredns_build_info. The version is ours: dashboards show it, and should show the truth."""
    info = GaugeMetricFamily(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.",
        labels=("version", "revision", "goversion"),
    )
    info.add_metric((f"shardns-{sources.version}", sources.revision, f"python{platform.python_version()}"), 1)
    yield info


def dns(rows: Rows) -> Iterator[Metric]:
    """coredns_dns_* (plugin/metrics/vars)."""
    requests = CounterMetricFamily(
        "coredns_dns_requests",
        "Counter of DNS requests made per zone, protocol and family.",
        labels=(*_ZONE, "proto", "family", "type"),
    )
    responses = CounterMetricFamily(
        "coredns_dns_responses", "Counter of response status codes.", labels=(*_ZONE, "rcode", "plugin")
    )
    do_requests = CounterMetricFamily(
        "coredns_dns_do_requests", "Counter of DNS requests with DO bit set per zone.", labels=_ZONE
    )
    for view, row in rows:
        zone = (view.server, view.zone, "")
        for proto, family, qtype, count in row.requests():
            requests.add_metric((*zone, proto, family, qtype), count)
        for rcode, plugin, count in row.responses():
            responses.add_metric((*zone, rcode, plugin), count)
        if row["do_requests"]:
            do_requests.add_metric(zone, row["do_requests"])
    yield requests
    yield do_requests
    yield responses


def dns_durations(rows: Rows) -> Iterator[Metric]:
    """coredns_dns_request_duration_seconds."""
    durations = HistogramMetricFamily(
        "coredns_dns_request_duration_seconds",
        "Histogram of the time (in seconds) each request took per zone.",
        labels=_ZONE,
    )
    for view, row in rows:
        counts = row.many("duration")
        if any(counts):
            buckets = histogram.cumulated(TIME, counts)
            durations.add_metric((view.server, view.zone, ""), buckets, row["duration_ns"] / 1e9)
    yield durations


def dns_sizes(rows: Rows, side: str) -> Iterator[Metric]:
    """coredns_dns_request_size_bytes or coredns_dns_response_size_bytes; side is request or response."""
    text = {
        "request": "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
        "response": "Size of the returned response in bytes.",
    }
    sizes = HistogramMetricFamily(f"coredns_dns_{side}_size_bytes", text[side], labels=(*_ZONE, "proto"))
    for view, row in rows:
        octets = row.many(f"{side}_octets")
        for proto, counts, total in zip(PROTOS, row.pair(f"{side}_size"), octets, strict=True):
            if any(counts):
                sizes.add_metric((view.server, view.zone, "", proto), histogram.cumulated(SIZE, counts), total)
    yield sizes


_CACHE_COUNTERS: Final = (
    ("coredns_cache_requests", "cache_requests", "The count of cache requests."),
    (
        "coredns_cache_misses",
        "cache_misses",
        "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
    ),
    ("coredns_cache_prefetch", "cache_prefetches", "The number of times the cache has prefetched a cached item."),
    (
        "coredns_cache_drops",
        "cache_drops",
        "The number responses that are not cached, because the reply is malformed.",
    ),
    ("coredns_cache_served_stale", "cache_served_stale", "The number of requests served from stale cache entries."),
)


def cache(views: Sequence[CacheView], rows: Sequence[Row]) -> Iterator[Metric]:
    """coredns_cache_* (plugin/cache/metrics.go).

    The entries of a block are shown under each of its servers, as CoreDNS does; its evictions, which no server causes
    more than another, under the first.
    """
    entries = GaugeMetricFamily("coredns_cache_entries", "The number of elements in the cache.", labels=_TYPED_ZONES)
    hits = CounterMetricFamily("coredns_cache_hits", "The count of cache hits.", labels=_TYPED_ZONES)
    evictions = CounterMetricFamily("coredns_cache_evictions", "The count of cache evictions.", labels=_TYPED_ZONES)
    counters = [(CounterMetricFamily(name, text, labels=_ZONES), field) for name, field, text in _CACHE_COUNTERS]
    for view in views:
        held = view.counts()
        kinds = (
            ("success", held.success, held.success_evictions),
            ("denial", held.denial, held.denial_evictions),
        )
        for at, (server, indices) in enumerate(view.rows.items()):
            own = [rows[n] for n in indices]
            for family, field in counters:
                count = sum(row[field] for row in own)
                if count:
                    family.add_metric((server, view.zones, ""), count)
            for n, (kind, size, evicted) in enumerate(kinds):
                count = sum(row.many("cache_hits")[n] for row in own)
                if count:
                    hits.add_metric((server, kind, view.zones, ""), count)
                if any(row["cache_requests"] for row in own):
                    entries.add_metric((server, kind, view.zones, ""), size)
                if evicted and at == 0:
                    evictions.add_metric((server, kind, view.zones, ""), evicted)
    yield entries
    yield hits
    yield evictions
    for family, _ in counters:
        yield family


def proxy(pools: PoolsLike) -> Iterator[Metric]:
    """coredns_proxy_* and coredns_forward_* (plugin/pkg/proxy/metrics.go, plugin/forward/metrics.go)."""
    labels = ("proxy_name", "to")
    failures = CounterMetricFamily(
        "coredns_proxy_healthcheck_failures", "Counter of the number of failed healthchecks.", labels=labels
    )
    hits = CounterMetricFamily(
        "coredns_proxy_conn_cache_hits",
        "Counter of connection cache hits per upstream and protocol.",
        labels=(*labels, "proto"),
    )
    misses = CounterMetricFamily(
        "coredns_proxy_conn_cache_misses",
        "Counter of connection cache misses per upstream and protocol.",
        labels=(*labels, "proto"),
    )
    for to, stats in pools.upstreams.items():
        if stats.healthcheck_failures:
            failures.add_metric(("forward", to), stats.healthcheck_failures)
        for proto in PROTOS:
            for family, count in ((hits, stats.conn_cache_hits(proto)), (misses, stats.conn_cache_misses(proto))):
                if count:
                    family.add_metric(("forward", to, proto), count)
    yield _durations("coredns_proxy_request_duration_seconds", "Histogram of the time each request took.", pools)
    yield failures
    yield hits
    yield misses
    yield CounterMetricFamily(
        "coredns_forward_healthcheck_broken",
        "Counter of the number of complete failures of the healthchecks.",
        pools.healthcheck_broken,
    )
    yield CounterMetricFamily(
        "coredns_forward_max_concurrent_rejects",
        "Counter of the number of queries rejected because the concurrent queries were at maximum.",
        pools.max_concurrent_rejects,
    )


def forward_before_1_11(pools: PoolsLike) -> Iterator[Metric]:
    """The four coredns_forward_* names that CoreDNS dropped in 1.11 and public dashboards and alerts still use."""
    requests = CounterMetricFamily(
        "coredns_forward_requests", "Counter of requests made per upstream. Old name.", labels=("to",)
    )
    responses = CounterMetricFamily(
        "coredns_forward_responses", "Counter of responses received per upstream. Old name.", labels=("to", "rcode")
    )
    failures = CounterMetricFamily(
        "coredns_forward_healthcheck_failures",
        "Counter of the number of failed healthchecks. Old name of coredns_proxy_healthcheck_failures_total.",
        labels=("to",),
    )
    for to, stats in pools.upstreams.items():
        if stats.tcp_queries + stats.udp_queries:
            requests.add_metric((to,), stats.tcp_queries + stats.udp_queries)
        for rcode, durations in enumerate(stats.durations):
            if durations is not None:
                responses.add_metric((to, proxy_rcode(rcode)), sum(durations.counts))
        if stats.healthcheck_failures:
            failures.add_metric((to,), stats.healthcheck_failures)
    yield requests
    yield responses
    yield _durations(
        "coredns_forward_request_duration_seconds",
        "Histogram of the time each request took. Old name of coredns_proxy_request_duration_seconds.",
        pools,
        is_old=True,
    )
    yield failures


def _durations(name: str, text: str, pools: PoolsLike, *, is_old: bool = False) -> Metric:
    """The durations of queries to upstreams, by upstream and rcode."""
    labels = ("to", "rcode") if is_old else ("proxy_name", "to", "rcode")
    family = HistogramMetricFamily(name, text, labels=labels)
    for to, stats in pools.upstreams.items():
        for rcode, durations in enumerate(stats.durations):
            if durations is not None:
                values = (to, proxy_rcode(rcode)) if is_old else ("forward", to, proxy_rcode(rcode))
                family.add_metric(values, histogram.cumulated(TIME, durations.counts), durations.sum_s)
    return family


def proxy_rcode(rcode: int) -> str:
    """The label of an upstream's rcode: its name, or its bare number (plugin/pkg/proxy/connect.go)."""
    text = codes.rcode_text(rcode)
    return str(rcode) if text.startswith("RCODE") else text


def local(counts: LocalCounts) -> Iterator[Metric]:
    """coredns_hosts_entries and coredns_template_* (plugin/hosts/metrics.go, plugin/template/metrics.go)."""
    entries = GaugeMetricFamily(
        "coredns_hosts_entries", "The combined number of entries in hosts and Corefile.", labels=("hostsfile",)
    )
    for path, number in counts.hosts_entries.items():
        entries.add_metric((path,), number)
    yield entries
    labels = (*_ZONE, "class", "type")
    more = (*labels, "section", "template")
    for name, text, names, counted in (
        ("matches", "Counter of template regex matches.", labels, counts.template_matches),
        ("template_failures", "Counter of go template failures.", more, counts.template_failures),
        ("rr_failures", "Counter of mis-templated RRs.", more, counts.template_rr_failures),
    ):
        family = CounterMetricFamily(f"coredns_template_{name}", text, labels=names)
        for (server_, zone, *values), number in counted.items():
            family.add_metric((server_, zone, "", *values), number)
        yield family


# Plugins that no query passes through: CoreDNS does not list them (plugin/metrics/setup.go asks for handlers).
_NO_HANDLERS: Final = frozenset({"bind", "debug", "health", "pprof", "ready", "reload", "timeouts"})


def server(sources: Sources) -> Iterator[Metric]:
    """What is exported from the start: panics, plugins, health, hosts, reload and node-cache's own."""
    control = sources.control()
    yield CounterMetricFamily("coredns_panics", "A metrics that counts the number of panics.", sources.panics)
    plugins = GaugeMetricFamily(
        "coredns_plugin_enabled",
        "A metric that indicates whether a plugin is enabled on per server and zone basis.",
        labels=(*_ZONE, "name"),
    )
    for plugin in sources.plugins:
        if plugin.name in _NO_HANDLERS:
            continue
        plugins.add_metric((plugin.server, plugin.zone, "", plugin.name), 1)
    yield plugins
    yield HistogramMetricFamily(
        "coredns_health_request_duration_seconds",
        "Histogram of the time (in seconds) each request took.",
        buckets=histogram.cumulated(SLIM_TIME, sources.health.counts),
        sum_value=sources.health.sum_s,
    )
    yield CounterMetricFamily(
        "coredns_health_request_failures", "The number of times the health check failed.", sources.health_failures
    )
    yield GaugeMetricFamily(
        "coredns_hosts_reload_timestamp_seconds",
        "The timestamp of the last reload of hosts file.",
        sources.local.hosts_changed_s,
    )
    yield CounterMetricFamily(
        "coredns_reload_failed", "Counter of the number of failed reload attempts.", control.reloads_failed
    )
    info = GaugeMetricFamily(
        "coredns_reload_version_info",
        "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
        labels=("hash", "value"),
    )
    if control.config_sha512:
        info.add_metric(("sha512", control.config_sha512), 1)
    yield info
    errors = CounterMetricFamily(
        "coredns_nodecache_setup_errors",
        "The number of errors during periodic network setup for node-cache",
        labels=("errortype",),
    )
    for kind in SETUP_ERRORS:
        errors.add_metric((kind,), control.setup_errors.get(kind, 0))
    yield errors


def steps(sources: Sources, rows: Sequence[Row]) -> list[Callable[[], Iterator[Metric]]]:
    """The groups of families, each to be made and rendered in one go."""
    used = [(view, rows[view.index]) for view in sources.rows]
    return [
        lambda: build(sources),
        lambda: dns(used),
        lambda: dns_durations(used),
        lambda: dns_sizes(used, "request"),
        lambda: dns_sizes(used, "response"),
        lambda: cache(sources.caches, rows),
        lambda: proxy(sources.pools),
        lambda: forward_before_1_11(sources.pools),
        lambda: server(sources),
        lambda: local(sources.local),
    ]
