"""The query parser against a slow one that reads the rules in wire.h one after the other."""

from __future__ import annotations

import dataclasses
import struct

import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardns.core import ffi, lib
from tests.unit.core import wires

IXFR, SOA, OPT = 251, 6, 41


class BadQueryError(Exception):
    """The packet breaks a rule."""


@dataclasses.dataclass
class Seen:
    """What the slow parser learnt; the fields are those of struct shd_query."""

    name: bytes = b""
    labels: tuple[int, ...] = ()
    qtype: int = 0
    qclass: int = 0
    udp_size: int = 512
    has_opt: bool = False
    edns_version: int = 0
    dnssec_ok: bool = False


def take(packet: bytes, at: int, count: int) -> bytes:
    """The octets there, all of them."""
    if at + count > len(packet):
        raise BadQueryError("past the end")
    return packet[at : at + count]


def slow_name(packet: bytes, at: int, *, pointers: bool) -> tuple[list[bytes], int]:
    """Labels of the name at `at`, and where reading goes on."""
    labels: list[bytes] = []
    end, begun = 0, at
    while True:
        length = take(packet, at, 1)[0]
        if length >= 0xC0 and pointers:
            to = int.from_bytes(take(packet, at, 2)) & 0x3FFF
            if to >= begun:
                raise BadQueryError("not backwards")
            end = end or at + 2
            at = begun = to
            continue
        if length > 63:
            raise BadQueryError("label type")
        labels.append(take(packet, at + 1, length))
        at += 1 + length
        if sum(len(label) + 1 for label in labels) > 255:
            raise BadQueryError("name too long")
        if length == 0:
            return labels[:-1], end or at


def slow_question(packet: bytes, seen: Seen) -> int:
    """Where the question ends."""
    labels, at = slow_name(packet, 12, pointers=False)
    qtype, qclass = struct.unpack("!HH", take(packet, at, 4))
    seen.name = b"".join(bytes([len(label)]) + label.lower() for label in [*labels, b""])
    seen.labels = tuple(sum(len(label) + 1 for label in labels[:n]) for n in range(len(labels)))
    seen.qtype, seen.qclass = qtype, qclass
    return at + 4


def slow_opt(owner_at_root: bool, fields: bytes, rdata: bytes, seen: Seen) -> None:
    """Take an OPT over."""
    if seen.has_opt or not owner_at_root:
        raise BadQueryError("second or odd OPT")
    _, size, _, version, flags, _ = struct.unpack("!HHBBHH", fields)
    seen.has_opt, seen.udp_size, seen.edns_version, seen.dnssec_ok = True, max(size, 512), version, bool(flags & 0x8000)
    while version == 0 and rdata:
        length = int.from_bytes(take(rdata, 2, 2))
        take(rdata, 4, length)
        rdata = rdata[4 + length :]


def slow_records(packet: bytes, at: int, seen: Seen) -> None:
    """Check all records after the question."""
    answers, authority, additional = struct.unpack("!HHH", packet[6:12])
    if answers or authority > 1:
        raise BadQueryError("answers in a query")
    for n in range(authority + additional):
        at_root = packet[at : at + 1] == b"\0"
        _, at = slow_name(packet, at, pointers=True)
        fields = take(packet, at, 10)
        rdtype, length = int.from_bytes(fields[:2]), int.from_bytes(fields[8:])
        rdata = take(packet, at + 10, length)
        at += 10 + length
        if n < authority and (seen.qtype, rdtype) != (IXFR, SOA):
            raise BadQueryError("authority in a query")
        if n >= authority and rdtype == OPT:
            slow_opt(at_root, fields, rdata, seen)
    if at != len(packet):
        raise BadQueryError("octets left")


def slow_parse(packet: bytes) -> tuple[int, Seen]:
    """What shd_query_parse must return and fill in."""
    seen = Seen()
    if len(packet) < 12 or packet[2] & 0x80:
        return lib.SHD_EDROP, seen
    result = 0
    questions = int.from_bytes(packet[4:6])
    try:
        at = slow_question(packet, seen) if questions == 1 else 12
        if questions <= 1:
            slow_records(packet, at, seen)
    except BadQueryError:
        result = lib.SHD_EFORMERR
    if packet[2] & 0x78:
        return lib.SHD_ENOTIMP, seen
    if result or questions != 1:
        return lib.SHD_EFORMERR, seen
    return lib.SHD_EBADVERS if seen.edns_version else 0, seen


def check(packet: bytes) -> int:
    """The C parser's result, which is the slow parser's, as are all fields a reply needs."""
    wanted, seen = slow_parse(packet)
    result, query, _memory = wires.parse(packet)
    assert result == wanted
    if result == lib.SHD_EDROP:
        return result
    assert (query.id, query.flags) == struct.unpack("!HH", packet[:4])
    assert ffi.buffer(query.name, query.name_len)[:] == seen.name
    assert query.question_len == (len(seen.name) + 4 if seen.name else 0)
    assert tuple(query.labels[0 : query.label_count]) == seen.labels
    assert (query.qtype, query.qclass) == (seen.qtype, seen.qclass)
    assert (query.has_opt, query.dnssec_ok) == (seen.has_opt, seen.dnssec_ok)
    assert (query.udp_size, query.edns_version) == (seen.udp_size, seen.edns_version)
    return result


@pytest.mark.slow
@wires.CALM
@given(wires.queries())
def test_queries(query: dns.message.Message) -> None:
    """A well-formed query is taken, and read as the slow parser reads it."""
    assert check(query.to_wire()) == 0


@pytest.mark.slow
@wires.CALM
@given(wires.queries().flatmap(lambda query: wires.damaged(query.to_wire())))
def test_damaged_queries(packet: bytes) -> None:
    """A query with a few octets changed is judged as the slow parser judges it."""
    check(packet)


@wires.CALM
@given(st.binary(max_size=80))
@example(b"")
@example(bytes(12))
@example(bytes(65535))
@example(b"\xff" * 65535)
@example(b"\0\0\0\0\0\1\0\0\0\0\0\0" + b"\1a" * 32000)
def test_noise(packet: bytes) -> None:
    """So is what was never a query."""
    check(packet)


@pytest.mark.slow
@wires.CALM
@given(wires.queries(), st.integers(0, 65535))
def test_prefixes(query: dns.message.Message, at: int) -> None:
    """A query that ends early is silence below 12 octets, else FORMERR."""
    packet = query.to_wire()
    packet = packet[: at % len(packet)]
    assert check(packet) == (lib.SHD_EDROP if len(packet) < 12 else lib.SHD_EFORMERR)


RECORD = b"\0\0\x29\4\xd0\0\0\0\0\0\0"
QUESTION = b"\7example\3org\0\0\1\0\1"


@pytest.mark.parametrize(
    "counts, body, wanted",
    [
        ((1, 0, 0, 0), QUESTION, 0),
        ((1, 0, 0, 1), QUESTION + RECORD, 0),
        ((1, 0, 0, 2), QUESTION + RECORD + RECORD, lib.SHD_EFORMERR),
        ((1, 0, 0, 1), QUESTION + RECORD + b"\0", lib.SHD_EFORMERR),
        ((1, 0, 0, 0), QUESTION + RECORD, lib.SHD_EFORMERR),
        ((1, 0, 0, 2), QUESTION + RECORD, lib.SHD_EFORMERR),
        ((1, 0, 0, 1), QUESTION + b"\xc0\x18" + RECORD[1:], lib.SHD_EFORMERR),
        ((1, 0, 0, 1), QUESTION + RECORD[:6] + b"\1" + RECORD[7:], lib.SHD_EBADVERS),
        ((2, 0, 0, 0), QUESTION + QUESTION, lib.SHD_EFORMERR),
        ((0, 0, 0, 0), b"", lib.SHD_EFORMERR),
        ((1, 0, 0, 0), QUESTION[:-2], lib.SHD_EFORMERR),
        ((1, 0, 0, 0), b"\xc0\x0c\0\1\0\1", lib.SHD_EFORMERR),
    ],
)
def test_rules(counts: tuple[int, ...], body: bytes, wanted: int) -> None:
    """Each rule of wire.h, by one packet that keeps or breaks it alone."""
    assert check(b"\x12\x34\1\0" + struct.pack("!4H", *counts) + body) == wanted
