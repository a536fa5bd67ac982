"""Answers out of zone-file text, as an authoritative nameserver gives them: for the embedded stand-in for kube-dns.

Whole messages in, whole messages out; the sockets belong to the caller. Beside message.py the only importer of dnslib.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from dnslib import AAAA, EDNS0, QTYPE, RR, A, DNSError, DNSHeader, DNSRecord

from shardns.dns import codes, message
from shardns.errors import Malformed

UDP_SIZE = 512  # bytes a client takes that says nothing else (RFC 1035 s.4.2.1)
MAX_CHAIN = 8  # CNAMEs followed; CoreDNS gives up after as many
SYNTHETIC_TTL_S = 300
# What dnslib lets through on bytes it cannot read; the same list as in message.parse.
_UNREADABLE = (DNSError, ValueError, LookupError, struct.error, UnicodeError, TypeError, AttributeError)


class Zone:
    """The records of one or more zones, each with its SOA, and the answers that follow from them.

    text       zone-file lines; the owner of an SOA is the apex of a zone
    synthetic  domains ("example.org.") under which every name that text does not have owns one made-up IPv4 and one
               IPv6 address, always the same for the same name (198.18.0.0/15 of RFC 2544, 2001:db8::/32 of RFC 3849)

    Immutable after construction, so any number of threads may ask. Raises ValueError for text it cannot read.
    """

    def __init__(self, text: str, *, synthetic: Iterable[str] = ()) -> None:
        try:
            records = list(RR.fromZone(text))
        except _UNREADABLE as error:
            raise ValueError(f"unreadable zone: {error}") from error
        self._records: dict[str, dict[int, list[Any]]] = {}  # Any: dnslib has no types
        for record in records:
            self._records.setdefault(_key(record.rname), {}).setdefault(record.rtype, []).append(record)
        self._apexes = frozenset(name for name, types in self._records.items() if codes.Type.SOA in types)
        # An ancestor of a name exists even where it owns nothing (RFC 8020 s.2): it answers NODATA, not NXDOMAIN.
        self._names = frozenset(above for name in self._records for above in _ancestors(name))
        self._synthetic = frozenset(synthetic)

    def answer(self, query: bytes, *, over_tcp: bool) -> bytes:
        """The response to query, truncated with TC to what the client takes when it came by UDP.

        Raises Malformed when there is nobody to answer: less than a header, or a response.
        """
        if len(query) < message.HEADER_SIZE:
            raise Malformed(f"message of {len(query)} bytes is shorter than a header")
        flags, questions = struct.unpack_from("!HH", query, 2)
        if flags & message.QR:
            raise Malformed("a response, where a query was expected")
        if flags & message.OPCODE_MASK:
            return message.error(query, codes.Rcode.NOTIMP)
        if questions != 1:
            return message.error(query, codes.Rcode.FORMERR)
        try:
            asked = DNSRecord.parse(query)
        except _UNREADABLE:
            return message.error(query, codes.Rcode.FORMERR)
        opt = next((record for record in asked.ar if record.rtype == codes.Type.OPT), None)
        if opt is not None and opt.edns_ver != 0:
            return message.error(query, codes.Rcode.BADVERS)
        if asked.q.qclass != codes.Class.IN:
            return message.error(query, codes.Rcode.REFUSED)
        return _packed(self._reply(asked, opt), _limit(opt, over_tcp=over_tcp))

    def _reply(self, asked: Any, opt: Any) -> Any:  # noqa: ANN401 - dnslib has no types
        """The whole answer to the one question of asked."""
        reply = DNSRecord(DNSHeader(id=asked.header.id, qr=1, rd=asked.header.rd, cd=asked.header.cd), q=asked.q)
        if opt is not None:
            reply.add_ar(EDNS0(udp_len=message.OUR_UDP_SIZE, flags="do" if opt.edns_do else ""))
        name, shown = _key(asked.q.qname), asked.q.qname
        for _ in range(MAX_CHAIN):
            apex = self._apex(name)
            reply.header.aa = reply.header.aa or int(apex is not None)
            found = self._found(name, asked.q.qtype)
            # The first owner is shown as the client wrote it (0x20); the others as the zone has them.
            reply.add_answer(*(_renamed(record, shown) for record in found))
            if not found:
                self._add_denial(reply, name, apex)
            if not found or found[0].rtype != codes.Type.CNAME or asked.q.qtype in {codes.Type.CNAME, codes.Type.ANY}:
                break
            shown = found[0].rdata.label
            name = _key(shown)
        self._add_targets(reply)
        return reply

    def _found(self, name: str, qtype: int) -> list[Any]:
        """The records of that name and type, its CNAME where it has no such type, or what is made up for it."""
        types = self._records.get(name)
        if types is None:
            if name not in self._names and any(name.endswith(f".{domain}") for domain in self._synthetic):
                return _made_up(name, qtype)
            return []
        if qtype == codes.Type.ANY:
            return [record for records in types.values() for record in records]
        return types.get(qtype) or types.get(codes.Type.CNAME, [])

    def _add_denial(self, reply: Any, name: str, apex: str | None) -> None:  # noqa: ANN401 - dnslib has no types
        """The rcode and the SOA that say why there is nothing at name (RFC 2308 s.2 and s.3)."""
        if apex is None:
            if not reply.rr:
                reply.header.rcode = codes.Rcode.REFUSED
            return
        synthetic = any(name.endswith(f".{domain}") for domain in self._synthetic)
        if name not in self._names and not synthetic:
            reply.header.rcode = codes.Rcode.NXDOMAIN
        soa = self._records[apex][codes.Type.SOA][0]
        minimum_s = soa.rdata.times[4]
        reply.add_auth(_renamed(soa, soa.rname, ttl_s=min(soa.ttl, minimum_s)))

    def _add_targets(self, reply: Any) -> None:  # noqa: ANN401 - dnslib has no types
        """The addresses of the SRV targets in the answer, as kube-dns adds them."""
        for record in [record for record in reply.rr if record.rtype == codes.Type.SRV]:
            types = self._records.get(_key(record.rdata.target), {})
            for qtype in (codes.Type.A, codes.Type.AAAA):
                reply.add_ar(*types.get(qtype, ()))

    def _apex(self, name: str) -> str | None:
        """The apex of the zone that name is in; None outside all of them."""
        return next((above for above in _ancestors(name) if above in self._apexes), None)


def _key(label: Any) -> str:  # noqa: ANN401 - dnslib has no types
    """A name as it is looked up: lower case, with its trailing dot."""
    return str(label).lower()


def _ancestors(name: str) -> Iterator[str]:
    """The name itself and everything above it, the root last."""
    while name != ".":
        yield name
        name = name.partition(".")[2] or "."
    yield "."


def _renamed(record: Any, owner: Any, *, ttl_s: int | None = None) -> Any:  # noqa: ANN401 - dnslib has no types
    """The same record under that owner, and with that TTL if one is given."""
    return RR(owner, record.rtype, record.rclass, record.ttl if ttl_s is None else ttl_s, record.rdata)


def _made_up(name: str, qtype: int) -> list[Any]:
    """The one address of a synthetic name; empty for types that are not addresses."""
    number = zlib.crc32(name.encode())
    if qtype == codes.Type.A:
        address = 198 << 24 | 18 << 16 | number & 0x1FFFF
        return [RR(name, QTYPE.A, ttl=SYNTHETIC_TTL_S, rdata=A(tuple(address.to_bytes(4))))]
    if qtype == codes.Type.AAAA:
        return [
            RR(name, QTYPE.AAAA, ttl=SYNTHETIC_TTL_S, rdata=AAAA(f"2001:db8::{number >> 16:x}:{number & 0xFFFF:x}"))
        ]
    return []


def _limit(opt: Any, *, over_tcp: bool) -> int:  # noqa: ANN401 - dnslib has no types
    """The size in bytes that the answer may have."""
    if over_tcp:
        return message.MAX_SIZE
    announced = UDP_SIZE if opt is None else int(opt.edns_len)
    return max(UDP_SIZE, min(announced, message.OUR_UDP_SIZE))


def _packed(reply: Any, limit: int) -> bytes:  # noqa: ANN401 - dnslib has no types
    """The message; with TC and without records, the OPT apart, where it would be larger than limit (RFC 2181 s.9)."""
    wire = bytes(reply.pack())
    if len(wire) <= limit:
        return wire
    reply.header.tc = 1
    reply.rr, reply.auth = [], []
    reply.ar = [record for record in reply.ar if record.rtype == codes.Type.OPT]
    return bytes(reply.pack())
