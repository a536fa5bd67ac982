"""Answers of our own: what a plugin that is no nameserver says to a question, and that as a message.

Records are in wire form throughout: owner, type, class, TTL, data, without compression (the cache compresses what it
keeps and what it sends). One that answers for the question's own name may begin with OWNER instead.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from shardns.dns import codes, message, names
from shardns.errors import Malformed

OWNER = b"\xc0\x0c"
"""The question's name, as the owner of a record in a message that reply() makes."""

_WORDS = struct.Struct("!HHHHHH")
_TAIL = struct.Struct("!HH")
_FIXED = struct.Struct("!HHIH")

# Octets in front of the names in the data of the types that may be compressed (RFC 3597 s.4), and how many names.
_NAMES_IN = {
    codes.Type.NS: (0, 1),
    codes.Type.MD: (0, 1),
    codes.Type.MF: (0, 1),
    codes.Type.CNAME: (0, 1),
    codes.Type.SOA: (0, 2),
    codes.Type.MB: (0, 1),
    codes.Type.MG: (0, 1),
    codes.Type.MR: (0, 1),
    codes.Type.PTR: (0, 1),
    codes.Type.MINFO: (0, 2),
    codes.Type.MX: (2, 1),
    codes.Type.RP: (0, 2),
    codes.Type.AFSDB: (2, 1),
    codes.Type.RT: (2, 1),
    codes.Type.SIG: (18, 1),
    codes.Type.PX: (2, 2),
    codes.Type.NXT: (0, 1),
    codes.Type.KX: (2, 1),
    codes.Type.SRV: (6, 1),
    codes.Type.DNAME: (0, 1),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    name    normalised text
    query   the whole query as it would be sent upstream: header, question, perhaps OPT
    """

    name: str
    qtype: int
    qclass: int
    query: bytes

    @classmethod
    def of(cls, query: bytes) -> Question:
        """The question of a query that is well formed. Raises Malformed."""
        end = names.end(query, message.HEADER_SIZE)
        if end + _TAIL.size > len(query):
            raise Malformed("question runs past the message")
        qtype, qclass = _TAIL.unpack_from(query, end)
        return cls(names.from_wire(query, message.HEADER_SIZE).lower(), qtype, qclass, query)

    def about(self, name_wire: bytes) -> bytes:
        """The same query for another name."""
        end = names.end(self.query, message.HEADER_SIZE)
        return self.query[: message.HEADER_SIZE] + name_wire + self.query[end:]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a plugin says. Where is_followed, the targets of CNAMEs in answer are to be looked up and added."""

    answer: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()
    additional: Sequence[bytes] = ()
    rcode: int = codes.Rcode.NOERROR
    is_followed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """No message: the client gets SERVFAIL, which nobody keeps. error is for the `errors` plugin; may be empty."""

    error: str = ""


def record(owner: bytes, rtype: int, rclass: int, ttl_s: int, data: bytes) -> bytes:
    """One record; owner is a name in wire form, or OWNER."""
    return owner + _FIXED.pack(rtype, rclass, ttl_s, len(data)) + data


def reply(query: bytes, said: Answer) -> bytes:
    """The response to query: AA and the query's RD set, RA clear, id 0 (miekg/dns SetReply).

    An rcode above 15 is carried in an OPT. Records that do not fit 65,535 octets are left out, and TC is set.
    """
    question = query[message.HEADER_SIZE : names.end(query, message.HEADER_SIZE) + _TAIL.size]
    flags = message.QR | message.AA | struct.unpack_from("!H", query, 2)[0] & message.RD
    opt = b""
    if said.rcode > message.RCODE_MASK:
        opt = struct.pack("!BHHBBHH", 0, codes.Type.OPT, message.OUR_UDP_SIZE, said.rcode >> 4, 0, 0, 0)
    room = message.MAX_SIZE - message.HEADER_SIZE - len(question) - len(opt)
    counts = []
    taken: list[bytes] = []
    for section in (said.answer, said.authority, said.additional):
        before = len(taken)
        for one in section:
            if len(one) > room:
                flags |= message.TC
                break
            room -= len(one)
            taken.append(one)
        counts.append(len(taken) - before)
    counts[2] += bool(opt)
    head = _WORDS.pack(0, flags | said.rcode & message.RCODE_MASK, 1, *counts)
    return b"".join((head, question, *taken, opt))


def target_of(one: bytes) -> bytes | None:
    """The target of an uncompressed record if that is a CNAME, as a name in wire form; else None."""
    at = names.end(one, 0)
    rtype, _, _, length = _FIXED.unpack_from(one, at)
    return one[at + _FIXED.size : at + _FIXED.size + length] if rtype == codes.Type.CNAME else None


def records_of(wire: bytes) -> list[bytes]:
    """The records of a response's answer section, uncompressed. Raises Malformed."""
    if len(wire) < message.HEADER_SIZE:
        raise Malformed("message is shorter than a header")
    _, _, questions, count, _, _ = _WORDS.unpack_from(wire)
    at = message.HEADER_SIZE
    for _ in range(questions):
        at = names.end(wire, at) + _TAIL.size
    found = []
    for _ in range(count):
        owner = names.to_wire(names.from_wire(wire, at))
        at = names.end(wire, at)
        if at + _FIXED.size > len(wire):
            raise Malformed("record runs past the message")
        rtype, rclass, ttl_s, length = _FIXED.unpack_from(wire, at)
        at += _FIXED.size
        if at + length > len(wire):
            raise Malformed("record runs past the message")
        found.append(record(owner, rtype, rclass, ttl_s, _data(wire, at, length, rtype)))
        at += length
    return found


def _data(wire: bytes, at: int, length: int, rtype: int) -> bytes:
    """A record's data with its names written out."""
    before, count = _NAMES_IN.get(rtype, (0, 0))  # type: ignore[call-overload]  # any number may be asked for
    if count == 0:
        return wire[at : at + length]
    end = at + length
    parts = [wire[at : at + before]]
    at += before
    for _ in range(count):
        parts.append(names.to_wire(names.from_wire(wire, at)))
        at = names.end(wire, at)
    if at > end:
        raise Malformed("name runs past its record")
    return b"".join((*parts, wire[at:end]))
