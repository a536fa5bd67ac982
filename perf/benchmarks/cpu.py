"""CPU per query: hits by UDP, misses, hits by TCP. Rounds are interleaved: in each, one server after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from perf import load, sample
from perf.figures import Extent, Figure, Outcome, Progress, medians, ratio
from perf.servers import OTHERS, Missing, Server, Site, settle, started

HOT_NAMES = 1000
NODE_CACHE_TCP_OVER_FLOOR = 18.6 / 4.4
"""Microseconds of CPU per pipelined TCP hit of node-cache 1.26 against the floor, both on one machine of this size."""

Round = Callable[[Server, int], load.Result]


@contextlib.contextmanager
def running(
    site: Site, names: Sequence[str], progress: Progress, optional: Sequence[str] = ()
) -> Iterator[list[Server]]:
    """All servers at once, idle but for the one that is loaded; optional ones that are not installed are left out."""
    with contextlib.ExitStack() as stack:
        servers = []
        for name in [*names, *optional]:
            try:
                servers.append(stack.enter_context(started(site, name)))
            except Missing as why:
                if name in names:
                    raise
                progress(str(why))
        for server in servers:
            if server.name != "floor":
                sample.check(server, site.upstream)
        settle()
        yield servers


def interleaved(servers: Sequence[Server], rounds: int, one: Round, progress: Progress) -> dict[str, list[float]]:
    """CPU microseconds per query of each server in each round."""
    taken: dict[str, list[float]] = {server.name: [] for server in servers}
    for turn in range(rounds):
        for server in servers:
            taken[server.name].append(one(server, turn).cpu_us)
        progress("  ".join(f"{name} {values[-1]:.2f}" for name, values in taken.items()))
    return taken


def outcome(figures: list[Figure], taken: dict[str, list[float]], quantity: str) -> Outcome:
    """The figures with what they were made of."""
    return Outcome(figures, {name: {quantity: value} for name, value in medians(taken).items()}, taken)


def hits(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per hit by UDP, over the floor, unbound and dnsmasq."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)
    needed = ["floor", "shardns", "unbound", *([] if extent.is_quick else ["dnsmasq"])]
    with running(site, needed, progress, extent.peers) as servers:
        for server in servers:
            load.dnsperf(server, queries)
        taken = interleaved(
            servers, extent.rounds, lambda server, _: load.dnsperf(server, queries, seconds=extent.seconds), progress
        )
        for server in servers[1:]:
            sample.check(server, site.upstream)
    figures = [
        Figure("hits/floor", "hits, UDP, over the floor", ratio(taken, "shardns", "floor"), "x", 1.15, 1.05, 1.4),
        Figure("hits/unbound", "hits, UDP, against unbound", ratio(taken, "shardns", "unbound"), "x", 0.95, 0.8, 1.15),
    ]
    if "dnsmasq" in taken:
        against = ratio(taken, "shardns", "dnsmasq")
        figures.append(Figure("hits/dnsmasq", "hits, UDP, against dnsmasq", against, "x", 0.9, 0.7))
    return outcome(figures, taken, "CPU us per hit")


def misses(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per miss of names never asked before, shardns by TCP to the nameserver, unbound by UDP."""

    def one(server: Server, turn: int) -> load.Result:
        queries = load.names(site.directory / "distinct", f"m{turn}x", extent.misses)
        return load.dnsperf(server, queries)

    with running(
        site, ["shardns", "unbound"], progress, [*([] if extent.is_quick else ["dnsmasq"]), *extent.peers]
    ) as servers:
        for server in servers:
            load.dnsperf(server, load.names(site.directory / "warm", "warm", 2000))
        taken = interleaved(servers, extent.rounds, one, progress)
        for server in servers:
            sample.check(server, site.upstream)
    against = ratio(taken, "shardns", "unbound")
    figure = Figure("misses/unbound", "misses, force_tcp, against unbound's by UDP", against, "x", 1.0, 0.6, 1.1)
    return outcome([figure], taken, "CPU us per miss")


def tcp(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per hit by TCP, pipelined on 20 connections, relative to the floor, against node-cache's."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)

    def one(server: Server, turn: int) -> load.Result:
        del turn
        return load.dnsperf(server, queries, seconds=extent.seconds, tcp=server.name != "floor", clients=20)

    with running(
        site, ["floor", "shardns"], progress, [*([] if extent.is_quick else ["unbound"]), *extent.peers]
    ) as servers:
        for server in servers:
            load.dnsperf(server, queries)
        taken = interleaved(servers, extent.rounds, one, progress)
    against = ratio(taken, "shardns", "floor")
    figures = [
        Figure(
            "tcp/node-cache", "hits, TCP pipelined, against node-cache's figure relative to the floor",
            against / NODE_CACHE_TCP_OVER_FLOOR, "x", 1.0, 0.5, 0.7,
        ),
        Figure("tcp/floor", "hits, TCP pipelined, over the floor of UDP", against),
    ]  # fmt: skip
    return outcome(figures, taken, "CPU us per hit by TCP")


def every_peer() -> tuple[str, ...]:
    """The peers of a whole run."""
    return OTHERS
