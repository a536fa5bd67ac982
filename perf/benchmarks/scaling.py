"""Two workers against one.

The load generator needs one of the two processors, so throughput cannot show it. What can: the CPU that the busiest
process needs per query of all. It is the first that a larger load would fill; one worker needs c per query, two that
share the work perfectly need c / 2 each, and anything they do twice, wait for or share unevenly shows.
"""

from __future__ import annotations

from statistics import median

from perf import load
from perf.benchmarks.cpu import FINER, HOT_NAMES
from perf.figures import Extent, Figure, Outcome, Progress
from perf.servers import BOTH_CPUS, Site, started

CLIENTS = 800  # sockets of the load: the kernel spreads them over the workers by hash
WINDOW = 100  # queries under way for each worker, so that what comes together is as much for one as for two


def workers(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """2 workers against 1, on 2 processors, load generator's share discounted."""
    queries = load.names(site.directory / "hot", "hot", HOT_NAMES)
    one_us: list[float] = []
    two_us: list[float] = []
    cost: list[float] = []
    with started(site.on(BOTH_CPUS, 1), "shardns") as one, started(site.on(BOTH_CPUS, 2), "shardns") as two:
        for server in (one, two):
            load.warm(server, queries)
        for _ in range(FINER * extent.rounds):
            first, second = (
                load.dnsperf(
                    server, queries, seconds=extent.seconds / 2, clients=CLIENTS, window=count * WINDOW, expected="hits"
                )
                for count, server in ((1, one), (2, two))
            )
            one_us.append(max(first.cpu_us_by_pid.values()))
            two_us.append(max(second.cpu_us_by_pid.values()))
            cost.append(second.cpu_us / first.cpu_us)
            progress(f"busiest process: one worker {one_us[-1]:.2f}, two {two_us[-1]:.2f} us per query of all")
    gain = median(a / b for a, b in zip(one_us, two_us, strict=True))
    figures = [
        Figure("scaling/2", "2 workers against 1, on 2 processors", gain, "x", 1.8, 1.95, 1.4, is_floor=True),
        Figure("scaling/cost", "CPU per hit of 2 workers against 1", median(cost)),
    ]
    table = {
        "1 worker": {"us of the busiest process": median(one_us)},
        "2 workers": {"us of the busiest process": median(two_us)},
    }
    return Outcome(figures, table, {"one": one_us, "two": two_us}, {"scaling": [(1, 1.0), (2, gain)]})
