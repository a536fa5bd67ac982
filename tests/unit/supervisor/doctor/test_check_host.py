"""What the node gives, judged."""

import pytest

from supervisor.doctor import check_host
from supervisor.doctor.facts import CgroupSeen, ClusterSeen, KernelSeen, ResolvSeen, ShmSeen
from supervisor.network.choice import Seen
from tests.unit.supervisor.doctor.facts import LOCAL, assert_like, known, nothing

MIB = 1024 * 1024
IPTABLES = Seen(nft_chains=frozenset([("nat", "KUBE-SERVICES")]))
LEGACY = Seen(legacy_chains=frozenset(["KUBE-PROXY-CANARY"]))
NFTABLES = Seen(nft_chains=frozenset([("kube-proxy", "services")]))
KUBELET_ONLY = Seen(nft_chains=frozenset([("mangle", "KUBE-IPTABLES-HINT")]))


@pytest.mark.parametrize(
    "seen, wanted",
    [
        (ClusterSeen(IPTABLES), ("ok", "iptables mode (there is its chain KUBE-SERVICES)")),
        (ClusterSeen(LEGACY), ("ok", "iptables mode (there is its chain KUBE-PROXY-CANARY)")),
        (ClusterSeen(NFTABLES), ("ok", "nftables mode")),
        (ClusterSeen(IPTABLES, frozenset(["kube-ipvs0"])), ("ok", "pods must be given a link-local address")),
        (ClusterSeen(IPTABLES, proxy_mode="nftables"), ("ok", "nftables mode (it says so")),
        (ClusterSeen(KUBELET_ONLY), ("skip", "no sign of it")),
        (ClusterSeen(None), ("skip", "may not be looked at -> run it as root")),
    ],
)
def test_kube_proxy(seen, wanted):
    """Its own word counts most, then kube-ipvs0, then its rules; kubelet's hint is not kube-proxy's."""
    assert_like(check_host.kube_proxy(known(), seen), [wanted])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, ClusterSeen(Seen()), ("ok", "no Cilium")),
        ({}, ClusterSeen(IPTABLES, frozenset(["cilium_host"])), ("ok", "Cilium, with kube-proxy")),
        ({}, ClusterSeen(Seen(), frozenset(["cilium_host"])), ("ok", "link-local addresses are not")),
        (
            {"local_ips": (LOCAL, "10.96.0.10")},
            ClusterSeen(Seen(), frozenset(["cilium_host"])),
            ("warn", "may pass shardns by -> use a CiliumLocalRedirectPolicy"),
        ),
        ({"local_ips": ()}, ClusterSeen(Seen(), bpf=frozenset(["cilium_lb4"])), ("warn", "Cilium without kube-proxy")),
        ({"local_ips": ()}, ClusterSeen(Seen(), frozenset(["bpfin.cali"])), ("warn", "Calico in eBPF mode without")),
    ],
)
def test_ebpf(changes, seen, wanted):
    """Where eBPF stands in for kube-proxy, a Service address on our interface is never reached."""
    assert_like(check_host.ebpf(known(**changes), seen), [wanted])


@pytest.mark.parametrize(
    "seen, wanted",
    [
        (ResolvSeen(("192.0.2.53",)), ("ok", "names 192.0.2.53")),
        (ResolvSeen(None), ("warn", "cannot be read")),
        (ResolvSeen(()), ("warn", "names no nameserver")),
        (ResolvSeen(("127.0.0.53",), ("192.0.2.53",)), ("ok", "192.0.2.53 behind it are asked instead")),
        (ResolvSeen(("127.0.0.53",), None), ("warn", "-> mount /run/systemd/resolve")),
        (ResolvSeen((LOCAL, "192.0.2.53")), ("warn", f"names {LOCAL}, which is our own address")),
    ],
)
def test_resolv_conf(seen, wanted):
    """It names somebody who can be asked and is not us."""
    assert_like(check_host.resolv_conf(known(), seen), [wanted])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, ShmSeen(64 * MIB, 0), ("ok", "64 MiB free in /dev/shm, the cache may take 32 MiB more")),
        ({}, ShmSeen(8 * MIB, 30 * MIB), ("ok", "may take 2 MiB more")),
        ({}, ShmSeen(8 * MIB, 0), ("fail", "mount a larger one")),
        ({}, None, ("skip", "no /dev/shm")),
        ({"shm_name": "none"}, ShmSeen(0, 0), ("skip", "--shm-name none")),
        ({"source": "nothing"}, ShmSeen(0, 0), ("skip", "")),
    ],
)
def test_shm(changes, seen, wanted):
    """What the table may still take has to be there: the kernel kills whoever touches a page that is not."""
    assert_like(check_host.shm(known(**changes), seen), [wanted])


@pytest.mark.parametrize(
    "seen, wanted",
    [
        (CgroupSeen(), ("ok", "no limit, 2 workers")),
        (CgroupSeen(cpu_requested=0.025), ("ok", "request 0.03 cores")),
        (CgroupSeen(cpu_quota=2.0), ("ok", "limit 2.00 cores")),
        (CgroupSeen(cpu_quota=0.5), ("warn", "take the CPU limit away")),
        (CgroupSeen(cpu_quota=1.0), ("warn", "limit 1.00 cores, 2 workers")),
        (CgroupSeen(cpu_quota=4.0, periods=1000, periods_throttled=250), ("warn", "stopped by it in 25 %")),
    ],
)
def test_cpu(seen, wanted):
    """A limit below a core or below the workers, or one that has stopped us, is told."""
    assert_like(check_host.cpu(known(), seen), [wanted])


@pytest.mark.parametrize(
    "seen, wanted",
    [
        (CgroupSeen(), ("ok", "about 112 MiB are needed")),
        (CgroupSeen(memory_limit=256 * MIB, memory_used=80 * MIB), ("ok", "80 MiB are used")),
        (CgroupSeen(memory_limit=64 * MIB), ("warn", "raise the limit")),
        (CgroupSeen(memory_limit=256 * MIB, memory_used=250 * MIB), ("warn", "250 MiB are used")),
    ],
)
def test_memory(seen, wanted):
    """A limit that a full cache would pass, or that is nearly used up, is told."""
    assert_like(check_host.memory(known(), seen), [wanted])


@pytest.mark.parametrize("check", [check_host.cpu, check_host.memory])
def test_limits_of_nothing(check):
    """Nothing runs: no limit is too low."""
    assert check(nothing(), CgroupSeen(cpu_quota=0.1, memory_limit=1)).state == "skip"


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        (
            {},
            KernelSeen(True, True, True, None, 5, 100),
            [("ok", "has dummy links"), ("ok", "5 of 100 entries"), ("ok", "with iptables")],
        ),
        ({}, KernelSeen(False, False), [("warn", "modprobe dummy"), ("ok", "nothing to skip")]),
        (
            {},
            KernelSeen(None, True, False, False, 99, 100),
            [("skip", "does not say"), ("warn", "nf_conntrack_max"), ("warn", "modprobe xt_CT nft_ct")],
        ),
        ({}, KernelSeen(True), [("ok", ""), ("skip", "does not say whether packets can skip")]),
        ({"sets_interface": False}, KernelSeen(False, True, True, True), [("ok", "with iptables and nftables")]),
        ({"local_ips": ()}, KernelSeen(), [("skip", "no -localip")]),
    ],
)
def test_kernel(changes, seen, wanted):
    """What interface and rules are made of is there, as far as the kernel says."""
    assert_like(check_host.kernel(known(**changes), seen), wanted)
