"""Shardns on a node: pods ask the kube-dns Service and are answered by it, without connection tracking."""

from __future__ import annotations

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
BACK_S = 20  # with a busy machine; the sync interval is 60
by_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.fixture(params=["iptables-nft", "iptables-legacy", "nftables"])
def node(request, cluster, tmp_path):
    """A node of each kind that this kernel can be."""
    try:
        with nodes.node(request.param, cluster, tmp_path) as made:
            yield made
    except nodes.NoSuchNodeError as error:
        pytest.skip(str(error))


def set_up(node, shardns):
    """Nothing, once interface and rules are there and the firewall has what its operator was told."""
    wait_until(node.is_whole, within_s=10, what="interface and rules")
    node.allow_as_told(shardns)


@by_family
def test_pods_are_answered_without_conntrack(node, family):
    """A pod that asks the kube-dns Service is answered by shardns, over UDP and TCP; no flow of a pod is tracked."""
    assert node.ask(family).data() == [ADDRESS]
    assert node.flows(family), "without shardns the flow is tracked: that is what the test looks for"
    with node.shardns(family) as shardns:
        set_up(node, shardns)
        (chosen,) = shardns.events("rules.chosen")
        assert chosen["backend"] == node.backend
        node.ask(family)
        node.forget_flows()
        before = node.queries()
        for pod in (1, 2):
            for how in ("+notcp", "+tcp"):
                assert node.ask(family, NAME, how, pod=pod).data() == [ADDRESS]
                assert node.ask(family, NAME, how, pod=pod, host=family.local).data() == [ADDRESS]
        assert node.queries() == before, "all of these were hits"
        tracked = [line for line in node.flows(family) if family.pod(1) in line or family.pod(2) in line]
        assert tracked == []
        page = shardns.scrape()
        assert page.total("coredns_dns_requests_total") >= 8
        assert page.total("coredns_nodecache_setup_errors_total") == 0


@by_family
def test_upstream_is_asked_by_tcp(node, family):
    """A miss goes to the other Service by TCP, and that flow is tracked and translated as any other."""
    with node.shardns(family) as shardns:
        set_up(node, shardns)
        node.forget_flows()
        assert node.ask(family, "headless.default.svc.cluster.local").status in ("NOERROR", "NXDOMAIN")
        assert node.flows(family, "-p", "tcp", "--orig-dst", family.upstream)
        assert node.flows(family, "-p", "udp") == []


def test_host_is_answered(node):
    """Processes of the host, and the kubelet's probe, reach the local address as well."""
    with node.shardns() as shardns:
        set_up(node, shardns)
        shown = node.host.run("dig", "+short", "+tries=1", f"@{IPV4.local}", NAME).stdout
        assert shown.split() == [ADDRESS]
        assert node.host.run("curl", "-sf", f"http://{IPV4.local}:8080/health").stdout == "OK"


def test_what_is_removed_comes_back(node):
    """Interface, addresses and rules are back when the kernel reports their loss, and pods are answered again."""
    with node.shardns(IPV4, "-syncinterval", "1ns" if node.backend == "iptables-legacy" else "60ns") as shardns:
        set_up(node, shardns)
        removals: list[tuple[str, ...]] = [("ip", "link", "del", nodes.INTERFACE)]
        removals += [("ip", "address", "del", f"{f.service}/{f.length}", "dev", nodes.INTERFACE) for f in FAMILIES]
        if node.backend == "nftables":
            removals.append(("nft", "delete", "table", "inet", "shardns"))
        else:
            removals += [(node.backend, "-t", "raw", "-F"), (node.backend.replace("ip", "ip6", 1), "-t", "raw", "-F")]
        for removal in removals:
            node.host.run(*removal)
            wait_until(node.is_whole, within_s=BACK_S, what=f"all to be back after {' '.join(removal)}")
            for family in FAMILIES:
                assert node.ask(family).data() == [ADDRESS]


def test_sigterm_leaves_nothing(node):
    """After SIGTERM there is neither interface nor rule, and pods are answered by kube-dns."""
    with node.shardns() as shardns:
        set_up(node, shardns)
        shardns.stop()
        order = [event["event"] for event in shardns.events() if event["event"] in ("setup.removed", "child.drained")]
        assert order == ["setup.removed", *["child.drained"] * 3, "setup.removed"], "rules, processes, interface"
        assert node.is_bare()
        before = node.queries()
        for family in FAMILIES:
            assert node.ask(family).data() == [ADDRESS]
        assert node.queries() == before + 2


def test_sigkill_and_teardown_leave_nothing(node):
    """`shardns teardown` removes what a killed shardns left, every copy of it, and nothing else; twice is no error."""
    foreign = node.host.run("nft", "list", "ruleset").stdout.count("KUBE-IPTABLES-HINT")
    with node.shardns() as shardns:
        set_up(node, shardns)
        shardns.stop(signal.SIGKILL, code=-9)
    assert node.is_whole()
    if node.backend != "nftables":
        node.host.run(node.backend, "-I", "INPUT", "-p", "udp", "-d", IPV4.local, "--dport", "53", "-j", "ACCEPT",
                      "-m", "comment", "--comment", "NodeLocal DNS Cache: allow DNS traffic")  # fmt: skip
    code, out, err = program.run("teardown")
    assert (code, err) == (0, "")
    assert f"removed interface {nodes.INTERFACE}" in out
    assert node.is_bare()
    assert node.host.run("nft", "list", "ruleset").stdout.count("KUBE-IPTABLES-HINT") == foreign
    for family in FAMILIES:
        assert node.ask(family).data() == [ADDRESS]
    assert program.run("teardown") == (0, "nothing of shardns is here\n", "")


def test_the_next_start_takes_over(node):
    """What a killed shardns left is taken over: nothing is doubled, and at the end nothing is left."""
    with node.shardns() as shardns:
        set_up(node, shardns)
        shardns.stop(signal.SIGKILL, code=-9)
    with node.shardns() as shardns:
        shardns.wait_event("rules.chosen")
        assert node.is_whole()
        assert not shardns.events("setup.added")
        assert node.ask(IPV6).data() == [ADDRESS]
    assert node.is_bare()


def test_skipteardown(node):
    """Interface and rules stay, for whoever serves next."""
    with node.shardns(IPV4, "-skipteardown") as shardns:
        set_up(node, shardns)
        shardns.stop()
        assert node.is_whole()


def test_surge(node):
    """Two instances on the same addresses: the one that goes leaves everything to the one that stays."""
    with node.shardns() as old:
        set_up(node, old)
        with node.shardns() as new:
            new.wait_event("rules.chosen")
            for _ in range(5):
                assert node.ask(IPV4).data() == [ADDRESS]
            old.stop()
            (skipped,) = {event["instances"] for event in old.events("teardown.skipped")}
            assert skipped == 1
            assert node.is_whole()
            for pod in (1, 2):
                for family in FAMILIES:
                    assert node.ask(family, pod=pod).data() == [ADDRESS]
        assert node.is_bare()


def test_without_capability(node, monkeypatch):
    """Without CAP_NET_ADMIN each part is said with its remedy and counted; DNS goes on where there is an address."""
    node.host.run("ip", "link", "add", nodes.INTERFACE, "type", "bridge")
    node.host.add_address(f"{IPV4.service}/32", nodes.INTERFACE)
    setpriv = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    plain = program.command
    monkeypatch.setattr(program, "command", lambda *args: [*setpriv, *plain(*args)])
    with node.shardns() as shardns:
        shardns.wait_event("setup.failed", 2)
        failed = {event["what"]: event["hint"] for event in shardns.events("setup.failed")}
        assert set(failed) == {f"interface {nodes.INTERFACE}", "rules"}
        assert all("NET_ADMIN" in hint for hint in failed.values())
        assert node.host.run("dig", "+short", "+tries=1", f"@{IPV4.service}", NAME).stdout.split() == [ADDRESS]
        wait_until(lambda: shardns.scrape().total("coredns_nodecache_setup_errors_total") >= 2)
        page = shardns.scrape()
        assert page.total("coredns_nodecache_setup_errors_total", errortype="interface_add") >= 1
        assert page.total("coredns_nodecache_setup_errors_total", errortype="iptables") >= 1
