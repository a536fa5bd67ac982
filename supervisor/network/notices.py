"""The kernel's notices that something of ours is gone: raw netlink sockets, which the supervisor polls.

They say only that a look is worth its while. On a busy node links, addresses and nftables rules of others come and go
all the time, so what cannot concern us is passed over here, for microseconds, and no child is started for it.

Formats: linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from supervisor.network.desired import Desired

_ROUTE: Final = 0
_NETFILTER: Final = 12
_GROUP_LINK, _GROUP_IPV4_ADDRESS, _GROUP_IPV6_ADDRESS = 0x1, 0x10, 0x100  # RTMGRP_*, as a mask
_GROUP_NFTABLES: Final = 7  # NFNLGRP_NFTABLES, a number
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_DELETE_LINK, _DELETE_ADDRESS = 17, 21
_LINK_HEAD, _ADDRESS_HEAD, _NETFILTER_HEAD = 16, 8, 4  # octets of ifinfomsg, ifaddrmsg, nfgenmsg
_LINK_NAME, _ADDRESS, _LOCAL = 3, 1, 2  # IFLA_IFNAME, IFA_ADDRESS, IFA_LOCAL
_NFTABLES: Final = 10  # NFNL_SUBSYS_NFTABLES: the high octet of a message's type
_DELETE_TABLE, _DELETE_CHAIN, _DELETE_RULE = 2, 5, 8
_TABLE, _CHAIN = 1, 2  # NFTA_*_TABLE and NFTA_RULE_CHAIN; a table's own name is 1 as well
_TYPE_MASK: Final = 0x3FFF
_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES: Final = 1024 * 1024
_SO_RCVBUFFORCE: Final = 33


@dataclass(frozen=True, slots=True)
class Interest:
    """What is ours. chains: (table, chain) of nftables; a chain of "" stands for all of the table."""

    interface: str = ""
    addresses: frozenset[bytes] = frozenset()
    chains: frozenset[tuple[str, str]] = frozenset()


def interest(wanted: Desired, backend: str) -> Interest:
    """What the notices are to be about. The legacy iptables send none. An empty backend: it is not chosen yet."""
    chains: set[tuple[str, str]] = set()
    if backend in ("", "nftables"):
        chains.add(("shardns", ""))
    if backend in ("", "iptables-nft", "iptables"):
        chains.update((rule.table, rule.chain) for rule in wanted.rules)
    addresses = frozenset(ipaddress.ip_address(address).packed for address in wanted.addresses)
    return Interest(wanted.interface, addresses, frozenset(chains))


class Notices:
    """One netlink socket. Raises OSError where it cannot be had; then the sync interval has to do."""

    def __init__(self, mine: Interest, *, is_route: bool) -> None:
        """is_route: links and addresses; otherwise nftables."""
        self.mine = mine
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _protocol(is_route))
        try:
            self._socket.bind((0, _GROUP_LINK | _GROUP_IPV4_ADDRESS | _GROUP_IPV6_ADDRESS if is_route else 0))
            if not is_route:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except OSError:
            self._socket.close()
            raise
        self._reads = concerns_link if is_route else concerns_rules

    def fileno(self) -> int:
        """For poll()."""
        return self._socket.fileno()

    def take(self) -> bool:
        """Whether what has arrived may be about us. Also when some was lost, which the kernel tells."""
        found = False
        while True:
            try:
                octets = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found = True
                continue
            found = found or self._reads(octets, self.mine)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


_CHUNK: Final = 256 * 1024


def concerns_link(octets: bytes, mine: Interest) -> bool:
    """Whether one of these messages of NETLINK_ROUTE says that our link or an address of ours is gone."""
    for kind, payload in messages(octets):
        if kind == _DELETE_LINK and dict(attributes(payload[_LINK_HEAD:])).get(_LINK_NAME) == _text(mine.interface):
            return True
        if kind == _DELETE_ADDRESS:
            found = dict(attributes(payload[_ADDRESS_HEAD:]))
            if found.get(_LOCAL, found.get(_ADDRESS, b"")) in mine.addresses:
                return True
    return False


def concerns_rules(octets: bytes, mine: Interest) -> bool:
    """Whether one of these messages of nftables says that something was taken out of a chain of interest."""
    for kind, payload in messages(octets):
        if kind >> 8 != _NFTABLES or kind & 0xFF not in (_DELETE_TABLE, _DELETE_CHAIN, _DELETE_RULE):
            continue
        found = dict(attributes(payload[_NETFILTER_HEAD:]))
        table = found.get(_TABLE, b"").rstrip(b"\0").decode(errors="replace")
        chain = found.get(_CHAIN, b"").rstrip(b"\0").decode(errors="replace")
        if kind & 0xFF == _DELETE_RULE:
            concerns = (table, chain) in mine.chains or (table, "") in mine.chains
        else:
            concerns = any(table == one for one, _ in mine.chains)
        if concerns:
            return True
    return False


def messages(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each netlink message; a message that runs over the end ends the list."""
    at = 0
    while at + _MESSAGE.size <= len(octets):
        length, kind, _, _, _ = _MESSAGE.unpack_from(octets, at)
        if length < _MESSAGE.size or at + length > len(octets):
            return
        yield kind, octets[at + _MESSAGE.size : at + length]
        at += length + -length % 4


def attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        if length < _ATTRIBUTE.size or at + length > len(octets):
            return
        yield kind & _TYPE_MASK, octets[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4


def _protocol(is_route: bool) -> int:
    return _ROUTE if is_route else _NETFILTER


def _text(name: str) -> bytes:
    """A name as the kernel writes it."""
    return name.encode() + b"\0"
