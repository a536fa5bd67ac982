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
from perf.figures import Extent, Figure, Outcome, Progress
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


def _ratio(above: list[float], below: list[float]) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(above, below, strict=True))


def workers(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """2 workers against 1, on 2 processors, load generator's share discounted."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)
    runs = {(name, count): Runs() for name in SERVERS for count in (1, 2)}
    with contextlib.ExitStack() as stack:
        servers: dict[tuple[str, int], Server] = {
            (name, count): stack.enter_context(started(site.on(BOTH_CPUS, count), name)) for name, count in runs
        }
        for server in servers.values():
            load.warm(server, queries)
        for number in range(FINER * extent.rounds):
            for (name, count), server in servers.items():
                result = load.dnsperf(
                    server, queries, seconds=extent.seconds / 4, clients=CLIENTS, window=count * WINDOW, expected="hits"
                )
                runs[name, count].add(result)
            if number % FINER == FINER - 1:
                progress(
                    "busiest process: "
                    + ", ".join(f"{name} {count} {median(one.busiest()):.2f}" for (name, count), one in runs.items())
                    + " us per query of all"
                )
    gain = {name: _ratio(runs[name, 1].busiest(), runs[name, 2].busiest()) for name in SERVERS}
    figures = [
        Figure(
            "scaling/2", "2 workers against 1, on 2 processors", gain["shardns"], "x", 1.8, 1.95, 1.4, is_floor=True
        ),
        Figure("scaling/floor", "2 processes of the floor against 1", gain["floor"], is_floor=True),
        Figure(
            "scaling/cost",
            "CPU per hit of 2 workers against 1",
            _ratio(runs["shardns", 2].total, runs["shardns", 1].total),
        ),
    ]
    table = {
        f"{name}, {count}": {"us of the busiest process": median(one.busiest())} for (name, count), one in runs.items()
    }
    samples = {f"{name}-{count}": one.busiest() for (name, count), one in runs.items()}
    return Outcome(figures, table, samples, {"scaling": [(1, 1.0), (2, gain["shardns"])]})
