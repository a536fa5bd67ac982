"""The machine under the measurements: what it is, whether it is quiet, and that nobody else measures on it now."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from perf.servers import LOAD_CPU, SERVER_CPU, Wrong

NAME = "\0shardns-perf"  # in the abstract namespace: the kernel drops it with the process
PATIENCE_S = 1200.0
TICK = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nothing, once no other measurement runs: two on the same processors would measure each other.

    Raises Wrong where the two processors are not ours, and when the other does not end.
    """
    if not {int(SERVER_CPU), int(LOAD_CPU)} <= os.sched_getaffinity(0):
        raise Wrong("two processors are needed: one for the server, one for the load")
    until = time.monotonic() + PATIENCE_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        is_told = False
        while True:
            try:
                name.bind(NAME)
                break
            except OSError:
                if time.monotonic() > until:
                    raise Wrong("another measurement runs, and does not end") from None
                if not is_told:
                    print("another measurement runs: waiting for its end", flush=True)
                    is_told = True
                time.sleep(0.5)
        yield


def text() -> dict[str, object]:
    """What the figures were measured on. siblings: processors that share a core with the server's."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    siblings = Path(f"/sys/devices/system/cpu/cpu{SERVER_CPU}/topology/thread_siblings_list")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cpus": os.cpu_count(),
        "siblings": siblings.read_text().strip() if siblings.exists() else SERVER_CPU,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load1": round(os.getloadavg()[0], 2),
    }


class Watch:
    """How busy others are, from its making on."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_s(), _own_s()

    def others(self) -> float:
        """Processors taken by others: 0 on a quiet machine. Everything we started must have ended by now."""
        took = _busy_s() - self._busy - (_own_s() - self._own)
        return round(max(0.0, took / (time.monotonic() - self._began)), 2)


def _busy_s() -> float:
    """Seconds of all processors in processes, in user and kernel mode, and those that the hypervisor took (proc(5))."""
    user, nice, system, *rest = (int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + rest[4]) / TICK


def _own_s() -> float:
    """The same of this process and its descendants that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)
