"""CPU per query: hits by UDP, misses, hits by TCP. Rounds are interleaved: in each, one server after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perf import load, sample
from perf.figures import Extent, Figure, Outcome, Progress, medians, ratios
from perf.servers import Missing, Server, Site, Wrong, settle, started

HOT_NAMES = 1000
FINER = 3  # times as many rounds of hits, half as long: the machine wanders by more than what is to be told apart
NODE_CACHE_TCP_OVER_FLOOR = 18.6 / 4.4
"""Microseconds of CPU per pipelined TCP hit of node-cache 1.26 against the floor, both on one machine of this size."""

Round = Callable[[Server, int], load.Result]


@contextlib.contextmanager
def running(
    site: Site, names: Sequence[str], progress: Progress, optional: Sequence[str] = ()
) -> Iterator[list[Server]]:
    """All servers at once, idle but for the one that is loaded.

    An optional one that is not installed, does not start or answers wrongly is left out, aloud.
    """
    with contextlib.ExitStack() as stack:
        servers = []
        for name in [*names, *optional]:
            try:
                server = stack.enter_context(started(site, name))
                if name != "floor":
                    sample.check(server, site.upstream)
                servers.append(server)
            except (Missing, Wrong, RuntimeError, TimeoutError) as why:
                if name in names:
                    raise
                progress(f"{name} is left out: {why}")
        settle()
        yield servers


@dataclass(frozen=True)
class Taken:
    """What rounds took, by server."""

    cpu_us: dict[str, list[float]]  # per query
    asked: dict[str, list[float]]  # queries to the nameserver, per query


def interleaved(servers: list[Server], needed: Sequence[str], rounds: int, one: Round, progress: Progress) -> Taken:
    """In each round one server after the other. One that is not needed and fails is left out of all rounds, aloud."""
    taken = Taken({server.name: [] for server in servers}, {server.name: [] for server in servers})
    for turn in range(rounds):
        for server in list(servers):
            try:
                found = one(server, turn)
            except Wrong as why:
                if server.name in needed:
                    raise
                progress(f"{server.name} is left out: {why}")
                servers.remove(server)
                del taken.cpu_us[server.name], taken.asked[server.name]
                continue
            taken.cpu_us[server.name].append(found.cpu_us)
            taken.asked[server.name].append(found.asked / found.answered)
        progress("  ".join(f"{name} {values[-1]:.2f}" for name, values in taken.cpu_us.items()))
    return taken


def outcome(figures: list[Figure], taken: Taken, quantity: str) -> Outcome:
    """The figures with what they were made of."""
    asked = medians(taken.asked)
    table = {
        name: {quantity: value, "nameserver asked, per query": asked[name]}
        for name, value in medians(taken.cpu_us).items()
    }
    return Outcome(figures, table, taken.cpu_us)


def hits(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per hit by UDP, over the floor, unbound and dnsmasq."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)

    def one(server: Server, turn: int) -> load.Result:
        del turn
        return load.dnsperf(server, queries, seconds=extent.seconds / 2, expected="hits")

    needed = ["floor", "shardns", "unbound", "dnsmasq"]
    with running(site, needed, progress, extent.peers) as servers:
        for server in servers:
            load.warm(server, queries)
        taken = interleaved(servers, needed, FINER * extent.rounds, one, progress)
        for server in servers[1:]:
            sample.check(server, site.upstream, "hot")
    floor, unbound, dnsmasq = (ratios(taken.cpu_us, "shardns", name) for name in ("floor", "unbound", "dnsmasq"))
    figures = [
        Figure.over("hits/floor", "hits, UDP, over the floor", floor, 1.15, 1.05, 1.25),
        Figure.over("hits/unbound", "hits, UDP, against unbound", unbound, 0.95, 0.8, 1.05),
        Figure.over("hits/dnsmasq", "hits, UDP, against dnsmasq", dnsmasq, 0.9, 0.7, 1.0),
    ]
    return outcome(figures, taken, "CPU us per hit")


def misses(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per miss of names never asked before, shardns by TCP to the nameserver, unbound by UDP."""

    def one(server: Server, turn: int) -> load.Result:
        queries = load.names(site.directory / "distinct", f"m{turn}x", extent.misses)
        return load.dnsperf(server, queries, expected="misses")

    needed = ["shardns", "unbound"]
    others = [*([] if extent.is_quick else ["dnsmasq"]), *extent.peers]
    with running(site, needed, progress, others) as servers:
        for server in servers:
            load.warm(server, load.names(site.directory / "warm", "warm", 2000))
        taken = interleaved(servers, needed, extent.rounds, one, progress)
        for server in servers:
            sample.check(server, site.upstream, f"m{extent.rounds - 1}x")
    against = ratios(taken.cpu_us, "shardns", "unbound")
    figure = Figure.over("misses/unbound", "misses, force_tcp, against unbound's by UDP", against, 1.0, 0.6, 1.0)
    return outcome([figure], taken, "CPU us per miss")


def tcp(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """CPU per hit by TCP, pipelined on 20 connections, relative to the floor, against node-cache's."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)

    def one(server: Server, turn: int) -> load.Result:
        del turn
        is_tcp = server.name != "floor"
        return load.dnsperf(server, queries, seconds=extent.seconds, tcp=is_tcp, clients=20, expected="hits")

    needed = ["floor", "shardns"]
    others = [*([] if extent.is_quick else ["unbound"]), *extent.peers]
    with running(site, needed, progress, others) as servers:
        for server in servers:
            # By TCP, too: dnsdist caches packets, and those of each transport apart.
            load.warm(server, queries, tcp=server.name != "floor")
        taken = interleaved(servers, needed, extent.rounds, one, progress)
        for server in servers[1:]:
            sample.check(server, site.upstream, "hot")
    over = ratios(taken.cpu_us, "shardns", "floor")
    against = [value / NODE_CACHE_TCP_OVER_FLOOR for value in over]
    what = "hits, TCP pipelined, against node-cache's figure relative to the floor"
    figures = [
        Figure.over("tcp/node-cache", what, against, 1.0, 0.5, 0.7),
        Figure.over("tcp/floor", "hits, TCP pipelined, over the floor of UDP", over),
    ]
    return outcome(figures, taken, "CPU us per hit by TCP")
