"""Judges what the node gives: kube-proxy or what stands in for it, resolv.conf, memory, CPU, kernel. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from typing import Final

from supervisor.doctor.check_node import IPVS_LINK
from supervisor.doctor.facts import CgroupSeen, ClusterSeen, KernelSeen, ResolvSeen, ShmSeen
from supervisor.doctor.findings import Finding, fail, ok, skip, warn
from supervisor.doctor.known import Known
from supervisor.options import NAMELESS

_PROXY_CHAINS: Final = frozenset({"KUBE-SERVICES", "KUBE-PROXY-CANARY"})
_STUBS: Final = frozenset({"127.0.0.53", "127.0.0.54"})
_PROCESS_BYTES: Final = 20 * 1024 * 1024  # of a worker, the upstream process and the supervisor, each
_FULL: Final = 0.9
_THROTTLED: Final = 0.01  # of all periods


def kube_proxy(_known: Known, seen: ClusterSeen) -> Finding:
    """Its mode."""
    mode, why = proxy_mode(seen)
    if mode == "ipvs":
        text = f"IPVS mode ({why}): it answers at every Service address itself"
        return ok("kube-proxy", f"{text}, so pods must be given a link-local address (kubelet's clusterDNS)")
    if mode:
        return ok("kube-proxy", f"{mode} mode ({why})")
    if seen.rules is None and not seen.links:
        return skip("kube-proxy", "its rules may not be looked at", "run it as root")
    return skip("kube-proxy", "there is no sign of it: no rules, no kube-ipvs0, nothing at 127.0.0.1:10249")


def proxy_mode(seen: ClusterSeen) -> tuple[str, str]:
    """iptables, ipvs or nftables, and by what it was known; empty where there is no sign of kube-proxy."""
    if seen.proxy_mode:
        return seen.proxy_mode, "it says so at 127.0.0.1:10249"
    if IPVS_LINK in seen.links:
        return "ipvs", f"there is {IPVS_LINK}"
    if seen.rules is None:
        return "", ""
    if any(table == "kube-proxy" for table, _ in seen.rules.nft_chains):
        return "nftables", "there is its table kube-proxy"
    chains = {chain for _, chain in seen.rules.nft_chains} | seen.rules.legacy_chains
    found = sorted(chains & _PROXY_CHAINS)
    return ("iptables", f"there is its chain {found[0]}") if found else ("", "")


def ebpf(known: Known, seen: ClusterSeen) -> Finding:
    """Whether a network in eBPF takes packets to Service addresses before rules see them."""
    cilium = "cilium_host" in seen.links or any("cilium" in name for name in seen.bpf)
    calico = any(name.startswith("bpfin") for name in seen.links) or any("cali" in name for name in seen.bpf)
    if not cilium and not calico:
        return ok("ebpf", "no Cilium and no Calico in eBPF mode")
    name = "Cilium" if cilium else "Calico in eBPF mode"
    mode, why = proxy_mode(seen)
    if mode:
        return ok("ebpf", f"{name}, with kube-proxy for Services ({why})")
    remedy = (
        "use a CiliumLocalRedirectPolicy (deploy/overlays/cilium), or a link-local address as kubelet's clusterDNS"
        if cilium
        else "give pods a link-local address (kubelet's clusterDNS)"
    )
    services = [ip for ip in known.wishes.local_ips if not _is_local(ip)]
    text = f"{name} without kube-proxy: Service addresses are translated before rules see a packet"
    if services or not known.wishes.local_ips:
        return warn("ebpf", f"{text}, so DNS of pods may pass shardns by", remedy)
    return ok("ebpf", f"{text}; link-local addresses are not")


def _is_local(address: str) -> bool:
    """Whether no Service can have it."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_link_local or parsed.is_loopback


def resolv_conf(known: Known, seen: ResolvSeen) -> Finding:
    """It names nameservers that can be asked."""
    check, servers = "resolv.conf", seen.nameservers
    if servers is None:
        return warn(check, "/etc/resolv.conf cannot be read", "a Corefile that forwards to it does not load")
    if not servers:
        return warn(check, "/etc/resolv.conf names no nameserver", "a Corefile that forwards to it does not load")
    listed = ", ".join(servers)
    ours = sorted({host for host, _ in known.served.listeners} & set(servers) - _STUBS)
    if ours:
        text = f"/etc/resolv.conf names {', '.join(ours)}, which is our own address"
        return warn(check, text, "do not forward to it: the query would come back; name the nameservers themselves")
    if not set(servers) <= _STUBS:
        return ok(check, f"/etc/resolv.conf names {listed}")
    if seen.behind_stub:
        return ok(check, f"it names systemd-resolved's stub; {', '.join(seen.behind_stub)} behind it are asked instead")
    remedy = "mount /run/systemd/resolve from the host, or forward to the nameservers themselves"
    return warn(check, f"it names systemd-resolved's stub {listed}, and the file behind it is not here", remedy)


def shm(known: Known, seen: ShmSeen | None) -> Finding:
    """The cache has room in /dev/shm."""
    if known.source == "nothing":
        return skip("shm", "it is not known how large the cache is")
    if known.options.shm_name == NAMELESS:
        return skip("shm", "the cache has no name (--shm-name none), so /dev/shm does not limit it")
    if seen is None:
        return skip("shm", "there is no /dev/shm")
    needed = max(0, known.options.cache_size_bytes - seen.table)
    text = f"{_mib(seen.free)} free in /dev/shm, the cache may take {_mib(needed)} more"
    if seen.free < needed:
        remedy = "mount a larger one (emptyDir with medium: Memory), or lower --cache-size; what is full keeps it small"
        return fail("shm", text, remedy)
    return ok("shm", text)


def cpu(known: Known, seen: CgroupSeen) -> Finding:
    """The CPU limit does not stop the processes."""
    workers = known.options.workers
    if known.source == "nothing":
        return skip("cpu", "nothing runs")
    if seen.cpu_quota is None:
        requested = f", request {seen.cpu_requested:.2f} cores" if seen.cpu_requested else ""
        return ok("cpu", f"no limit{requested}, {workers} workers")
    text = f"limit {seen.cpu_quota:.2f} cores, {workers} workers"
    remedy = "take the CPU limit away and keep a request: a limit stops every process for up to 0.1 s at a time"
    if seen.periods and seen.periods_throttled / seen.periods > _THROTTLED:
        share = 100 * seen.periods_throttled / seen.periods
        return warn("cpu", f"{text}: stopped by it in {share:.0f} % of all periods", remedy)
    if seen.cpu_quota < 1 or workers > math.ceil(seen.cpu_quota):
        return warn("cpu", text, remedy)
    return ok("cpu", text)


def memory(known: Known, seen: CgroupSeen) -> Finding:
    """The memory limit leaves room for the cache and the processes."""
    if known.source == "nothing":
        return skip("memory", "nothing runs")
    needed = known.options.cache_size_bytes + (known.options.workers + 2) * _PROCESS_BYTES
    if seen.memory_limit is None:
        return ok("memory", f"no limit; about {_mib(needed)} are needed with a full cache")
    text = f"limit {_mib(seen.memory_limit)}, about {_mib(needed)} are needed with a full cache"
    if seen.memory_used is not None:
        text += f", {_mib(seen.memory_used)} are used"
    is_full = seen.memory_used is not None and seen.memory_used > _FULL * seen.memory_limit
    if is_full or seen.memory_limit < needed:
        return warn(
            "memory", text, "raise the limit, or lower --cache-size or --workers: the kernel kills what is over"
        )
    return ok("memory", text)


def kernel(known: Known, seen: KernelSeen) -> Iterator[Finding]:
    """It has what interface and rules are made of."""
    if known.source != "nothing" and not known.wishes.local_ips:
        yield skip("kernel", "nothing is asked of it: there is no -localip")
        return
    if known.source == "nothing" or known.desired.interface:
        yield _feature("dummy links", seen.dummy, "modprobe dummy; without them a bridge is made")
    if seen.conntrack is False:
        yield ok("kernel", "no conntrack, so there is nothing to skip")
        return
    if seen.tracked is not None and seen.tracked_max:
        text = f"conntrack has {seen.tracked} of {seen.tracked_max} entries"
        if seen.tracked > _FULL * seen.tracked_max:
            yield warn("kernel", text, "a full table drops new connections: raise net.netfilter.nf_conntrack_max")
        else:
            yield ok("kernel", text)
    known_targets = [name for name, has in (("iptables", seen.ct_target), ("nftables", seen.nft_notrack)) if has]
    if known_targets:
        yield ok("kernel", f"packets can skip conntrack with {' and '.join(known_targets)}")
    elif seen.ct_target is False and seen.nft_notrack is False:
        yield warn("kernel", "neither iptables' CT target nor nftables' notrack", "modprobe xt_CT nft_ct")
    else:
        yield skip("kernel", "it does not say whether packets can skip conntrack; see conntrack above")


def _feature(name: str, has: bool | None, remedy: str) -> Finding:
    """One thing that it has or not."""
    if has is None:
        return skip("kernel", f"it does not say whether it has {name}")
    return ok("kernel", f"has {name}") if has else warn("kernel", f"has no {name}", remedy)


def _mib(octets: int) -> str:
    """32 MiB."""
    return f"{octets / 1024 / 1024:.0f} MiB"
