"""The interface and its addresses, on a real kernel."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from supervisor.network import link

pytestmark = pytest.mark.netns
V4, V6 = "169.254.20.10", "fd00::a"


def addresses(node, name="nodelocaldns"):
    """Those of a link, with their prefix lengths; None: there is no such link."""
    done = node.run("ip", "-j", "address", "show", "dev", name, check=False)
    if done.returncode:
        return None
    return {f"{one['local']}/{one['prefixlen']}" for one in json.loads(done.stdout)[0]["addr_info"]}


def kind(node, name="nodelocaldns"):
    """Of a link."""
    return json.loads(node.run("ip", "-j", "-d", "link", "show", "dev", name).stdout)[0]["linkinfo"]["info_kind"]


def has_dummy(node):
    """Whether this kernel makes dummy links."""
    return node.run("ip", "link", "add", "probe", "type", "dummy", check=False).returncode == 0


def can_bind(address):
    """Whether the kernel takes the address for its own."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def test_a_new_interface(node):
    """It gets every address as /32 or /128, usable at once, and is a dummy, or a bridge where there is no such link."""
    report = link.ensure("nodelocaldns", [V4, V6])
    assert addresses(node) == {f"{V4}/32", f"{V6}/128"}
    assert report.problems == []
    assert len(report.added) == 3
    assert can_bind(V4)
    assert can_bind(V6)
    expected = "dummy" if has_dummy(node) else "bridge"
    assert kind(node) == expected
    assert [note for note in report.notes if "no dummy links" in note] == report.notes
    assert bool(report.notes) is (expected == "bridge")


def test_twice_changes_nothing(node):
    """A look at an interface in order adds nothing and says nothing."""
    link.ensure("nodelocaldns", [V4, V6])
    again = link.ensure("nodelocaldns", [V4, V6])
    assert (again.added, again.problems, again.notes) == ([], [], [])


def test_a_lost_address_comes_back(node):
    """Only what is missing is added."""
    link.ensure("nodelocaldns", [V4, V6])
    node.run("ip", "address", "del", f"{V4}/32", "dev", "nodelocaldns")
    assert link.ensure("nodelocaldns", [V4, V6]).added == [f"address {V4} on nodelocaldns"]
    assert addresses(node) == {f"{V4}/32", f"{V6}/128"}


def test_removed_and_removed_again(node):
    """Nothing is left, and removing nothing is no error."""
    link.ensure("nodelocaldns", [V4])
    assert link.remove("nodelocaldns", [V4]).removed == ["interface nodelocaldns"]
    assert addresses(node) is None
    again = link.remove("nodelocaldns", [V4])
    assert (again.removed, again.problems) == ([], [])


@pytest.mark.parametrize(
    "made, words",
    [
        (("type", "veth", "peer", "name", "other"), "a link of kind veth"),
        (("type", "bridge"), "a link of kind bridge"),
    ],
)
def test_a_name_that_is_taken(node, made, words):
    """A link of another kind is left as it is, by both; the remedy is another name."""
    node.run("ip", "link", "add", "nodelocaldns", *made)
    node.add_address("192.0.2.1/24", "nodelocaldns")
    (problem,) = link.ensure("nodelocaldns", [V4]).problems
    assert problem.error_type == "interface_check"
    assert words in problem.reason
    assert "-interfacename" in problem.hint
    assert link.remove("nodelocaldns", [V4]).removed == []
    assert addresses(node) == {"192.0.2.1/24"}


def test_a_bridge_with_ports_is_never_ours(node):
    """Even when it has our mark: somebody uses it."""
    node.run("ip", "link", "add", "nodelocaldns", "alias", "shardns", "type", "bridge")
    node.run("ip", "link", "set", "nodelocaldns", "alias", "shardns")
    node.run("ip", "link", "add", "port", "master", "nodelocaldns", "type", "veth", "peer", "name", "other")
    assert link.ensure("nodelocaldns", [V4]).problems
    assert link.remove("nodelocaldns", [V4]).removed == []


def test_half_made(node):
    """A bridge whose maker was killed before it could mark it is taken over, marked, and removed at the end."""
    node.run("ip", "link", "add", "nodelocaldns", "type", "bridge")
    assert link.ensure("nodelocaldns", [V4]).problems == []
    assert addresses(node) == {f"{V4}/32"}
    assert link.remove("nodelocaldns", [V4]).removed == ["interface nodelocaldns"]


def test_an_address_of_another_interface(node):
    """It stays there, and the problem says where."""
    node.run("ip", "link", "add", "eth9", "type", "bridge")
    node.add_address(f"{V4}/32", "eth9")
    report = link.ensure("nodelocaldns", [V4, V6])
    (problem,) = report.problems
    assert (problem.error_type, problem.reason) == ("interface_check", "interface eth9 has it already")
    assert addresses(node) == {f"{V6}/128"}
    assert report.withheld == []


def test_an_address_of_kube_ipvs0(node):
    """kube-proxy answers there: the address gets no rules, and the remedy names IPVS mode."""
    node.run("ip", "link", "add", "kube-ipvs0", "type", "bridge")
    node.add_address("10.96.0.10/32", "kube-ipvs0")
    report = link.ensure("nodelocaldns", [V4, "10.96.0.10"])
    (problem,) = report.problems
    assert (problem.error_type, problem.what) == ("interface_check", "address 10.96.0.10")
    assert "IPVS" in problem.hint
    assert report.withheld == ["10.96.0.10"]
    assert addresses(node) == {f"{V4}/32"}


def test_without_capability(node):
    """Without CAP_NET_ADMIN the kernel refuses; the remedy is the capability."""
    code = "from supervisor.network import link; print(link.ensure('nodelocaldns', ['169.254.20.10']).to_json())"
    done = node.run("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", code)
    assert '"interface_add"' in done.stdout
    assert "NET_ADMIN" in done.stdout
    assert addresses(node) is None


def test_ipv6_that_is_switched_off(node):
    """IPv4 is set up; the problem names the sysctl."""
    node.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    report = link.ensure("nodelocaldns", [V4, V6])
    assert addresses(node) == {f"{V4}/32"}
    (problem,) = report.problems
    assert problem.error_type == "interface_add"
    assert "disable_ipv6" in problem.hint


def test_a_foreign_dummy_loses_only_our_addresses(node):
    """A dummy of somebody else's that has the name, and addresses of its own, stays."""
    if not has_dummy(node):
        pytest.skip("this kernel has no dummy links")
    node.run("ip", "link", "add", "nodelocaldns", "type", "dummy")
    node.add_address("192.0.2.1/32", "nodelocaldns")
    link.ensure("nodelocaldns", [V4])
    assert link.remove("nodelocaldns", [V4]).removed == [f"address {V4} of nodelocaldns"]
    assert addresses(node) == {"192.0.2.1/32"}
