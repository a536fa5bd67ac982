"""What the node gives, seen on machines made of files."""

import gzip
import platform

import pytest

from supervisor.doctor import look_host
from supervisor.doctor.facts import CgroupSeen, KernelSeen, ResolvSeen, ShmSeen
from tests.unit.supervisor.doctor.facts import known, nothing


def machine(root, files):
    """A root directory with these files."""
    for name, text in files.items():
        path = root / name.replace("RELEASE", platform.release())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.mark.parametrize(
    "files, wanted",
    [
        ({}, ResolvSeen(None, None)),
        ({"etc/resolv.conf": "search example.org\nnameserver 192.0.2.53\n"}, ResolvSeen(("192.0.2.53",), None)),
        (
            {
                "etc/resolv.conf": "nameserver 127.0.0.53\n",
                "run/systemd/resolve/resolv.conf": "nameserver 192.0.2.1\nnameserver 192.0.2.2\n",
            },
            ResolvSeen(("127.0.0.53",), ("192.0.2.1", "192.0.2.2")),
        ),
    ],
)
def test_resolv_conf(tmp_path, files, wanted):
    """The nameservers of both files, as far as they are there."""
    assert look_host.resolv_conf(nothing(), 0, machine(tmp_path, files)) == wanted


@pytest.mark.parametrize(
    "files, wanted",
    [
        ({}, CgroupSeen()),
        (
            {
                "proc/7/cgroup": "0::/pod/box",
                "sys/fs/cgroup/pod/box/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/pod/box/cpu.stat": "usage_usec 5\nnr_periods 100\nnr_throttled 7\n",
                "sys/fs/cgroup/pod/box/memory.max": "max\n",
                "sys/fs/cgroup/pod/memory.max": "1000\n",
                "sys/fs/cgroup/pod/memory.current": "900\n",
                "sys/fs/cgroup/pod/memory.stat": "anon 500\ninactive_file 300\n",
            },
            CgroupSeen(0.5, None, 100, 7, 1000, 600),
        ),
        (
            {
                "proc/7/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.shares": "256\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "2000\n",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1500\n",
                "sys/fs/cgroup/memory/box/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            CgroupSeen(None, 0.25, 0, 0, 2000, 1000),
        ),
    ],
)
def test_cgroup(tmp_path, files, wanted):
    """The limits of the supervisor's cgroup in versions 2 and 1, tightest first; cached files do not count as used."""
    assert look_host.cgroup(known(pid=7), 0, machine(tmp_path, files)) == wanted


CONFIG = gzip.compress(b"CONFIG_DUMMY=m\n# CONFIG_NFT_CT is not set\nCONFIG_NETFILTER_XT_TARGET_CT=y\n")


@pytest.mark.parametrize(
    "files, wanted",
    [
        ({}, KernelSeen()),
        ({"proc/config.gz": CONFIG}, KernelSeen(True, False, True, False)),
        ({"boot/config-RELEASE": "CONFIG_DUMMY=y\n"}, KernelSeen(True, False, False, False)),
        (
            {"lib/modules/RELEASE/modules.dep": "kernel/net/netfilter/xt_CT.ko.xz: kernel/a.ko\nkernel/dummy.ko:\n"},
            KernelSeen(True, False, True, False),
        ),
        ({"proc/modules": "nft_ct 24576 4 - Live 0x0\n"}, KernelSeen(None, None, None, True)),
        (
            {
                "proc/sys/net/netfilter/nf_conntrack_max": "262144\n",
                "proc/sys/net/netfilter/nf_conntrack_count": "12\n",
            },
            KernelSeen(conntrack=True, tracked=12, tracked_max=262144),
        ),
        ({"proc/config.gz": b"not gzip"}, KernelSeen()),
    ],
)
def test_kernel(tmp_path, files, wanted):
    """What is loaded, built in, installed or configured is there; where nothing tells, it is not known."""
    assert look_host.kernel(nothing(), 0, machine(tmp_path, files)) == wanted


def test_shm(tmp_path):
    """The room that is free, and what the table of this shardns has taken."""
    (tmp_path / "mine").write_bytes(b"x" * 8192)
    seen = look_host.shm(known(shm_name="mine"), 0, tmp_path)
    assert isinstance(seen, ShmSeen)
    assert (seen.free > 0, seen.table) == (True, 8192)
    other = look_host.shm(known(shm_name="other"), 0, tmp_path)
    assert isinstance(other, ShmSeen)
    assert other.table == 0
    assert look_host.shm(known(), 0, tmp_path / "missing") is None
