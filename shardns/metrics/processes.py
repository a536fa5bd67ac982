"""process_*: CPU, memory and descriptors of the whole group, so that dashboards made for one process stay true.

    process_cpu_seconds_total        supervisor, workers, upstream process, and every child that has ended
    process_resident_memory_bytes    shared pages once, the private ones of each process
    process_virtual_memory_bytes     of the upstream process
    process_open_fds, process_max_fds    of the upstream process, which holds the most
    process_start_time_seconds       of the supervisor

A private page that processes still share since their fork counts in parts. The kernel tells us only of ourselves how
much that saves (/proc/PID/smaps_rollup of another user is closed), so the others are taken to share as much of theirs
as we do: their memory is an estimate, some 5 % off.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shardns.metrics.families import CounterMetricFamily, GaugeMetricFamily, Metric

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Group:
    """The supervisor and its children, seen from one of them."""

    def __init__(self, supervisor_pid: int, proc: Path = Path("/proc")) -> None:
        self._supervisor = supervisor_pid
        self._proc = proc
        self._cpu_s = 0.0

    def pids(self) -> Sequence[int]:
        """The supervisor first, then its children; only ourselves besides it where the kernel does not list them."""
        path = self._proc / str(self._supervisor) / "task" / str(self._supervisor) / "children"
        try:
            children = [int(word) for word in path.read_text().split()]
        except OSError:
            children = [os.getpid()]
        return [self._supervisor, *children]

    def cpu_s(self) -> float:
        """User and system time of all processes, ended ones included; never less than said before.

        A child that is reaped between two looks is in neither, for that one scrape.
        """
        total = 0
        for pid in self.pids():
            try:
                text = (self._proc / str(pid) / "stat").read_text()
            except OSError:
                continue
            # The command's name, in parentheses, may hold anything. Then: field 3 is the state (proc(5)).
            fields = text[text.rindex(")") + 2 :].split()
            ended = fields[13:15] if pid == self._supervisor else ()
            total += sum(int(ticks) for ticks in (*fields[11:13], *ended))
        self._cpu_s = max(self._cpu_s, total / _TICKS)
        return self._cpu_s

    def resident_bytes(self) -> int:
        """Memory of all processes; see the head of this file."""
        share = self._own_share()
        total = shared = 0
        for pid in self.pids():
            found = _pages(self._proc / str(pid))
            if found is not None:
                total += round(found[0] * share)
                shared = max(shared, found[1])
        return (total + shared) * _PAGE

    def _own_share(self) -> float:
        """Which part of our private pages is ours alone, 0 to 1; 1 where the kernel does not say."""
        folder = self._proc / str(os.getpid())
        found = _pages(folder)
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:
            return 1.0
        kib = next((int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")), None)
        return 1.0 if kib is None or found is None or not found[0] else min(1.0, kib * 1024 / (found[0] * _PAGE))

    def families(self, start_time_s: float) -> Iterator[Metric]:
        """The process_* families."""
        yield CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent in seconds.", self.cpu_s()
        )
        yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", _open_fds())
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", limit)
        yield GaugeMetricFamily(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE,
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory size in bytes.", self.resident_bytes()
        )
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", start_time_s
        )


def _pages(folder: Path) -> tuple[int, int] | None:
    """Resident private and shared pages of a process (proc(5), statm); None when it is gone."""
    try:
        resident, shared = (int(word) for word in (folder / "statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return None
    return resident - shared, shared


def _open_fds() -> int:
    """Our own open descriptors, but for the one that looks."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
