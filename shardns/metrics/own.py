"""The families that only shardns has: workers, table, asks, flights, nameservers, the supervisor's children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shardns import log
from shardns.metrics.counters import Reader
from shardns.metrics.families import CounterMetricFamily, GaugeMetricFamily, Metric
from shardns.metrics.sources import PoolsLike, Sources

_WORKER_COUNTERS: Final = (
    ("packets_received", "packets_received", "UDP datagrams that were read."),
    ("packets_malformed", "packets_malformed", "Queries answered FORMERR, NOTIMP or BADVERS."),
    ("packets_dropped", "packets_dropped", "Packets met with silence, because they were no queries."),
    ("receive_batches", "batches", "System calls that read at least one UDP datagram."),
    ("asks", "asks_put", "Misses handed to the upstream process."),
    ("asks_refused", "asks_full", "Misses answered SERVFAIL because too many were open."),
    ("torn_reads", "torn_reads", "Hits that were treated as misses because the entry changed while it was read."),
    ("tcp_connections", "tcp_connections", "TCP connections that were accepted."),
    ("tcp_evicted", "tcp_evicted", "TCP connections that were closed to make room for others."),
)

# The upstream process answers the misses of UDP clients itself.
_ANSWERER_COUNTERS: Final = (
    ("replies_sent", "replies_sent", "UDP replies that were sent."),
    ("replies_failed", "replies_failed", "UDP replies that the kernel did not take."),
    ("log_records_dropped", "log_dropped", "Replies that the log plugin did not print because it fell behind."),
)


def workers(reader: Reader, count: int, now_ns: int) -> Iterator[Metric]:
    """What each process counts for itself, by worker or role; restarts and reloads do not set it back."""
    found = [reader.worker(n) for n in range(count)]
    own = reader.upstream()
    for name, field, text in _ANSWERER_COUNTERS:
        family = CounterMetricFamily(f"shardns_{name}", text, labels=("role", "slot"))
        for n, process in enumerate(found):
            family.add_metric(("worker", str(n)), process[field])
        family.add_metric(("upstream", "0"), own[field])
        yield family
    for name, field, text in _WORKER_COUNTERS:
        family = CounterMetricFamily(f"shardns_worker_{name}", text, labels=("worker",))
        for n, process in enumerate(found):
            family.add_metric((str(n),), process[field])
        yield family
    open_now = GaugeMetricFamily("shardns_worker_tcp_open", "TCP connections that are open.", labels=("worker",))
    for n, process in enumerate(found):
        open_now.add_metric((str(n),), process["tcp_open"])
    yield open_now
    ages = GaugeMetricFamily(
        "shardns_heartbeat_age_seconds",
        "How long ago a process showed that it lives; thread is serve (the C loop) or loop (the event loop).",
        labels=("role", "slot", "thread"),
    )
    for n, process in enumerate(found):
        _add_ages(ages, "worker", str(n), process, {"serve": "heartbeat_ns", "loop": "heartbeat_loop_ns"}, now_ns)
    _add_ages(ages, "upstream", "0", own, {"loop": "heartbeat_loop_ns"}, now_ns)
    yield ages


def _add_ages(
    family: GaugeMetricFamily, role: str, slot: str, process: Mapping[str, int], threads: Mapping[str, str], now_ns: int
) -> None:
    """Add the ages of a process's heartbeats; one that never beat has none."""
    for thread, field in threads.items():
        if process[field]:
            family.add_metric((role, slot, thread), max(0, now_ns - process[field]) / 1e9)


def upstream(sources: Sources) -> Iterator[Metric]:
    """shardns_flights_*, shardns_table_*."""
    flights, table = sources.flights, sources.table()
    for name, text, count in (
        ("flights", "Upstream queries begun for clients; many asks may wait for one.", flights.started),
        ("flights_joined", "Asks that found a flight for their question under way.", flights.joined),
        ("flights_failed", "Flights that ended without an answer.", flights.failed),
        ("table_pages_refused", "Times that there was no memory for a page of the table.", table.refusals),
    ):
        yield CounterMetricFamily(f"shardns_{name}", text, count)
    for name, text, value in (
        ("flights_open", "Flights under way.", flights.open),
        ("table_size_bytes", "Size of the table: the most memory that it takes.", table.size_bytes),
        ("table_used_bytes", "Size of the table's cells in use.", table.used_bytes),
        ("table_entries", "Entries in the table, expired ones included.", table.entries),
        ("table_pages", "Pages of the table.", table.pages_total),
        ("table_pages_used", "Pages of the table that belong to a size class.", table.pages_used),
    ):
        yield GaugeMetricFamily(f"shardns_{name}", text, value)
    classes = GaugeMetricFamily("shardns_table_class_entries", "Entries by size of their cell.", labels=("cell_bytes",))
    for size, entries in table.classes:
        if size:
            classes.add_metric((str(size),), entries)
    yield classes


_UPSTREAM_COUNTERS: Final = (
    ("dials", "dials", "TCP connections begun."),
    ("dial_failures", "dial_failures", "TCP connections that did not come up."),
    ("hedges", "hedges", "Queries asked on a second connection because the first fell silent."),
    ("retries", "retries", "Queries asked again after a time-out, a truncated or an unreadable answer."),
    ("resent", "resent", "Queries asked again because their connection died."),
    ("timeouts", "timeouts", "Queries that found no answer in their whole time."),
    ("unknown_ids", "unknown_ids", "Answers that nobody waited for."),
    ("wrong_questions", "wrong_questions", "Answers to another question than the one asked."),
    ("malformed", "malformed", "Answers that could not be read."),
    ("truncated", "truncated", "Answers that were cut short."),
)


def nameservers(pools: PoolsLike) -> Iterator[Metric]:
    """shardns_upstream_*, by nameserver."""
    for name, field, text in _UPSTREAM_COUNTERS:
        family = CounterMetricFamily(f"shardns_upstream_{name}", text, labels=("to",))
        for to, stats in pools.upstreams.items():
            family.add_metric((to,), getattr(stats, field))
        yield family
    queries = CounterMetricFamily("shardns_upstream_queries", "Queries sent, by protocol.", labels=("to", "proto"))
    open_now = GaugeMetricFamily("shardns_upstream_connections", "TCP connections that are up.", labels=("to",))
    in_flight = GaugeMetricFamily("shardns_upstream_in_flight", "Queries that wait for an answer.", labels=("to",))
    for to, stats in pools.upstreams.items():
        queries.add_metric((to, "tcp"), stats.tcp_queries)
        queries.add_metric((to, "udp"), stats.udp_queries)
        open_now.add_metric((to,), stats.open_connections)
        in_flight.add_metric((to,), stats.in_flight)
    yield queries
    yield open_now
    yield in_flight


def supervisor(sources: Sources) -> Iterator[Metric]:
    """shardns_child_*, shardns_reloads_total and what is left."""
    control = sources.control()
    info = GaugeMetricFamily("shardns_build_info", "Always 1.", labels=("version", "revision"))
    info.add_metric((sources.version, sources.revision), 1)
    yield info
    restarts = CounterMetricFamily(
        "shardns_child_restarts", "Processes started in place of one that ended unasked.", labels=("role",)
    )
    restarts.add_metric(("worker",), control.worker_restarts)
    restarts.add_metric(("upstream",), control.upstream_restarts)
    yield restarts
    yield CounterMetricFamily(
        "shardns_child_stuck", "Processes killed because their heartbeat stood still.", control.children_stuck
    )
    yield CounterMetricFamily("shardns_reloads", "Reloads that took over.", control.reloads)
    yield GaugeMetricFamily("shardns_http_busy", "Health and metrics ports that are still taken.", control.http_busy)
    yield CounterMetricFamily(
        "shardns_log_lines_lost",
        "Lines that standard output did not take from the upstream process.",
        log.lost() + sources.lines_lost,
    )
