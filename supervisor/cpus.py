"""How many workers this process's share of CPU is worth: cgroup quota and weight (v1 and v2), else cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

AUTO_MAX = 8  # one worker answers more than a node asks; more are had by asking for them
_V1_DEFAULT_SHARES = 1024  # also what "nothing was said" looks like
_V2_DEFAULT_WEIGHT = 100
_FILES = {  # by which a controller is known to be there, in versions 2 and 1
    "cpu": ("cpu.max", "cpu.shares", "cpu.weight"),
    "memory": ("memory.max", "memory.limit_in_bytes"),
}


def auto_workers(root: Path = Path("/"), cores: int | None = None) -> int:
    """Worker processes for --workers auto, from 1 to 8.

    A CPU quota is rounded up to whole cores. Without one, a weight that somebody set (Kubernetes makes it of the CPU
    request) is what the node grants under load, and is rounded up likewise. Without either, the cores we may run on.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    share = quota(root) or requested(root) or float(cores)
    return max(1, min(AUTO_MAX, cores, math.ceil(share - 0.01)))


def quota(root: Path, process: str = "self") -> float | None:
    """Cores that a process's cgroup's quota allows, the least of the whole way up; None without a quota."""
    found: list[float] = []
    for folder in folders(root, "cpu", process):
        limit = _words(folder / "cpu.max")
        if not limit:
            limit = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(limit) >= len(("quota", "period")) and limit[0].isdecimal() and limit[1].isdecimal() and int(limit[1]):
            found.append(int(limit[0]) / int(limit[1]))
    return min(found, default=None)


def requested(root: Path, process: str = "self") -> float | None:
    """Cores that the own weight of a process's cgroup stands for, as the kubelet sets it; None if nobody set it."""
    folder = next(iter(folders(root, "cpu", process)), None)
    if folder is None:
        return None
    weight, shares = _words(folder / "cpu.weight"), _words(folder / "cpu.shares")
    if weight and weight[0].isdecimal() and int(weight[0]) != _V2_DEFAULT_WEIGHT:
        # The kubelet's formula for cgroup v2, turned round: weight = 1 + (shares - 2) * 9999 / 262142.
        return (2 + (int(weight[0]) - 1) * 262142 / 9999) / 1024
    if shares and shares[0].isdecimal() and int(shares[0]) != _V1_DEFAULT_SHARES:
        return int(shares[0]) / 1024
    return None


def folders(root: Path, controller: str, process: str = "self") -> list[Path]:
    """The folder of a process's cgroup and those above it, innermost first; those that exist."""
    for line in _lines(root / "proc" / process / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            base = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            base = root / "sys/fs/cgroup" / controllers
            if not base.is_dir():
                base = root / "sys/fs/cgroup" / controller
        else:
            continue
        own = base / path.lstrip("/")
        ways = [own, *own.parents] if own.is_relative_to(base) else []
        found = [way for way in ways if way.is_relative_to(base) and way.is_dir()]
        if any((folder / name).is_file() for folder in found for name in _FILES[controller]):
            return found
    return []


def _words(path: Path) -> list[str]:
    """The words of a one-line file; none if it is not there."""
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
