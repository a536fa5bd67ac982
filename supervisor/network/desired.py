"""What should be on the node, made from the flags: the interface, its addresses, and node-cache's rules. Pure.

The rules are those of node-cache 1.26 (kubernetes/dns cmd/node-cache/app/cache_app.go) to the letter: cleanup scripts
in the wild search for the comments, and `iptables -C` and `-D` find a rule only if target and comment are the same. So
either program finds the rules of the other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

SKIP_CONNTRACK: Final = "NodeLocal DNS Cache: skip conntrack"
ALLOW_DNS: Final = "NodeLocal DNS Cache: allow DNS traffic"
INTERFACE: Final = "nodelocaldns"

Netfilter = Literal["auto", "iptables", "nftables", "none"]
NETFILTERS: Final[tuple[Netfilter, ...]] = ("auto", "iptables", "nftables", "none")
Table = Literal["raw", "filter"]
Chain = Literal["PREROUTING", "INPUT", "OUTPUT"]
Protocol = Literal["tcp", "udp"]
End = Literal["d", "s"]  # which end of the packet is ours: destination or source

_PROTOCOLS: Final[tuple[Protocol, ...]] = ("tcp", "udp")
# Of node-cache's list, the pairs (TCP, then UDP) for the DNS port.
_PAIRS: Final[tuple[tuple[Table, Chain, End], ...]] = (
    ("raw", "PREROUTING", "d"),  # a pod asks
    ("filter", "INPUT", "d"),
    ("raw", "OUTPUT", "s"),  # it is answered
    ("filter", "OUTPUT", "s"),
    ("raw", "OUTPUT", "d"),  # a process of the host asks
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags ask for."""

    local_ips: tuple[str, ...] = ()  # of both families; none: nothing is set up
    dns_port: int = 53
    health_port: int = 8080
    interface: str = INTERFACE
    sets_interface: bool = True
    sets_rules: bool = True
    netfilter: Netfilter = "auto"
    sync_s: float = 60.0  # between looks when the kernel reports nothing
    skips_teardown: bool = False


NOTHING: Final = Wishes()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: packets of protocol whose `end` is address and port."""

    address: str
    table: Table
    chain: Chain
    protocol: Protocol
    end: End
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Which of iptables and ip6tables it belongs to."""
        return ":" in self.address

    @property
    def target(self) -> str:
        """What happens to the packet."""
        return "NOTRACK" if self.table == "raw" else "ACCEPT"

    @property
    def comment(self) -> str:
        """By which node-cache's users know it."""
        return SKIP_CONNTRACK if self.table == "raw" else ALLOW_DNS

    def arguments(self) -> tuple[str, ...]:
        """What follows `-I CHAIN` on iptables' command line, in node-cache's order."""
        match = ("-p", self.protocol, f"-{self.end}", self.address, f"--{self.end}port", str(self.port))
        return (*match, "-j", self.target, "-m", "comment", "--comment", self.comment)


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be there now."""

    interface: str = ""  # empty: leave interfaces alone
    addresses: tuple[str, ...] = ()  # each as /32 or /128
    rules: tuple[Rule, ...] = ()

    def without_rules(self) -> Desired:
        """Before anybody answers on the addresses: packets must not be led there yet."""
        return Desired(self.interface, self.addresses)


def desired(wishes: Wishes) -> Desired:
    """What the wishes come to.

    Loopback addresses need no interface: the kernel has all of 127.0.0.0/8 and ::1 on lo.
    """
    addresses = tuple(ip for ip in wishes.local_ips if not ipaddress.ip_address(ip).is_loopback)
    has_rules = wishes.sets_rules and wishes.netfilter != "none"
    has_link = wishes.sets_interface and addresses
    return Desired(
        interface=wishes.interface if has_link else "",
        addresses=addresses if has_link else (),
        rules=tuple(rule for ip in wishes.local_ips for rule in _rules(ip, wishes)) if has_rules else (),
    )


def _rules(address: str, wishes: Wishes) -> Iterator[Rule]:
    """The twelve rules of one address, in node-cache's order."""
    for table, chain, end in _PAIRS:
        for protocol in _PROTOCOLS:
            yield Rule(address, table, chain, protocol, end, wishes.dns_port)
    yield Rule(address, "raw", "OUTPUT", "tcp", "d", wishes.health_port)  # the kubelet's probe
    yield Rule(address, "raw", "OUTPUT", "tcp", "s", wishes.health_port)
