"""CPU per query at the rates that nodes see.

A query that comes alone pays for its own wake-up; of a hundred at once each pays a hundredth. What `shardns sizing`
reckons with, supervisor/cli/costs.toml, is made of these numbers (perf/costs.py).
"""

from __future__ import annotations

from statistics import median

from perf import load
from perf.benchmarks.cpu import HOT_NAMES, running
from perf.figures import Extent, Figure, Outcome, Progress
from perf.servers import Server, Site, Wrong

HIT_RATES = (100, 1_000, 5_000, 20_000, 60_000)
MISS_RATES = (100, 1_000, 5_000, 15_000)
ROUNDS = 3  # there are many rates, and none has a bound


def rates(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per hit and per miss at fixed rates, from 100/s on, against unbound's."""
    names = ["shardns", "unbound"]
    hits: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    misses: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    with running(site, names, progress) as servers:
        for turn in range(ROUNDS):
            for server in servers:
                # Again in each round: the misses fill a block's 9,984 entries (CoreDNS's default) more than once.
                load.warm(server, load.names(site.directory / "hot", "hot", HOT_NAMES))
                for rate in HIT_RATES:
                    _measure(server, load.Stream(rate, extent.seconds, HOT_NAMES), hits[server.name], progress)
                for rate in MISS_RATES:
                    stream = load.Stream(rate, extent.seconds, 0, f"c{turn}r{rate}x")
                    _measure(server, stream, misses[server.name], progress)
            progress(f"round {turn + 1} of {ROUNDS}")
    curves = {
        f"{name} {what}": [(float(rate), median(values)) for rate, values in by_rate.items() if values]
        for what, of in (("hit", hits), ("miss", misses))
        for name, by_rate in of.items()
    }
    table = {
        f"{name} at {rate:,.0f}/s": {"CPU us per query": us} for name, points in curves.items() for rate, us in points
    }
    calm = [a / b for a, b in zip(hits["shardns"][1000], hits["unbound"][1000], strict=False)]
    figure = Figure.over("cost/1000", "CPU per hit at 1,000 queries/s, against unbound", calm)
    return Outcome([figure], table, {}, curves)


def _measure(server: Server, stream: load.Stream, found: dict[int, list[float]], progress: Progress) -> None:
    """Add one value; a rate that was too much for the server at this moment, in an open loop, has none."""
    try:
        found.setdefault(int(stream.rate), []).append(load.paced(server, stream).cpu_us)
    except Wrong as why:
        progress(str(why))
