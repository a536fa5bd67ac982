"""Whole DNS messages: queries built by hand (fast), everything else through dnslib (off the hot path only).

This is the only module that imports dnslib. Its types do not leave: what comes back is bytes or the dataclasses below.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dnslib import RR, DNSError, DNSRecord

from shardns.dns import codes, names
from shardns.errors import Malformed

HEADER_SIZE = 12
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
DO = 0x8000  # in the OPT record's flags (RFC 6891 s.6.1.4)
OUR_UDP_SIZE = 1232  # bytes; what an OPT of ours announces (DNS flag day 2020)
MAX_SIZE = 0xFFFF

_HEADER = struct.Struct("!HHHHHH")
_QUESTION_TAIL = struct.Struct("!HH")
_OPT = struct.Struct("!BHHBBHH")
_RECORD_FIXED = struct.Struct("!HHIH")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the name as normalised text, type and class as numbers."""

    name: str
    qtype: int
    qclass: int


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record; data in zone-file form ("10 mail.example.org.")."""

    name: str
    rtype: int
    rclass: int
    ttl_s: int
    data: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken apart: flags is the header's second word; the OPT is in opt_size and do, not in additional."""

    id: int
    flags: int
    questions: tuple[Question, ...]
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    opt_size: int  # bytes the sender takes by UDP; 0 without OPT
    do: bool

    @property
    def rcode(self) -> int:
        """The low four bits of the response code; an OPT's upper bits are not added."""
        return self.flags & RCODE_MASK


def query(  # noqa: PLR0913 - each is one field of the message
    name_wire: bytes,
    qtype: int,
    qclass: int = codes.Class.IN,
    *,
    id: int,  # noqa: A002 - the word of RFC 1035
    rd: bool = True,
    cd: bool = False,
    ad: bool = False,
    do: bool = False,
    udp_size: int = 0,
) -> bytes:
    """A query for one question. With udp_size above 0 (bytes) or do it carries an OPT; do alone announces 1232."""
    flags = (RD if rd else 0) | (CD if cd else 0) | (AD if ad else 0)
    opt = b""
    if udp_size or do:
        opt = _opt(udp_size or OUR_UDP_SIZE, do=do)
    head = _HEADER.pack(id, flags, 1, 0, 0, 1 if opt else 0)
    return head + name_wire + _QUESTION_TAIL.pack(qtype, qclass) + opt


def error(query_wire: bytes, rcode: int) -> bytes:
    """The answer that says rcode and nothing else: id, opcode, RD, CD and the question as asked.

    A question that cannot be read is left out (QDCOUNT 0). A query with a readable OPT gets one back (RFC 6891
    s.6.1.1), which also carries the upper bits of rcodes above 15; without one those become SERVFAIL.
    Raises Malformed for less than a header.
    """
    ident, flags, qdcount, *_ = _header(query_wire)
    question = b""
    opt = b""
    try:
        behind = _question_end(query_wire, qdcount)
        question = query_wire[HEADER_SIZE:behind]
        opt = _opt_of(query_wire, behind, rcode)
    except Malformed:
        pass
    if rcode > RCODE_MASK and not opt:
        rcode = codes.Rcode.SERVFAIL
    flags = QR | flags & (OPCODE_MASK | RD | CD) | rcode & RCODE_MASK
    return _HEADER.pack(ident, flags, 1 if question else 0, 0, 0, 1 if opt else 0) + question + opt


def parse(wire: bytes) -> Message:
    """The message taken apart by dnslib. Raises Malformed for anything it cannot read whole."""
    try:
        record = DNSRecord.parse(wire)
        return _message(record)
    except (DNSError, ValueError, LookupError, struct.error, UnicodeError, TypeError, AttributeError) as error_:
        raise Malformed(f"unreadable message: {error_}") from error_


def response(
    query_wire: bytes,
    *,
    answer: Sequence[str] = (),
    authority: Sequence[str] = (),
    additional: Sequence[str] = (),
    rcode: int = codes.Rcode.NOERROR,
    aa: bool = False,
) -> bytes:
    """A response to query_wire whose sections are given as zone-file lines ("www.example.org. 30 IN A 192.0.2.1").

    For off-path answers and tests. Raises Malformed for an unreadable query, ValueError for an unreadable record.
    """
    try:
        asked = DNSRecord.parse(query_wire)
    except DNSError as error_:
        raise Malformed(f"unreadable query: {error_}") from error_
    reply = asked.reply(ra=1, aa=int(aa))
    reply.header.rcode = rcode
    for lines, add in ((answer, reply.add_answer), (authority, reply.add_auth), (additional, reply.add_ar)):
        for line in lines:
            for record in _zone(line):
                add(record)
    packed: bytes = reply.pack()
    return packed


def _zone(line: str) -> list[Any]:  # Any: dnslib has no types
    """The records of one zone-file line, as dnslib makes them."""
    try:
        return list(RR.fromZone(line))
    except (DNSError, ValueError, LookupError, StopIteration) as error_:
        raise ValueError(f"unreadable record {line!r}") from error_


def _message(record: Any) -> Message:  # noqa: ANN401 - dnslib has no types
    """The record of dnslib as a message of ours."""
    opts = [rr for rr in record.ar if rr.rtype == codes.Type.OPT]
    return Message(
        id=record.header.id,
        flags=record.header.bitmap,
        questions=tuple(Question(names.normalize(str(q.qname)), q.qtype, q.qclass) for q in record.questions),
        answer=_records(record.rr),
        authority=_records(record.auth),
        additional=_records(rr for rr in record.ar if rr.rtype != codes.Type.OPT),
        opt_size=opts[0].rclass if opts else 0,
        do=bool(opts and opts[0].ttl & DO),
    )


def _records(found: Any) -> tuple[Record, ...]:  # noqa: ANN401 - dnslib has no types
    """One section."""
    return tuple(Record(names.normalize(str(r.rname)), r.rtype, r.rclass, r.ttl, str(r.rdata)) for r in found)


def _header(wire: bytes) -> tuple[int, int, int, int, int, int]:
    """The six words of the header."""
    if len(wire) < HEADER_SIZE:
        raise Malformed(f"message of {len(wire)} bytes is shorter than a header")
    ident, flags, qd, an, ns, ar = _HEADER.unpack_from(wire)
    return ident, flags, qd, an, ns, ar


def _question_end(wire: bytes, qdcount: int) -> int:
    """The offset behind the only question. Raises Malformed for any other number of questions."""
    if qdcount != 1:
        raise Malformed(f"{qdcount} questions")
    behind = names.end(wire, HEADER_SIZE) + _QUESTION_TAIL.size
    if behind > len(wire):
        raise Malformed("question runs past the message")
    return behind


def _opt_of(wire: bytes, off: int, rcode: int) -> bytes:
    """Our OPT in reply to the OPT of a query whose records begin at off; empty when the query has none."""
    *_, an, ns, ar = _header(wire)
    for _ in range(an + ns + ar):
        root = wire[off : off + 1] == b"\0"
        off = names.end(wire, off)
        if off + _RECORD_FIXED.size > len(wire):
            raise Malformed("record runs past the message")
        rtype, _, ttl, length = _RECORD_FIXED.unpack_from(wire, off)
        off += _RECORD_FIXED.size + length
        if off > len(wire):
            raise Malformed("record runs past the message")
        if rtype == codes.Type.OPT and root:
            return _opt(OUR_UDP_SIZE, do=bool(ttl & DO), rcode=rcode)
    return b""


def _opt(size: int, *, do: bool, rcode: int = 0) -> bytes:
    """An OPT record of version 0 without options (RFC 6891 s.6.1.2)."""
    return _OPT.pack(0, codes.Type.OPT, size, rcode >> 4, 0, DO if do else 0, 0)
