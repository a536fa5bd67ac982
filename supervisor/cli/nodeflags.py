"""What the flags say about the node: interface, rules, and how often to look after them. Pure.

Used by `shardns` and by `shardns teardown`, so that one command line means the same to both.
"""

from __future__ import annotations

import ipaddress
import re

from supervisor.cli.gosyntax import Flag, FlagError, Given
from supervisor.network.desired import INTERFACE, NETFILTERS, Wishes

SYNC_MIN_S = 1.0
_NAME_MAX = 15  # IFNAMSIZ less the closing zero
_NANOSECONDS = re.compile(r"[0-9]+ns")

NODE = (
    Flag("setupinterface", "true", "make the interface with the addresses of -localip, and keep it"),
    Flag("interfacename", INTERFACE, "its name", "NAME"),
    Flag("setupiptables", "true", "make the rules that keep DNS out of conntrack, and keep them"),
    Flag("netfilter", "auto", "make them with iptables, nftables, none; auto: as kube-proxy", "KIND"),
    Flag("health-port", "8080", "port of the health plugin, for two of the rules", "PORT"),
    Flag("syncinterval", "60", "how often to look after them: 60, 60s or (node-cache) 60ns", "TIME"),
    Flag("skipteardown", "false", "leave interface and rules behind at the end"),
)


def wishes(given: Given, local_ips: tuple[str, ...], dns_port: int) -> Wishes:
    """What to set up. Raises FlagError."""
    return Wishes(
        local_ips=local_ips,
        dns_port=dns_port,
        health_port=given.port("health-port"),
        interface=_interface(given.text("interfacename")),
        sets_interface=given.truth("setupinterface"),
        sets_rules=given.truth("setupiptables"),
        netfilter=given.one_of("netfilter", NETFILTERS),
        sync_s=_sync_s(given),
        skips_teardown=given.truth("skipteardown"),
    )


def local_ips(given: Given) -> tuple[str, ...]:
    """The addresses of -localip, in their order. Families may be mixed, which node-cache cannot. Raises FlagError."""
    if not given.has("localip"):
        return ()
    found: list[str] = []
    for text in given.text("localip").split(","):
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            raise FlagError(f'invalid localip specified - "{text}"') from None
        if "%" in text:
            raise FlagError(f'invalid localip specified - "{text}"')
        if address not in found:
            found.append(address)
    return tuple(found)


def _sync_s(given: Given) -> float:
    """Seconds between looks.

    node-cache takes a Go duration and multiplies it by a second, so that its manifests say 60ns for a minute; what
    everybody else would write for that makes it panic or never look again. Both are understood here.
    """
    text = given.text("syncinterval")
    if _NANOSECONDS.fullmatch(text) and float(text.removesuffix("ns")) >= SYNC_MIN_S:
        return float(text.removesuffix("ns"))
    return given.seconds("syncinterval", SYNC_MIN_S)


def _interface(text: str) -> str:
    """A name that the kernel takes (dev_valid_name)."""
    is_taken = 0 < len(text.encode()) <= _NAME_MAX and text not in (".", "..")
    if not is_taken or any(char in "/:" or char.isspace() for char in text):
        raise FlagError(f'-interfacename must be at most {_NAME_MAX} characters without space, / and :, got "{text}"')
    return text
