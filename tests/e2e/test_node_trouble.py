"""What a node may lack or have otherwise: each is said with its remedy and counted, and pods keep their DNS."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal

import pytest

from tests.e2e import node as nodes
from tests.e2e import shardns as program
from tests.e2e.node import ADDRESS, FAMILIES, IPV4, IPV6, NAME
from tests.peers.process import wait_until

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(bool(nodes.why_not()), reason=nodes.why_not()),
]
BACKENDS = ("iptables-nft", "iptables-legacy", "nftables")
# What the programs say where the kernel lacks a module: seen with extensions that this kernel really lacks.
MISSING = {
    "iptables-nft": "Warning: Extension CT revision 0 not supported, missing kernel module?\n"
    "iptables-nft-restore v1.8.9 (nf_tables): \n"
    "line 2: RULE_INSERT failed (No such file or directory): rule in chain PREROUTING\n",
    "iptables-legacy": "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'raw'\n",
    "nftables": "Error: Could not process rule: Operation not supported\n",
}


@pytest.fixture
def node(request, cluster, tmp_path):
    """A node; the backend is the test's parameter, or iptables-nft."""
    try:
        with nodes.node(getattr(request, "param", "iptables-nft"), cluster, tmp_path) as made:
            yield made
    except nodes.NoSuchNodeError as error:
        pytest.skip(str(error))


every_backend = pytest.mark.parametrize("node", BACKENDS, indirect=True)


def failed(shardns, what: str) -> dict[str, object]:
    """The problem with what, said once."""
    wait_until(lambda: any(event["what"] == what for event in shardns.events("setup.failed")), what=f"{what} to fail")
    (event,) = (event for event in shardns.events("setup.failed") if event["what"] == what)
    return dict(event)


def errors(shardns) -> dict[str, float]:
    """The kinds of error that were counted, those that happened."""
    family = "coredns_nodecache_setup_errors_total"
    kinds = ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
    counts = {kind: shardns.scrape().total(family, errortype=kind) for kind in kinds}
    return {kind: count for kind, count in counts.items() if count}


def pods_are_answered(node, family=None) -> None:
    """Both pods' queries to the kube-dns Service are answered, by UDP and TCP, whoever does it."""
    for one in [family] if family else FAMILIES:
        for pod in (1, 2):
            for how in ("+notcp", "+tcp"):
                assert node.ask(one, NAME, how, pod=pod).data() == [ADDRESS]


def wait_counted(shardns, *kinds: str) -> None:
    """Nothing, once exactly these kinds of error are counted."""
    wait_until(lambda: set(errors(shardns)) == set(kinds), what=f"{kinds} to be counted")


@every_backend
def test_the_name_is_taken(node):
    """Another link has the name: it stays, no packet is led to addresses that nobody has, and later all is set up."""
    node.host.run("ip", "link", "add", nodes.INTERFACE, "type", "veth", "peer", "name", "peer")
    with node.shardns(IPV4, "-syncinterval", "1s") as shardns:
        event = failed(shardns, f"interface {nodes.INTERFACE}")
        assert event["error"] == "the name is taken by a link of kind veth"
        assert "-interfacename" in str(event["hint"])
        wait_counted(shardns, "interface_check")
        shardns.wait_event("rules.chosen")
        assert node.rules() == 0
        pods_are_answered(node)
        assert "peer" in node.host.run("ip", "link", "show", nodes.INTERFACE).stdout
        node.host.run("ip", "link", "del", nodes.INTERFACE)
        wait_until(node.is_whole, within_s=10, what="interface and rules")
        shardns.wait_event("setup.recovered")


@pytest.mark.parametrize("node", ["nftables"], indirect=True)
def test_kube_proxy_answers_there(node):
    """An address of kube-ipvs0 gets no rules, and loses those it has; the others are served."""
    node.host.run("ip", "link", "add", "kube-ipvs0", "type", "bridge")
    for family in FAMILIES:
        node.host.add_address(f"{family.service}/{family.length}", "kube-ipvs0")
    with node.shardns() as shardns:
        for family in FAMILIES:
            event = failed(shardns, f"address {family.service}")
            assert "kube-ipvs0 has it" in str(event["error"])
            assert "clusterDNS" in str(event["hint"])
        wait_until(lambda: node.rules() == node.rules_wanted // 2, what="the other addresses' rules")
        wait_counted(shardns, "interface_check")
        pods_are_answered(node)
        node.allow_as_told(shardns)
        for family in FAMILIES:
            assert node.ask(family, host=family.local).data() == [ADDRESS]


@pytest.mark.parametrize("node", ["iptables-nft", "nftables"], indirect=True)
def test_kube_proxy_takes_an_address(node):
    """When kube-proxy changes to IPVS while shardns serves, the rules of its address go, and pods are answered."""
    with node.shardns(IPV4, "-syncinterval", "1s") as shardns:
        wait_until(node.is_whole, within_s=10, what="interface and rules")
        node.host.run("ip", "link", "add", "kube-ipvs0", "type", "bridge")
        node.host.run("ip", "address", "del", f"{IPV4.service}/32", "dev", nodes.INTERFACE, check=False)
        node.host.run("ip", "address", "add", f"{IPV4.service}/32", "dev", "kube-ipvs0", check=False)
        node.host.run("ip", "address", "del", f"{IPV4.service}/32", "dev", nodes.INTERFACE, check=False)
        failed(shardns, f"address {IPV4.service}")
        wait_until(lambda: node.rules() == node.rules_wanted * 3 // 4, what="the address's rules to be gone")
        pods_are_answered(node, IPV4)


@every_backend
def test_the_kernel_lacks_a_module(node, tmp_path, monkeypatch):
    """The reason names it, the remedy says what to load, and pods are answered by kube-dns."""
    said = tmp_path / "said"
    said.write_text(MISSING[node.backend])
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("nft", "iptables-nft-restore", "ip6tables-nft-restore", "iptables-legacy-restore",
                 "ip6tables-legacy-restore"):  # fmt: skip
        fake = folder / name
        real = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
        fake.write_text(f'#!/bin/sh\nif [ "$1" = -j ] && [ "$2" != -f ]; then exec {real} "$@"; fi\n'
                        f"cat >/dev/null; cat {said} >&2; exit 1\n")  # fmt: skip
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with node.shardns() as shardns:
        shardns.wait_event("setup.failed")
        for event in shardns.events("setup.failed"):
            assert "modprobe" in str(event["hint"])
            assert not str(event["error"]).endswith(":")
        wait_counted(shardns, "iptables")
        assert node.rules() == 0
        pods_are_answered(node)
        assert node.host.run("dig", "+short", "+tries=1", f"@{IPV6.local}", NAME).stdout.split() == [ADDRESS]


@pytest.mark.parametrize("node", ["iptables-legacy"], indirect=True)
def test_the_xtables_lock_is_held(node, tmp_path, monkeypatch):
    """Who waits for it in vain says so, counts it by its own name, and tries again soon; DNS does not wait."""
    lock = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for address in (IPV6.local, IPV6.service):  # not ours now: one family waits for the lock, not two
            node.host.add_address(f"{address}/128")
        flags = ["-localip", f"{IPV4.local},{IPV4.service}", "-syncinterval", "1s"]
        with node.shardns(IPV4, *flags) as shardns:
            pods_are_answered(node)
            assert node.host.run("dig", "+short", "+tries=1", f"@{IPV4.local}", NAME).stdout.split() == [ADDRESS]
            shardns.wait_event("setup.failed", within_s=20)
            assert "xtables lock" in str(shardns.events("setup.failed")[0]["error"])
            wait_counted(shardns, "iptables_lock")
            fcntl.flock(held, fcntl.LOCK_UN)
            wait_until(lambda: node.rules() == node.rules_wanted // 2, within_s=20, what="the rules")
            shardns.wait_event("setup.recovered", within_s=20)
            pods_are_answered(node)


@pytest.mark.parametrize("node", ["iptables-legacy"], indirect=True)
def test_legacy_without_raw_socket(node, monkeypatch):
    """Where Kubernetes uses legacy iptables and CAP_NET_RAW is missing, no other backend is taken instead."""
    setpriv = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    plain = program.command
    monkeypatch.setattr(program, "command", lambda *args: [*setpriv, *plain(*args)])
    with node.shardns() as shardns:
        event = failed(shardns, "rules (iptables-legacy)")
        assert "add NET_RAW" in str(event["hint"])
        wait_counted(shardns, "iptables")
        assert node.rules() == 0
        pods_are_answered(node)
        done = node.host.run(*setpriv, program.PROGRAM, "doctor", "--control", shardns.control, check=False)
        assert "NET_RAW" in done.stdout
    assert nodes.INTERFACE not in node.host.run("ip", "link").stdout


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_ipv6_is_off(node):
    """IPv4 is set up and served; the addresses that cannot be had get no rules, and the sysctl is named."""
    for name in ("all", "default"):
        node.host.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
    with node.shardns() as shardns:
        event = failed(shardns, f"address {IPV6.local}")
        assert "disable_ipv6" in str(event["hint"])
        wait_until(lambda: node.rules() == node.rules_wanted // 2, what="the rules of IPv4")
        wait_counted(shardns, "interface_add")
        pods_are_answered(node, IPV4)


def test_left_behind(node):
    """`shardns teardown -localip` takes away the rules and the addresses it is given, and no others."""
    with node.shardns() as shardns:
        wait_until(node.is_whole, within_s=10, what="interface and rules")
        shardns.stop(signal.SIGKILL, code=-9)
    code, out, err = program.run("teardown", "-localip", IPV4.local, "-setupinterface=false")
    assert (code, err) == (0, "")
    assert IPV4.local in out
    assert node.rules() == node.rules_wanted * 3 // 4
    assert node.addresses() == len(nodes.LOCAL_IPS)
    assert program.run("teardown")[0] == 0
    assert node.is_bare()
