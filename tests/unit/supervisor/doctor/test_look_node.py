"""The node, seen from inside namespaces of the test's own."""

import shutil
import socket

import pytest

from supervisor.doctor import look_node
from supervisor.doctor.facts import AddressSeen, LinkSeen
from supervisor.network import reconcile
from supervisor.network.choice import Seen
from tests.peers import netns
from tests.unit.supervisor.doctor.facts import known, nothing
from tests.unit.supervisor.doctor.test_asking import soon

in_namespace = [
    pytest.mark.netns,
    pytest.mark.skipif(bool(netns.can_make()), reason=netns.can_make()),
]


@pytest.fixture
def node():
    """A namespace that the test's thread is in."""
    with netns.namespace("doctor") as made, netns.entered(made):
        yield made


@pytest.mark.parametrize(
    "programs, taken, wanted",
    [
        (["iptables", "iptables-nft", "iptables-legacy"], "iptables-nft", ["iptables-legacy", "iptables-nft"]),
        (["iptables", "nft"], "iptables", ["iptables", "nftables"]),
        (["nft"], "nftables", ["nftables"]),
        ([], "iptables", ["iptables"]),
    ],
)
def test_where_rules_are_looked_for(programs, taken, wanted):
    """In everything that is here; `iptables` is not looked at beside its variants, for it is one of them."""
    assert look_node._present(Seen(frozenset(programs)), taken) == wanted


@pytest.mark.parametrize("taken, wanted", [("iptables-nft", ["iptables-nft"]), ("iptables-legacy", ["iptables-nft"])])
def test_legacy_tables_that_may_not_be_read(taken, wanted):
    """They are passed over; where rules belong there that is told by itself."""
    seen = Seen(frozenset(["iptables", "iptables-nft", "iptables-legacy"]), is_legacy_hidden=True)
    assert look_node._present(seen, taken) == wanted


def test_rules_without_capability(monkeypatch):
    """Without CAP_NET_ADMIN rules cannot be looked at, and no program is run."""
    monkeypatch.setattr(reconcile, "can_set_up", lambda: False)
    monkeypatch.setattr("supervisor.network.commands.run", None)
    assert "CAP_NET_ADMIN" in look_node.rules(known(), soon()).unreadable


def test_programs_are_bounded():
    """A program that does not end in time is given up, one that does says what it says."""
    if shutil.which("sleep") is None:
        pytest.skip("needs sleep")
    run = look_node.bounded(soon(0.1))
    assert "did not end" in run(("sleep", "5"), "").err
    assert look_node.bounded(soon())(("cat",), "text").out == "text"


class TestNode:
    """In a namespace."""

    pytestmark = in_namespace

    def test_interface_and_addresses(self, node):
        """The link with its kind, and each address with its prefix and link, of both families."""
        node.run("ip", "link", "add", "nodelocaldns", "type", "bridge")
        node.add_address("169.254.20.10/24", "nodelocaldns")
        node.add_address("fd00::10/128", "nodelocaldns")
        seen = look_node.node(known(), soon())
        assert seen.link == LinkSeen("nodelocaldns", "bridge", is_ours=False)
        assert AddressSeen("169.254.20.10", 24, "nodelocaldns") in seen.addresses
        assert AddressSeen("fd00::10", 128, "nodelocaldns") in seen.addresses
        assert look_node.node(known(interface="other"), soon()).link is None

    @pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="needs iptables-nft")
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_conntrack(self, node, address):
        """A query has an entry until a rule says no; the packet beside it has one in both cases."""
        tool = "ip6tables-nft" if ":" in address else "iptables-nft"
        if node.run(tool, "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW", check=False).returncode:
            pytest.skip("this kernel has no conntrack match")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as nameserver:
            nameserver.bind((address, 0))
            port = nameserver.getsockname()[1]
            made = known(local_ips=(address,), dns_port=port)
            (seen,) = look_node.conntrack(made, soon(0.1))
            assert (seen.is_tracked, seen.tracks_others, seen.reason) == (True, True, "")
            for chain, end in (("OUTPUT", "dport"), ("OUTPUT", "sport"), ("PREROUTING", "dport")):
                node.run(tool, "-t", "raw", "-A", chain, "-p", "udp", f"--{end}", str(port), "-j", "NOTRACK")
            (seen,) = look_node.conntrack(made, soon(0.1))
            assert (seen.is_tracked, seen.tracks_others) == (False, True)

    def test_conntrack_of_an_address_that_is_not_there(self, node):
        """An address without a route costs that address only, with the kernel's word for it."""
        (seen,) = look_node.conntrack(known(local_ips=("192.0.2.1",)), soon(0.1))
        assert (seen.is_tracked, "Network is unreachable" in seen.reason) == (None, True)


def test_conntrack_is_not_asked():
    """Where nothing runs, or no rules are wanted, no packet is sent."""
    assert look_node.conntrack(nothing(), soon()) == ()
    assert look_node.conntrack(known(sets_rules=False), soon()) == ()
