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
from perf.figures import Extent, Figure, Outcome, Progress, Skipped, ratios
from perf.servers import Server, Site, Wrong, settle, started
from tests.peers.process import wait_until

PERIOD_US = 100_000
SERVERS = ("unbound", "shardns")
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
def limited(name: str, millicores: int) -> Iterator[Path]:
    """A cgroup for that server with that quota, v1 or v2. Raises Skipped where none can be made."""
    v1 = Path("/sys/fs/cgroup/cpu")
    group = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / f"shardns-perf-{os.getpid()}-{name}"
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
def _warmed(site: Site, name: str, millicores: int) -> Iterator[tuple[Server, Path]]:
    """The server and its group, started and warmed without a limit, then limited: starting is not what is measured."""
    with limited(name, millicores) as group, started(site, name) as server:
        load.warm(server, load.names(site.directory / "hot", "hot", HOT_NAMES))
        settle(1.0)
        for pid in server.pids():
            (group / "cgroup.procs").write_text(str(pid))
        yield server, group


def _check_limited(group: Path, server: Server, best: Held) -> None:
    """Nothing; raises Wrong when not the quota decided: a process was outside, or the machine too busy to use it up."""
    outside = set(server.pids()) - {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    if outside:
        raise Wrong(f"{server.name}: {len(outside)} processes are outside the limit")
    if not best.rate or (best.rate < RATE_MAX and not _throttled(group)):
        raise Wrong(f"{server.name} was never throttled, and holds {best.rate:,.0f}/s: others have the processors")


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


@dataclass(frozen=True)
class Found:
    """What the servers did under one limit."""

    held: dict[str, Held]
    calm_rate: float  # half of what unbound holds
    calm_p99_ms: dict[str, list[float]]  # then, by round


def _under(site: Site, millicores: int, extent: Extent) -> Found:
    """Both servers under one limit, each in a group of its own: first one after the other, then in turns."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_warmed(site, name, millicores)) for name in SERVERS}
        held = {}
        for name, (server, group) in servers.items():
            held[name] = _highest(server, FIRST[millicores], max(1.5, extent.seconds / 2))
            _check_limited(group, server, held[name])
        calm = held["unbound"].rate / 2
        p99_ms: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(extent.rounds):
            for name, (server, _group) in servers.items():
                p99_ms[name].append(_run(server, calm, extent.seconds).p99_us / 1000)
        return Found(held, calm, p99_ms)


def limits(site: Site, extent: Extent, progress: Progress) -> Outcome:
    """The rate of hits held at 25m, 100m and 500m, and p99 at half that of unbound, against unbound's."""
    node = site.as_node(1)
    table: dict[str, dict[str, float]] = {}
    figures: list[Figure] = []
    rounds: dict[str, list[float]] = {}
    curves: dict[str, list[tuple[float, float]]] = {"shardns rate held": [], "unbound rate held": []}
    for limit in LIMITS[:1] if extent.is_quick else LIMITS:
        try:
            found = _under(node, limit, extent)
        except Wrong as why:
            progress(f"{limit}m is left out: {why}")
            continue
        for name, held in found.held.items():
            calm_ms = median(found.calm_p99_ms[name])
            table[f"{name} at {limit}m"] = {
                "queries/s held": held.rate,
                "p99 ms": held.p99_ms,
                "queries/s calm": found.calm_rate,
                "p99 ms calm": calm_ms,
            }
            rounds[f"{name} at {limit}m, p99 ms calm"] = found.calm_p99_ms[name]
            curves[f"{name} rate held"].append((float(limit), held.rate))
            progress(
                f"{limit:>4}m  {name:<8} holds {held.rate:>7,.0f}/s at p99 {held.p99_ms:.1f} ms; "
                f"at {found.calm_rate:,.0f}/s p99 {calm_ms:.2f} ms"
            )
        what = f"rate held at {limit}m, against unbound"
        more = found.held["shardns"].rate / found.held["unbound"].rate
        figures.append(Figure(f"quota/{limit}m", what, more, is_floor=True))
        what = f"p99 at {limit}m at half of what unbound holds, against unbound"
        figures.append(Figure.over(f"quota/{limit}m-p99", what, ratios(found.calm_p99_ms, "shardns", "unbound")))
    if not figures:
        raise Wrong("no limit could be measured")
    return Outcome(figures, table, rounds, curves)
