"""Two workers against one.

The load generator needs one of the two processors, so throughput cannot show it. What can: the CPU that the busiest
process needs per query of all. It is the first that a larger load would fill; one worker needs c per query, two that
share the work perfectly need c / 2 each, and anything they do twice, wait for or share unevenly shows. What the kernel
takes of that shows in two processes of the floor against one.

The busiest is the one that is so over all rounds. Within one the kernel's hash of that round's few hundred source ports
gives either process a few per cent more; on a node nearly every query comes from a port of its own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from statistics import median

from perf import load
from perf.benchmarks.cpu import HOT_NAMES
from perf.figures import Extent, Figure, Outcome, Progress, medians, ratios
from perf.servers import BOTH_CPUS, Server, Site, started

CLIENTS = 800  # sockets of the load: the kernel spreads them over the processes by hash
WINDOW = 100  # queries under way for each process, so that what comes together is as much for one as for two
FINER = 6  # times as many rounds, a quarter as long: two values near each other are compared
SERVERS = ("shardns", "floor")


@dataclass(slots=True)
class Runs:
    """Of one server: CPU microseconds per query of all, by round."""

    by_pid: dict[int, list[float]] = field(default_factory=dict)
    total: list[float] = field(default_factory=list)

    def add(self, result: load.Result) -> None:
        """One more round."""
        for pid, cpu_us in result.cpu_us_by_pid.items():
            self.by_pid.setdefault(pid, []).append(cpu_us)
        self.total.append(result.cpu_us)

    def busiest(self) -> list[float]:
        """Of the process that needs most over all rounds."""
        return max(self.by_pid.values(), key=median)


def workers(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """2 workers against 1, on 2 processors, load generator's share discounted."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)
    runs = {f"{name} {count}": Runs() for name in SERVERS for count in (1, 2)}
    with contextlib.ExitStack() as stack:
        servers: dict[str, tuple[int, Server]] = {
            f"{name} {count}": (count, stack.enter_context(started(site.on(BOTH_CPUS, count), name)))
            for name in SERVERS
            for count in (1, 2)
        }
        for _, server in servers.values():
            load.warm(server, queries)
        for number in range(FINER * extent.rounds):
            for name, (count, server) in servers.items():
                result = load.dnsperf(
                    server, queries, seconds=extent.seconds / 4, clients=CLIENTS, window=count * WINDOW, expected="hits"
                )
                runs[name].add(result)
            if number % FINER == FINER - 1:
                so_far = ", ".join(f"{name} {median(one.busiest()):.2f}" for name, one in runs.items())
                progress(f"busiest process: {so_far} us per query of all")
    busiest = {name: one.busiest() for name, one in runs.items()}
    gain = {name: median(ratios(busiest, f"{name} 1", f"{name} 2")) for name in SERVERS}
    cost = median(ratios({name: one.total for name, one in runs.items()}, "shardns 2", "shardns 1"))
    figures = [
        Figure(
            "scaling/2", "2 workers against 1, on 2 processors", gain["shardns"], "x", 1.8, 1.95, 1.4, is_floor=True
        ),
        Figure("scaling/floor", "2 processes of the floor against 1", gain["floor"], is_floor=True),
        Figure("scaling/cost", "CPU per hit of 2 workers against 1", cost),
    ]
    table = {name: {"us of the busiest process": us} for name, us in medians(busiest).items()}
    return Outcome(figures, table, busiest, {"scaling": [(1, 1.0), (2, gain["shardns"])]})
