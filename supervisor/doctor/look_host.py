"""Sees what the node gives: kube-proxy, eBPF networks, resolv.conf, memory, CPU, kernel."""

from __future__ import annotations

import gzip
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shardns.plugins.forward import RESOLVED_FILE
from supervisor import cpus, interfaces
from supervisor import segments as memory
from supervisor.doctor import asking
from supervisor.doctor.facts import CgroupSeen, ClusterSeen, KernelSeen, ResolvSeen, ShmSeen
from supervisor.doctor.known import Known
from supervisor.doctor.look_node import bounded
from supervisor.network import choice, reconcile
from supervisor.sources import resolv
from supervisor.sources.corefile import RESOLV_CONF

ROOT: Final = Path("/")
_PROXY: Final = "127.0.0.1:10249"  # kube-proxy's metricsBindAddress, as it comes
_PROXY_MODES: Final = frozenset(["iptables", "ipvs", "nftables", "kernelspace"])
_UNLIMITED: Final = 1 << 60  # cgroup v1 writes the largest number of pages


def cluster(_known: Known, until: float) -> ClusterSeen:
    """Signs of kube-proxy, Cilium and Calico."""
    seen = choice.look(bounded(until)) if reconcile.can_set_up() else None
    page = asking.get(_PROXY, "/proxyMode", min(0.5, until - time.monotonic()))
    mode = page.body if page.status == 200 and page.body in _PROXY_MODES else ""
    return ClusterSeen(seen, frozenset(_links()), mode, frozenset(_bpf()))


def _links(root: Path = ROOT) -> Iterator[str]:
    """The names of all links."""
    try:
        yield from interfaces.by_interface()
    except OSError:
        return
    try:
        yield from (path.name for path in (root / "sys/class/net").iterdir())
    except OSError:
        return


def _bpf(root: Path = ROOT) -> Iterator[str]:
    """What is pinned in the BPF file system."""
    for place in ("", "tc", "tc/globals"):
        try:
            yield from (path.name for path in (root / "sys/fs/bpf" / place).iterdir())
        except OSError:
            continue


def resolv_conf(_known: Known, _until: float, root: Path = ROOT) -> ResolvSeen:
    """The node's, and the file behind systemd-resolved's stub."""
    return ResolvSeen(_nameservers(root / RESOLV_CONF.lstrip("/")), _nameservers(root / RESOLVED_FILE.lstrip("/")))


def _nameservers(path: Path) -> tuple[str, ...] | None:
    """Of one file."""
    try:
        return resolv.nameservers(path.read_text(errors="replace"))
    except OSError:
        return None


def shm(known: Known, _until: float, place: Path = memory.SHM) -> ShmSeen | None:
    """Its room, and what our table has of it."""
    try:
        room = os.statvfs(place)
    except OSError:
        return None
    name = known.options.shm_name or memory.table_name(known.options.dns_port, known.options.local_ips)
    try:
        table = (place / name).stat().st_blocks * 512
    except OSError:
        table = 0
    return ShmSeen(room.f_bavail * room.f_frsize, table)


def cgroup(known: Known, _until: float, root: Path = ROOT) -> CgroupSeen:
    """Of the supervisor; of ourselves where it is not known."""
    process = str(known.pid) if known.pid else "self"
    periods, throttled = 0, 0
    for folder in cpus.folders(root, "cpu", process)[:1]:
        counts = _counts(folder / "cpu.stat")
        periods, throttled = counts.get("nr_periods", 0), counts.get("nr_throttled", 0)
    limit, used = _memory(root, process)
    return CgroupSeen(cpus.quota(root, process), cpus.requested(root, process), periods, throttled, limit, used)


def _memory(root: Path, process: str) -> tuple[int | None, int | None]:
    """The tightest limit and what counts against it, less what the kernel can take back."""
    found: list[tuple[int, int | None]] = []
    for folder in cpus.folders(root, "memory", process):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and limit < _UNLIMITED:
                counts = _counts(folder / "memory.stat")
                takable = counts.get("total_inactive_file", counts.get("inactive_file", 0))
                found.append((limit, None if used is None else max(0, used - takable)))
    return min(found, key=lambda one: one[0], default=(None, None))


def kernel(_known: Known, _until: float, root: Path = ROOT) -> KernelSeen:
    """What it says of itself: its configuration, its modules, what is loaded."""
    known = _Kernel(root)
    return KernelSeen(
        dummy=known.has("dummy", "DUMMY"),
        conntrack=(root / "proc/sys/net/netfilter/nf_conntrack_max").exists()
        or known.has("nf_conntrack", "NF_CONNTRACK"),
        ct_target=known.has("xt_CT", "NETFILTER_XT_TARGET_CT"),
        nft_notrack=known.has("nft_ct", "NFT_CT"),
        tracked=_number(root / "proc/sys/net/netfilter/nf_conntrack_count"),
        tracked_max=_number(root / "proc/sys/net/netfilter/nf_conntrack_max"),
    )


class _Kernel:
    """The kernel's modules and configuration, as far as they can be seen from here."""

    def __init__(self, root: Path) -> None:
        release = platform.release()
        self._loaded = {line.split()[0] for line in _lines(root / "proc/modules") if line}
        folder = root / "lib/modules" / release
        listed = [*_lines(folder / "modules.builtin"), *_lines(folder / "modules.dep")]
        self._modules = {Path(line.partition(":")[0]).name.partition(".")[0] for line in listed}
        self._config = _config(root, release)

    def has(self, module: str, option: str) -> bool | None:
        """Whether it has the module, built in or to be loaded; None: it does not say."""
        if module in self._loaded or module in self._modules:
            return True
        if not self._config:
            return False if self._modules else None
        value = self._config.get(option, "n")
        # A module that was configured is on the node, though the image that we run in has no files of it.
        return value in ("y", "m")


def _config(root: Path, release: str) -> dict[str, str]:
    """The kernel's configuration; empty where it is not told."""
    text = ""
    try:
        text = gzip.decompress((root / "proc/config.gz").read_bytes()).decode(errors="replace")
    except (OSError, EOFError, ValueError):
        text = "\n".join(_lines(root / "boot" / f"config-{release}"))
    return dict(re.findall(r"^CONFIG_(\w+)=(\w)$", text, re.MULTILINE))


def _counts(path: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    pairs = [line.split() for line in _lines(path)]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == len(("name", "number")) and pair[1].isdecimal()}


def _number(path: Path) -> int | None:
    """A file of one number; None for what is none ("max")."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
