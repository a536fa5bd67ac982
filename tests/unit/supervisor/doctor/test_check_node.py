"""Interface, addresses, rules and conntrack, judged."""

import dataclasses

import pytest

from supervisor.doctor import check_node
from supervisor.doctor.facts import AddressSeen, LinkSeen, NodeSeen, RulesSeen, Tracked
from supervisor.network.choice import Choice
from supervisor.network.report import Problem
from tests.unit.supervisor.doctor.facts import LOCAL, assert_like, known, nothing

RULES = known().desired.rules
RAW = tuple(rule for rule in RULES if rule.table == "raw")
NFT = Choice("iptables-nft", "Kubernetes has its chain there")
NFTABLES = Choice("nftables", "kube-proxy runs in nftables mode")
OWN = LinkSeen("nodelocaldns", "dummy", is_ours=True)


def at(link="nodelocaldns", prefix=32, address=LOCAL):
    """An address somewhere."""
    return AddressSeen(address, prefix, link)


@pytest.mark.parametrize(
    "changes, link, wanted",
    [
        ({}, OWN, ("ok", "nodelocaldns: dummy link")),
        ({}, LinkSeen("nodelocaldns", "bridge", is_ours=True), ("ok", "no dummy links")),
        ({}, None, ("fail", "there is no nodelocaldns -> its log says why")),
        ({}, LinkSeen("nodelocaldns", "vlan", is_ours=False), ("fail", "of kind vlan) -> choose another name")),
        ({}, LinkSeen("nodelocaldns", "", is_ours=False), ("fail", "(hardware)")),
        ({"sets_interface": False}, None, ("skip", "-setupinterface=false")),
        ({"local_ips": ("127.0.0.1",)}, None, ("skip", "loopback's")),
        ({"local_ips": ()}, None, ("skip", "there is no -localip")),
        ({"is_running": False, "source": "flags"}, OWN, ("warn", "left behind")),
        ({"is_running": False, "source": "flags"}, None, ("skip", "nothing runs")),
    ],
)
def test_interface(changes, link, wanted):
    """It is there, of a kind that we make; or it is said why not, or that nobody wants it."""
    assert_like(check_node.interface(known(**changes), NodeSeen(link)), [wanted])


def test_interface_without_us():
    """With nothing running, an interface of ours is left behind, another's is nobody's business."""
    assert_like(check_node.interface(nothing(), NodeSeen(OWN)), [("warn", "shardns teardown")])
    assert_like(check_node.interface(nothing(), NodeSeen(LinkSeen("nodelocaldns", "vlan", False))), [("skip", "")])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, [at()], ("ok", f"{LOCAL}/32 on nodelocaldns")),
        ({}, [], ("fail", f"no interface has {LOCAL}")),
        ({}, [at("kube-ipvs0")], ("fail", "kube-proxy answers there, in IPVS mode -> take it out of -localip")),
        ({}, [at(), at("kube-ipvs0")], ("fail", "IPVS")),
        ({}, [at("eth0")], ("fail", "is on eth0, not on nodelocaldns")),
        ({}, [at(), at("eth0")], ("warn", "is on eth0 ->")),
        ({}, [at(prefix=24)], ("warn", "/24 on nodelocaldns: its whole range goes nowhere else -> make it /32")),
        ({"sets_interface": False}, [at("eth0")], ("ok", "/32 on eth0")),
        ({"sets_interface": False}, [], ("fail", "add it to an interface")),
        ({"local_ips": ("127.0.0.2",)}, [], ("ok", "loopback's")),
        ({"local_ips": ("fd00::10",)}, [at(address="fd00::10", prefix=128)], ("ok", "fd00::10/128")),
        ({"local_ips": ("fd00::10",)}, [at(address="fd00::10", prefix=64)], ("warn", "make it /128")),
        ({"local_ips": ()}, [], ("skip", "no -localip")),
        ({"is_running": False}, [], ("skip", "nothing runs")),
    ],
)
def test_addresses(changes, seen, wanted):
    """Each address is where it belongs, alone, and as narrow as it must be."""
    assert_like(check_node.addresses(known(**changes), NodeSeen(OWN, tuple(seen))), [wanted])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, RulesSeen("", NFT, {"iptables-nft": RULES}), [("ok", "12 of 12 rules in iptables-nft (Kubernetes has")]),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": RULES[1:]}),
            [("fail", f"11 of 12 rules in iptables-nft; missing: raw PREROUTING -p tcp -d {LOCAL} --dport 53 ->")],
        ),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": ()}),
            [
                ("fail", "0 of 12 rules"),
            ],
        ),
        ({}, RulesSeen("", NFT, {"iptables-nft": ()}), [("fail", "and 9 more")]),
        ({}, RulesSeen("", NFT, {"iptables-legacy": (), "iptables-nft": ()}), [("fail", "rules in iptables-nft;")]),
        ({}, RulesSeen("", NFT, {"iptables-nft": (), "nftables": ()}), [("fail", "rules in iptables-nft;")]),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": (*RULES, RULES[3])}),
            [("warn", f"more than once: filter INPUT -p udp -d {LOCAL} --dport 53 -> remove them")],
        ),
        ({}, RulesSeen("", NFTABLES, {"nftables": RAW}), [("ok", "8 of 8 rules in nftables")]),
        ({}, RulesSeen("", NFTABLES, {"nftables": RAW[:-1]}), [("fail", "7 of 8 rules in nftables")]),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": RULES, "iptables-legacy": RULES[:2]}),
            [("ok", "12 of 12"), ("warn", "some in iptables-legacy too")],
        ),
        (
            {},
            RulesSeen("", NFTABLES, {"nftables": (), "iptables-nft": RULES}),
            [("ok", "12 of 12 rules in iptables-nft"), ("warn", "but belong to nftables: kube-proxy runs")],
        ),
        ({}, RulesSeen("we have no CAP_NET_ADMIN"), [("skip", "CAP_NET_ADMIN -> run it as root")]),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": ()}, (Problem("iptables", "rules (nft)", "odd", "mend"),)),
            [("warn", "rules (nft): odd -> mend")],
        ),
        (
            {},
            RulesSeen("", NFT, {"iptables-nft": RULES}, (), ("it may drop; allow it",)),
            [("ok", ""), ("warn", "it may drop -> allow it")],
        ),
        ({"sets_rules": False}, RulesSeen("", NFT, {"iptables-nft": ()}), [("skip", "-setupiptables=false")]),
        ({"netfilter": "none"}, RulesSeen("", NFT, {"iptables-nft": ()}), [("skip", "--netfilter none")]),
        ({"local_ips": ()}, RulesSeen("", NFT, {"iptables-nft": ()}), [("skip", "no -localip")]),
        ({"is_running": False}, RulesSeen("", NFT, {"iptables-nft": ()}), [("skip", "nothing runs")]),
        ({"is_running": False}, RulesSeen("", NFT, {"nftables": RAW}), [("warn", f"8 rules for {LOCAL} are left")]),
    ],
)
def test_rules(changes, seen, wanted):
    """Every rule is there once, in one backend, the one that this node uses; or the missing ones are named."""
    assert_like(check_node.rules(known(**changes), seen), wanted)


def test_rules_of_strangers():
    """Rules for an address that is not ours are told with what removes them."""
    stranger = dataclasses.replace(RULES[0], address="169.254.20.99")
    found = check_node.rules(known(), RulesSeen("", NFT, {"iptables-nft": (*RULES, stranger)}))
    assert_like(found, [("ok", "12 of 12"), ("warn", "shardns teardown -localip 169.254.20.99")])


@pytest.mark.parametrize(
    "changes, seen, wanted",
    [
        ({}, Tracked(LOCAL, is_tracked=False), ("ok", "no entry, other packets have")),
        ({}, Tracked(LOCAL, is_tracked=False, tracks_others=False), ("ok", "nothing in this network is tracked")),
        ({}, Tracked(LOCAL, is_tracked=True), ("fail", "a full table drops DNS")),
        ({}, Tracked(LOCAL, reason="no CAP_NET_ADMIN"), ("skip", f"{LOCAL}: no CAP_NET_ADMIN")),
    ],
)
def test_conntrack(changes, seen, wanted):
    """No entry is as it should be; it says more where other packets have one."""
    assert_like(check_node.conntrack(known(**changes), [seen]), [wanted])


def test_conntrack_is_not_asked():
    """Without a shardns, or without rules, there is nothing to find out."""
    assert_like(check_node.conntrack(nothing(), []), [("skip", "nothing runs")])
    assert_like(check_node.conntrack(known(sets_rules=False), []), [("skip", "no rules are wanted")])
