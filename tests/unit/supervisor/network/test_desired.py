"""What the flags come to: interface, addresses, and the twelve rules of node-cache to the letter."""

from __future__ import annotations

import shlex

import pytest

from supervisor.network.desired import NOTHING, Desired, Wishes, desired

# node-cache 1.26, cmd/node-cache/app/cache_app.go: (table, chain, arguments) of one address.
NODE_CACHE = """
raw PREROUTING -p tcp -d 169.254.20.10 --dport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
raw PREROUTING -p udp -d 169.254.20.10 --dport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
filter INPUT -p tcp -d 169.254.20.10 --dport 53 -j ACCEPT -m comment --comment "NodeLocal DNS Cache: allow DNS traffic"
filter INPUT -p udp -d 169.254.20.10 --dport 53 -j ACCEPT -m comment --comment "NodeLocal DNS Cache: allow DNS traffic"
raw OUTPUT -p tcp -s 169.254.20.10 --sport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
raw OUTPUT -p udp -s 169.254.20.10 --sport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
filter OUTPUT -p tcp -s 169.254.20.10 --sport 53 -j ACCEPT -m comment --comment "NodeLocal DNS Cache: allow DNS traffic"
filter OUTPUT -p udp -s 169.254.20.10 --sport 53 -j ACCEPT -m comment --comment "NodeLocal DNS Cache: allow DNS traffic"
raw OUTPUT -p tcp -d 169.254.20.10 --dport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
raw OUTPUT -p udp -d 169.254.20.10 --dport 53 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
raw OUTPUT -p tcp -d 169.254.20.10 --dport 8080 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
raw OUTPUT -p tcp -s 169.254.20.10 --sport 8080 -j NOTRACK -m comment --comment "NodeLocal DNS Cache: skip conntrack"
"""


def test_rules_are_those_of_node_cache():
    """Table, chain, arguments, their order and the order of the rules are node-cache's."""
    rules = desired(Wishes(local_ips=("169.254.20.10",))).rules
    ours = [(rule.table, rule.chain, *rule.arguments()) for rule in rules]
    assert ours == [tuple(shlex.split(line)) for line in NODE_CACHE.strip().splitlines()]


def test_every_address_has_its_twelve():
    """Both families have rules at the same time, with the ports of the flags."""
    rules = desired(Wishes(local_ips=("169.254.20.10", "fd00::a"), dns_port=5353, health_port=8099)).rules
    assert len(rules) == len(set(rules)) == 24
    assert {(rule.address, rule.is_ipv6) for rule in rules} == {("169.254.20.10", False), ("fd00::a", True)}
    assert {rule.port for rule in rules} == {5353, 8099}


@pytest.mark.parametrize(
    "wishes, interface, addresses, rules",
    [
        (NOTHING, "", (), 0),
        (Wishes(("169.254.20.10", "fd00::a")), "nodelocaldns", ("169.254.20.10", "fd00::a"), 24),
        (Wishes(("169.254.20.10",), interface="dns0"), "dns0", ("169.254.20.10",), 12),
        (Wishes(("169.254.20.10",), sets_interface=False), "", (), 12),
        (Wishes(("169.254.20.10",), sets_rules=False), "nodelocaldns", ("169.254.20.10",), 0),
        (Wishes(("169.254.20.10",), netfilter="none"), "nodelocaldns", ("169.254.20.10",), 0),
        (Wishes(("127.0.0.53", "::1")), "", (), 24),
        (Wishes(("127.0.0.53", "169.254.20.10")), "nodelocaldns", ("169.254.20.10",), 24),
    ],
)
def test_switches(wishes, interface, addresses, rules):
    """Each switch leaves out its part; loopback has its addresses already and needs no interface."""
    found = desired(wishes)
    assert (found.interface, found.addresses, len(found.rules)) == (interface, addresses, rules)


def test_without_rules():
    """Before anybody answers there is the interface alone."""
    whole = desired(Wishes(("169.254.20.10",)))
    assert whole.without_rules() == Desired("nodelocaldns", ("169.254.20.10",))
