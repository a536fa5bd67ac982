"""Which of the kernel's notices concern us."""

from __future__ import annotations

import random
import struct

import pytest

from supervisor.network.desired import Wishes, desired
from supervisor.network.notices import Interest, attributes, concerns_link, concerns_rules, interest, messages

WANTED = desired(Wishes(("169.254.20.10", "fd00::a")))
MINE = interest(WANTED, "nftables")
NEW_LINK, DELETE_LINK, NEW_ADDRESS, DELETE_ADDRESS = 16, 17, 20, 21
NEW_RULE, DELETE_TABLE, DELETE_CHAIN, DELETE_RULE = (10 << 8 | n for n in (6, 2, 5, 8))


def attribute(kind, value):
    """One, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind, *parts):
    """One of netlink's."""
    payload = b"".join(parts)
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 0) + payload + b"\0" * (-len(payload) % 4)


def link(kind, name):
    """About a link."""
    return message(kind, bytes(16), attribute(13, b"\0" * 4), attribute(3, name + b"\0"))


def address(kind, octets, which=2):
    """About an address."""
    return message(kind, bytes(8), attribute(which, octets))


def rule(kind, table, chain=b""):
    """About rules."""
    return message(kind, bytes(4), attribute(1, table + b"\0"), attribute(2, chain + b"\0"))


@pytest.mark.parametrize(
    "octets, concerns",
    [
        (link(DELETE_LINK, b"nodelocaldns"), True),
        (link(DELETE_LINK, b"nodelocaldns2"), False),
        (link(DELETE_LINK, b"veth1"), False),
        (link(NEW_LINK, b"nodelocaldns"), False),
        (address(DELETE_ADDRESS, bytes([169, 254, 20, 10])), True),
        (address(DELETE_ADDRESS, bytes([169, 254, 20, 11])), False),
        (address(NEW_ADDRESS, bytes([169, 254, 20, 10])), False),
        (address(DELETE_ADDRESS, bytes([0xFD, *[0] * 14, 0x0A]), which=1), True),
        (link(DELETE_LINK, b"veth1") + link(DELETE_LINK, b"nodelocaldns"), True),
        (b"", False),
    ],
)
def test_links_and_addresses(octets, concerns):
    """A link of our name or an address of ours that is gone concerns us, and nothing else does."""
    assert concerns_link(octets, MINE) is concerns


@pytest.mark.parametrize(
    "backend, octets, concerns",
    [
        ("nftables", rule(DELETE_TABLE, b"shardns"), True),
        ("nftables", rule(DELETE_RULE, b"shardns", b"output"), True),
        ("nftables", rule(DELETE_CHAIN, b"shardns", b"output"), True),
        ("nftables", rule(NEW_RULE, b"shardns", b"output"), False),
        ("nftables", rule(DELETE_RULE, b"raw", b"OUTPUT"), False),
        ("nftables", rule(DELETE_TABLE, b"kube-proxy"), False),
        ("iptables-nft", rule(DELETE_RULE, b"raw", b"OUTPUT"), True),
        ("iptables-nft", rule(DELETE_RULE, b"filter", b"INPUT"), True),
        ("iptables-nft", rule(DELETE_RULE, b"filter", b"KUBE-FORWARD"), False),
        ("iptables-nft", rule(DELETE_RULE, b"nat", b"OUTPUT"), False),
        ("iptables-nft", rule(DELETE_TABLE, b"raw"), True),
        ("nftables", message(DELETE_LINK, bytes(40)), False),
    ],
)
def test_rules(backend, octets, concerns):
    """What is taken out of the chains that hold our rules concerns us; kube-proxy's own traffic does not."""
    assert concerns_rules(octets, interest(WANTED, backend)) is concerns


def test_legacy_iptables_sends_no_notices():
    """So nothing is listened for, and the sync interval has to do; before the choice everything may be ours."""
    assert interest(WANTED, "iptables-legacy").chains == frozenset()
    assert interest(WANTED, "").chains == {
        *interest(WANTED, "nftables").chains,
        *interest(WANTED, "iptables-nft").chains,
    }


def test_any_octets_are_read_to_an_end():
    """Lengths that lie end the list; nothing is read beyond it, nothing is raised."""
    dice = random.Random(1)
    whole = link(DELETE_LINK, b"veth1") + address(DELETE_ADDRESS, b"abcd") + rule(DELETE_RULE, b"raw", b"OUTPUT")
    for _ in range(3000):
        octets = bytearray(whole[: dice.randrange(len(whole) + 1)])
        for _ in range(dice.randrange(4)):
            if octets:
                octets[dice.randrange(len(octets))] = dice.randrange(256)
        for reads in (concerns_link, concerns_rules):
            assert reads(bytes(octets), Interest("x", frozenset(), frozenset([("x", "")]))) in (True, False)


def test_short_parts():
    """Headers that do not fit are no messages and no attributes."""
    assert list(messages(b"\0" * 15)) == []
    assert list(messages(struct.pack("=IHHII", 8, 1, 0, 0, 0))) == []
    assert list(attributes(struct.pack("=HH", 3, 1))) == []
    assert list(attributes(struct.pack("=HH", 9, 1) + b"abcd")) == []
    assert list(attributes(attribute(1, b"abc") + attribute(0x8002, b"d"))) == [(1, b"abc"), (2, b"d")]
