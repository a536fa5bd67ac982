"""Under a CPU limit: the rate that each server holds at 25m, 100m and 500m, and at which p99.

A limit is a quota per period of 100 ms: a server that has used it up is not run until the next period begins, and
everything that arrives meanwhile waits. So the tail is decided by what a server does besides answering, and by how many
of its processes and threads share the quota.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from perf import load
from perf.benchmarks.cpu import HOT_NAMES
from perf.figures import Extent, Figure, Outcome, Progress, Skipped
from perf.servers import Server, Site, Wrong, settle, started
from tests.peers.process import wait_until

PERIOD_US = 100_000
LIMITS = (25, 100, 500)  # millicores, as the overlays in deploy/
LOST_MAX = 0.001  # of a rate that is held
P99_MAX_MS = 150.0  # of a rate that is held: one period's wait, and some
STEP = 1.25  # between neighbouring rates: the answer is that exact
FIRST = {25: 2_000.0, 100: 8_000.0, 500: 40_000.0}
RATE_MAX = 90_000.0  # what the generator can keep up with


@dataclass(frozen=True)
class Held:
    """What a server managed under one limit."""

    rate: float
    p99_ms: float


@contextlib.contextmanager
def limited(millicores: int) -> Iterator[Path]:
    """A cgroup with that quota, v1 or v2. Raises Skipped where none can be made."""
    v1 = Path("/sys/fs/cgroup/cpu")
    group = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / f"shardns-perf-{os.getpid()}"
    quota_us = millicores * PERIOD_US // 1000
    try:
        group.mkdir()
        if v1.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group.parent / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise Skipped(f"no cgroup with a CPU quota can be made here: {error}") from None
    try:
        yield group
    finally:
        # A process that was killed is in its group until it is reaped.
        wait_until(lambda: _is_removed(group), what=f"{group} to be empty")


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _warmed(site: Site, name: str, millicores: int) -> Iterator[Server]:
    """The server, started and warmed without a limit, then limited: starting is not what is measured."""
    with limited(millicores) as group, started(site, name) as server:
        load.warm(server, load.names(site.directory / "hot", "hot", HOT_NAMES))
        settle(1.0)
        for pid in server.pids():
            (group / "cgroup.procs").write_text(str(pid))
        yield server
        _check_limited(group, server)


def _check_limited(group: Path, server: Server) -> None:
    """Nothing; raises Wrong when a process of it lived outside the group, or when the group was never throttled."""
    outside = set(server.pids()) - {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    if outside or not _throttled(group):
        raise Wrong(f"{server.name}: {len(outside)} processes outside the limit, throttled {_throttled(group)} times")


def _throttled(group: Path) -> int:
    """Periods in which the quota was used up so far."""
    lines = (line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "nr_throttled")


def _run(server: Server, rate: float, seconds: float) -> load.Latency:
    return load.paced(server, load.Stream(rate, seconds, HOT_NAMES, wait_s=1))


def _holds(found: load.Latency) -> bool:
    return found.lost_share <= LOST_MAX and found.p99_us <= P99_MAX_MS * 1000


def _highest(server: Server, first: float, seconds: float) -> Held:
    """The highest rate that is held, to within STEP."""
    found = _run(server, first, seconds)
    up = _holds(found)
    best = Held(first, found.p99_us / 1000) if up else Held(0, 0)
    rate = first
    while (up or not best.rate) and 10 < rate < RATE_MAX:
        rate = rate * STEP if up else rate / STEP
        found = _run(server, rate, seconds)
        if _holds(found):
            best = Held(rate, found.p99_us / 1000)
        elif up:
            # Once more: throttling begins by chance, and so does the end of a period.
            found = _run(server, rate, seconds)
            if not _holds(found):
                break
            best = Held(rate, found.p99_us / 1000)
    return best


def limits(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """The rate of hits held at 25m, 100m and 500m, and p99 at half that of unbound, against unbound's."""
    node = site.as_node(1)
    seconds = max(1.5, extent.seconds / 2)
    held: dict[str, dict[int, Held]] = {"shardns": {}, "unbound": {}}
    calm: dict[str, dict[int, float]] = {"shardns": {}, "unbound": {}}
    for millicores in LIMITS[:1] if extent.is_quick else LIMITS:
        # unbound first: both are asked at half of what it holds.
        for name in ("unbound", "shardns"):
            with _warmed(node, name, millicores) as server:
                best = held[name][millicores] = _highest(server, FIRST[millicores], seconds)
                if not best.rate:
                    raise Wrong(f"{name} holds no rate at {millicores}m: others have the processors")
                half = held["unbound"][millicores].rate / 2
                tries = [_run(server, half, extent.seconds).p99_us / 1000 for _ in range(3)]
                calm[name][millicores] = median(tries)
            progress(
                f"{millicores:>4}m  {name:<8} holds {best.rate:>7,.0f}/s at p99 {best.p99_ms:.1f} ms; "
                f"at {half:,.0f}/s p99 {calm[name][millicores]:.2f} ms"
            )
    table = {
        f"{name} at {limit}m": {
            "queries/s held": best.rate,
            "p99 ms": best.p99_ms,
            "queries/s calm": held["unbound"][limit].rate / 2,
            "p99 ms calm": calm[name][limit],
        }
        for name, by_limit in held.items()
        for limit, best in by_limit.items()
    }
    figures = []
    for limit in held["shardns"]:
        gain = held["shardns"][limit].rate / held["unbound"][limit].rate
        tail = calm["shardns"][limit] / calm["unbound"][limit]
        figures.append(Figure(f"quota/{limit}m", f"rate held at {limit}m, against unbound", gain, is_floor=True))
        figures.append(
            Figure(f"quota/{limit}m-p99", f"p99 at {limit}m at half of what unbound holds, against unbound", tail)
        )
    curves = {f"{name} rate held": [(float(m), best.rate) for m, best in of.items()] for name, of in held.items()}
    return Outcome(figures, table, {}, curves)
