"""The names and addresses of a hosts file, and what they say to a question. CoreDNS 1.13.2 plugin/hosts/hostsfile.go.

Pure: text in, records out. Names are looked up in wire form, folded, as they come in a query.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from shardns.dns import codes, message, names
from shardns.dns.answer import OWNER, Answer, Question, record

_LABELS_4 = 4
_LABELS_6 = 32
_HEX = frozenset("0123456789abcdef")

Addresses = dict[bytes, list[bytes]]


class Table:
    """The entries of one file, or of the lines in a Corefile. Immutable once it is made."""

    __slots__ = ("_names", "_v4", "_v6", "entries")

    def __init__(self, lines: Iterable[str], zones: Sequence[str], *, reverse: bool) -> None:
        """The names that lie in zones (normalised); addresses of one name add up. reverse: answer PTR as well."""
        self._v4: Addresses = {}
        self._v6: Addresses = {}
        self._names: Addresses = {}
        self.entries = 0
        """Addresses of names and names of addresses, all counted: the metric coredns_hosts_entries."""
        everything = "." in zones
        for words in map(_words, lines):
            address = address_of(words[0]) if len(words) > 1 else None
            if address is None:
                continue
            forward = self._v4 if len(address) == 4 else self._v6
            for word in words[1:]:
                try:
                    wire = names.fold(names.to_wire(word))
                except ValueError:
                    continue
                if not everything and not is_within(names.from_wire(wire), zones):
                    continue
                forward.setdefault(wire, []).append(address)
                self.entries += 1
                if reverse:
                    self._names.setdefault(address, []).append(wire)
                    self.entries += 1

    def addresses(self, name: bytes, qtype: int) -> list[bytes]:
        """The addresses of a name (wire form, folded), 4 octets each for A, 16 for AAAA; empty for other types."""
        if qtype == codes.Type.A:
            return self._v4.get(name, [])
        return self._v6.get(name, []) if qtype == codes.Type.AAAA else []

    def names(self, address: bytes) -> list[bytes]:
        """The names of an address of 4 or 16 octets, in wire form."""
        return self._names.get(address, [])

    def __contains__(self, name: bytes) -> bool:
        """Whether the name (wire form, folded) has any address."""
        return name in self._v4 or name in self._v6


def answer_from(tables: Sequence[Table], question: Question, ttl_s: int) -> Answer | None:
    """What the tables, in their order, say to a question for a name in the plugin's zones; None: no such name."""
    name = names.fold(question.query[message.HEADER_SIZE : names.end(question.query, message.HEADER_SIZE)])
    found = [address for table in tables for address in table.addresses(name, question.qtype)]
    if found:
        return Answer(list(_records(question.qtype, ttl_s, found)))
    return Answer() if any(name in table for table in tables) else None


def pointers_from(tables: Sequence[Table], question: Question, ttl_s: int) -> Answer | None:
    """What the tables say to a PTR question; None: nothing, or a name that stands for no address."""
    address = address_of_reverse(question.name)
    found = [] if address is None else [name for table in tables for name in table.names(address)]
    return Answer(list(_records(codes.Type.PTR, ttl_s, found))) if found else None


def _records(rtype: int, ttl_s: int, found: Iterable[bytes]) -> Iterator[bytes]:
    """A record of the question's name for each of found.

    DIFFERS: what is there twice is given once (RFC 2181 s.5); CoreDNS repeats it.
    """
    return (record(OWNER, rtype, codes.Class.IN, ttl_s, data) for data in dict.fromkeys(found))


def address_of(text: str) -> bytes | None:
    """The address in network order, 4 octets or 16; None if text is none. A %zone is left out, IPv4 in IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


def address_of_reverse(name: str) -> bytes | None:
    """The address whose reverse name (normalised) this is; None for other names, and for parts of an address."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa."):
        digits = labels[:-3]
        return address_of(".".join(reversed(digits))) if len(digits) == _LABELS_4 else None
    if name.endswith(".ip6.arpa."):
        nibbles = labels[:-3]
        if len(nibbles) != _LABELS_6 or not all(len(one) == 1 and one in _HEX for one in nibbles):
            return None
        return address_of(ipaddress.IPv6Address(int("".join(reversed(nibbles)), 16)).compressed)
    return None


def is_within(name: str, zones: Iterable[str]) -> bool:
    """True for a name in or below one of the zones; all normalised."""
    return any(names.is_subdomain(name, zone) for zone in zones)


def _words(line: str) -> list[str]:
    """The words of a line in front of its comment."""
    return line.partition("#")[0].split()
