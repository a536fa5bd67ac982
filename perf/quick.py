"""The short form of the measurements: CPU per hit against the floor and unbound, CPU per miss against unbound.

    python -m perf.quick

Prints the medians and fails when a ratio is worse than its bound. The bounds leave room for a noisy machine: they catch
what was lost, they do not rank servers.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from pathlib import Path

from perf import load, servers

ROUNDS = 3
HIT_SECONDS = 1.5
HOT_NAMES = 1000
MISSES = 15_000

HITS_OVER_FLOOR = 1.5
HITS_OVER_UNBOUND = 1.1
MISSES_OVER_UNBOUND = 1.5


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def hits(all_of: list[servers.Server], directory: Path) -> dict[str, float]:
    """CPU microseconds per hit, by server: the median of interleaved rounds."""
    queries = load.hot(directory / "hot", HOT_NAMES)
    for server in all_of:
        load.dnsperf(server, queries)
    taken: dict[str, list[float]] = {server.name: [] for server in all_of}
    for _ in range(ROUNDS):
        for server in all_of:
            taken[server.name].append(load.dnsperf(server, queries, seconds=HIT_SECONDS).cpu_us)
    return {name: median(values) for name, values in taken.items()}


def misses(all_of: list[servers.Server], directory: Path) -> dict[str, float]:
    """CPU microseconds per miss, by server; every answer must be NOERROR."""
    taken: dict[str, list[float]] = {server.name: [] for server in all_of}
    for turn in range(ROUNDS):
        for server in all_of:
            queries = load.distinct(directory / "distinct", f"{server.name}{turn}x", MISSES)
            result = load.dnsperf(server, queries)
            if result.noerror != MISSES:
                raise RuntimeError(f"{server.name}: {result.noerror} of {MISSES} misses answered well")
            taken[server.name].append(result.cpu_us)
    return {name: median(values) for name, values in taken.items()}


def report(what: str, value: float, bound: float) -> bool:
    """Print one ratio; whether it is within its bound."""
    good = value <= bound
    print(f"{what:42} {value:5.2f} x   at most {bound:.2f} x   {'ok' if good else 'LOST'}")
    return good


def main() -> int:
    """0 if every ratio holds."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(servers.directory())
        upstream = stack.enter_context(servers.upstream(directory))
        floor = stack.enter_context(servers.floor(directory))
        unbound = stack.enter_context(servers.unbound(directory, upstream))
        ours = stack.enter_context(servers.shardns(directory, upstream))
        servers.settle()
        hit = hits([floor, unbound, ours], directory)
        miss = misses([unbound, ours], directory)
    print("CPU us per hit:  " + "  ".join(f"{name} {value:.2f}" for name, value in hit.items()))
    print("CPU us per miss: " + "  ".join(f"{name} {value:.2f}" for name, value in miss.items()))
    good = [
        report("hits, UDP, over the floor", hit["shardns"] / hit["floor"], HITS_OVER_FLOOR),
        report("hits, UDP, over unbound", hit["shardns"] / hit["unbound"], HITS_OVER_UNBOUND),
        report("misses (TCP upstream), over unbound (UDP)", miss["shardns"] / miss["unbound"], MISSES_OVER_UNBOUND),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
