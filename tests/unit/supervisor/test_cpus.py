"""Workers for --workers auto, on machines made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cpus import auto_workers

V2 = "0::/"
V2_DEEP = "0::/kubepods.slice/pod1/box"
V1 = "12:cpuset:/docker/1\n4:cpu,cpuacct:/docker/1\n"


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A root directory with these files."""
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "cgroup, files, cores, workers",
    [
        (V2, {}, 4, 4),
        (V2, {}, 64, 8),
        (V2, {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/cpu.weight": "100\n"}, 4, 4),
        (V2, {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 16, 2),
        (V2, {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 16, 2),
        (V2, {"sys/fs/cgroup/cpu.max": "5000 100000\n"}, 16, 1),
        (V2, {"sys/fs/cgroup/cpu.max": "800000 100000\n"}, 2, 2),
        (V2, {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/cpu.weight": "1\n"}, 16, 1),
        (V2, {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/cpu.weight": "79\n"}, 16, 2),
        (
            V2_DEEP,
            {
                "sys/fs/cgroup/kubepods.slice/pod1/box/cpu.max": "max 100000",
                "sys/fs/cgroup/kubepods.slice/pod1/cpu.max": "300000 100000",
            },
            16,
            3,
        ),
        (V1, {"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "-1"}, 3, 3),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.shares": "25",
            },
            16,
            2,
        ),
        (V1, {"sys/fs/cgroup/cpu/docker/1/cpu.shares": "25"}, 16, 1),
        (V1, {"sys/fs/cgroup/cpu/docker/1/cpu.shares": "1024"}, 6, 6),
        ("nonsense", {"sys/fs/cgroup/cpu.max": "x y"}, 2, 2),
        (V2, {"sys/fs/cgroup/cpu.max": "100000 0"}, 2, 2),
    ],
)
def test_auto_workers(tmp_path, cgroup, files, cores, workers):
    """The quota rounded up, else the weight that somebody set, else the cores; 1 to 8."""
    assert auto_workers(machine(tmp_path, cgroup, files), cores) == workers


def test_shares_without_a_quota_file(tmp_path):
    """Version 1 with shares of two and a half cores gives three workers."""
    root = machine(tmp_path, V1, {"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.shares": "2560"})
    assert auto_workers(root, 16) == 3


def test_this_machine():
    """Whatever this machine is, the answer is usable."""
    assert 1 <= auto_workers() <= 8
