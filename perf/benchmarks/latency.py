"""Latency of hits at 2,000 queries/s, in an open loop: alone, and while as many misses go through."""

from __future__ import annotations

from statistics import median

from perf import load
from perf.benchmarks.cpu import HOT_NAMES, running
from perf.figures import Extent, Figure, Outcome, Progress, ratio
from perf.servers import Server, Site

RATE = 2000


def _warm(site: Site, server: Server) -> None:
    load.dnsperf(server, load.names(site.directory / "hot", "hot", HOT_NAMES))


def _curve(latency: load.Latency) -> list[tuple[float, float]]:
    """Share of the queries that took longer, by microseconds: what a tail looks like."""
    seen, points = 0, []
    for value, count in latency.histogram:
        seen += count
        points.append((value, 1 - seen / latency.answered))
    return points


def _on_time(latency: load.Latency, progress: Progress) -> None:
    """Say when the generator itself was late: such a round measured the machine."""
    if latency.late_p99_us > max(50.0, latency.p50_us):
        progress(f"the generator was late: p99 {latency.late_p99_us:.0f} us (the machine is busy)")


def hits(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """Latency of hits at 2,000 queries/s, p50 and p99 against unbound's."""
    stream = load.Stream(RATE, extent.seconds, HOT_NAMES)
    p50: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}
    curves: dict[str, list[tuple[float, float]]] = {}
    with running(site, ["shardns", "unbound"], progress, extent.peers) as servers:
        for server in servers:
            _warm(site, server)
        # Two more rounds than elsewhere: one disturbed round moves a p99 far.
        for _ in range(extent.rounds + 2):
            for server in servers:
                found = load.paced(server, stream)
                _on_time(found, progress)
                p50.setdefault(server.name, []).append(found.p50_us)
                p99.setdefault(server.name, []).append(found.p99_us)
                curves[server.name] = _curve(found)
            progress("  ".join(f"{name} {values[-1]:.0f}/{p99[name][-1]:.0f} us" for name, values in p50.items()))
    what = "latency of hits at 2,000/s, {} against unbound's"
    figures = [
        Figure(f"latency/{name}", what.format(name), ratio(values, "shardns", "unbound"), "x", 1.1, 0.9)
        for name, values in (("p50", p50), ("p99", p99))
    ]
    table = {name: {"p50 us": median(p50[name]), "p99 us": median(p99[name])} for name in p50}
    rounds = {f"{name} p99": values for name, values in p99.items()} | {f"{name} p50": v for name, v in p50.items()}
    return Outcome(figures, table, rounds, curves)


def under_misses(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """p99 of hits at 2,000/s while 2,000 misses/s go through, against the same without misses."""
    names = ["shardns", "unbound"]
    alone: dict[str, list[float]] = {name: [] for name in names}
    beside: dict[str, list[float]] = {name: [] for name in names}
    curves: dict[str, list[tuple[float, float]]] = {}
    with running(site, names, progress) as servers:
        for server in servers:
            _warm(site, server)
        for turn in range(extent.rounds + 2):
            for server in servers:
                quiet = load.paced(server, load.Stream(RATE, extent.seconds, HOT_NAMES))
                misses = load.start(server, load.Stream(RATE, extent.seconds + 0.4, 0, f"u{turn}x"))
                mixed = load.paced(server, load.Stream(RATE, extent.seconds, HOT_NAMES))
                load.finish(misses)
                alone[server.name].append(quiet.p99_us)
                beside[server.name].append(mixed.p99_us)
                curves[f"{server.name} alone"], curves[f"{server.name} beside misses"] = _curve(quiet), _curve(mixed)
            progress("  ".join(f"{name} {alone[name][-1]:.0f} -> {beside[name][-1]:.0f} us" for name in names))
    ratios = {name: median(b / a for a, b in zip(alone[name], beside[name], strict=True)) for name in names}
    figures = [
        Figure(
            "latency/misses", "p99 of hits beside 2,000 misses/s, against without", ratios["shardns"], "x", 1.5, 1.1,
            note=f"unbound {ratios['unbound']:.2f} x",
        )
    ]  # fmt: skip
    table = {
        name: {"p99 us alone": median(alone[name]), "p99 us beside misses": median(beside[name])} for name in names
    }
    rounds = {f"{name} alone": alone[name] for name in names} | {f"{name} beside": beside[name] for name in names}
    return Outcome(figures, table, rounds, curves)
