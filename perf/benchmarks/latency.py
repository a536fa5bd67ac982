"""Latency of hits at 2,000 queries/s, in an open loop: alone, and while as many misses go through."""

from __future__ import annotations

from statistics import median

from perf import load
from perf.benchmarks.cpu import HOT_NAMES, running
from perf.figures import Extent, Figure, Outcome, Progress, ratios
from perf.servers import Server, Site, Wrong

RATE = 2000


def _warm(site: Site, server: Server) -> None:
    load.warm(server, load.names(site.directory / "hot", "hot", HOT_NAMES))


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
    needed = ["shardns", "unbound"]
    with running(site, needed, progress, extent.peers) as servers:
        for server in servers:
            _warm(site, server)
        # Two more rounds than elsewhere: one disturbed round moves a p99 far.
        for _ in range(extent.rounds + 2):
            for server in list(servers):
                try:
                    found = load.paced(server, stream)
                except Wrong as why:
                    if server.name in needed:
                        raise
                    progress(f"{server.name} is left out: {why}")
                    servers.remove(server)
                    continue
                _on_time(found, progress)
                p50.setdefault(server.name, []).append(found.p50_us)
                p99.setdefault(server.name, []).append(found.p99_us)
                curves[server.name] = _curve(found)
            progress("  ".join(f"{name} {values[-1]:.0f}/{p99[name][-1]:.0f} us" for name, values in p50.items()))
    what = "latency of hits at 2,000/s, {} against unbound's"
    figures = [
        Figure.over(f"latency/{name}", what.format(name), ratios(values, "shardns", "unbound"), 1.1, 0.9, quick)
        for name, values, quick in (("p50", p50, 1.5), ("p99", p99, 2.5))
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
        for turn in range(extent.rounds + 2):
            for server in servers:
                _warm(site, server)  # again: misses fill a block's 9,984 entries, and of each burst of equals some go
                quiet = load.paced(server, load.Stream(RATE, extent.seconds, HOT_NAMES))
                misses = load.start(server, load.Stream(RATE, extent.seconds + 0.4, 0, f"u{turn}x"))
                asked = server.asked()
                mixed = load.paced(server, load.Stream(RATE, extent.seconds, HOT_NAMES), expected="")
                load.check_expected(server.name, "misses", int(RATE * extent.seconds * 0.9), server.asked() - asked)
                load.finish(misses)
                alone[server.name].append(quiet.p99_us)
                beside[server.name].append(mixed.p99_us)
                curves[f"{server.name} alone"], curves[f"{server.name} beside misses"] = _curve(quiet), _curve(mixed)
            progress("  ".join(f"{name} {alone[name][-1]:.0f} -> {beside[name][-1]:.0f} us" for name in names))
    slower = {name: [b / a for a, b in zip(alone[name], beside[name], strict=True)] for name in names}
    what = "p99 of hits beside 2,000 misses/s, against without"
    note = f"unbound {median(slower['unbound']):.2f} x"
    figures = [Figure.over("latency/misses", what, slower["shardns"], 1.5, 1.1, 4.0, note=note)]
    table = {
        name: {"p99 us alone": median(alone[name]), "p99 us beside misses": median(beside[name])} for name in names
    }
    rounds = {f"{name} alone": alone[name] for name in names} | {f"{name} beside": beside[name] for name in names}
    return Outcome(figures, table, rounds, curves)
