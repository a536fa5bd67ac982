"""Replies, as dnspython sees them at the client's side."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.core import ffi, lib
from tests.unit.core import wires
from tests.unit.core.test_entry import read, records
from tests.unit.core.wires import ENTRY, Cdata

ECHOED = dns.flags.RD | dns.flags.CD
STORED = dns.flags.AA | dns.flags.RA | dns.flags.TC


def reply(query: Cdata, ttl_s: int, flags: int, limit: int) -> bytes | int:
    """shd_reply_entry's bytes, or its error."""
    out = ffi.new("uint8_t[]", limit)
    length = lib.shd_reply_entry(query, ENTRY, ttl_s, flags, out, limit)
    return bytes(ffi.buffer(out, length)) if length >= 0 else int(length)


def wanted_flags(asked: dns.message.Message, answer: dns.message.Message, flags: int) -> int:
    """The reply's header flags, TC for cutting apart."""
    wanted = dns.flags.QR | (asked.flags & ECHOED) | (answer.flags & STORED)
    if flags & lib.SHD_REPLY_HIT:
        wanted |= dns.flags.AA
    if asked.flags & dns.flags.AD or asked.ednsflags & dns.flags.DO:
        wanted |= answer.flags & dns.flags.AD
    return int(wanted)


@pytest.mark.slow
@wires.FEW
@given(
    wires.exchanges(),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([0, lib.SHD_REPLY_HIT, lib.SHD_REPLY_RAW_TTL]),
    st.integers(0, 1500),
)
def test_reply(exchange: tuple[bytes, dns.message.Message], ttl_s: int, flags: int, limit: int) -> None:
    """A client sees its own question and OPT, the entry's records from the front, one TTL and the right flags."""
    packet, answer = exchange
    asked = dns.message.from_wire(packet)
    _, query, _memory = wires.parse(packet)
    assert wires.pack(wires.wire_of(answer), query) == 0
    wire = reply(query, ttl_s & 0x7FFFFFFF, flags, limit)
    if isinstance(wire, int):
        assert wire == lib.SHD_ESPACE
        assert limit < 12 + query.question_len + 11 * query.has_opt
        return
    assert len(wire) <= limit
    assert wire[:2] + wire[12 : 12 + query.question_len] == packet[:2] + packet[12 : 12 + query.question_len]
    seen = dns.message.from_wire(wire, one_rr_per_rrset=True, ignore_trailing=False)
    assert seen.rcode() == answer.rcode()
    check_records(seen, read(wires.entry_wire()), None if flags & lib.SHD_REPLY_RAW_TTL else ttl_s & 0x7FFFFFFF)
    full = ENTRY.head.wire_len + 11 * query.has_opt <= limit
    cut = len(seen.answer) + len(seen.authority) < ENTRY.head.answer_count + ENTRY.head.authority_count
    assert full == (sum(map(len, seen.sections[1:])) == ENTRY.head.place_count)
    assert seen.flags & ~15 == wanted_flags(asked, answer, flags) | (dns.flags.TC if cut else 0)
    assert (seen.edns, seen.options) == (asked.edns, ())
    if asked.edns == 0:
        assert (seen.payload, seen.ednsflags & 0xFFFFFF) == (max(asked.payload, 512), asked.ednsflags & 0x8000)


def check_records(seen: dns.message.Message, stored: dns.message.Message, ttl_s: int | None) -> None:
    """Each section of seen is the front of stored's; a later one has records only when those before it are whole."""
    whole = True
    for got, kept in zip(seen.sections[1:], stored.sections[1:], strict=True):
        for one in kept if ttl_s is not None else ():
            one.ttl = ttl_s or 0
        assert records(got) == records(kept)[: len(got)]
        assert whole or not got
        whole = whole and len(got) == len(kept)


def test_case_follows_the_question() -> None:
    """The client's own case comes back in the question and so in every owner that repeats it."""
    asked = dns.message.make_query("wWw.eXample.ORG.", "A")
    answer = dns.message.make_response(dns.message.make_query("www.example.org.", "A"))
    answer.answer.append(dns.rrset.from_text("www.example.org.", 60, "IN", "A", "192.0.2.1"))
    _, query, _memory = wires.parse(asked.to_wire())
    assert wires.pack(wires.wire_of(answer), query) == 0
    wire = reply(query, 5, lib.SHD_REPLY_HIT, 512)
    assert isinstance(wire, bytes)
    seen = dns.message.from_wire(wire)
    assert str(seen.question[0].name) == str(seen.answer[0].name) == "wWw.eXample.ORG."


def test_extended_rcode_without_opt() -> None:
    """A client without OPT sees SERVFAIL for an rcode that its header cannot hold."""
    answer = dns.message.make_response(dns.message.make_query("www.example.org.", "A", use_edns=0))
    answer.set_rcode(dns.rcode.BADCOOKIE)
    _, query, _memory = wires.parse(dns.message.make_query("www.example.org.", "A").to_wire())
    assert wires.pack(wires.wire_of(answer), query) == 0
    wire = reply(query, 5, 0, 512)
    assert isinstance(wire, bytes)
    assert dns.message.from_wire(wire).rcode() == dns.rcode.SERVFAIL


@wires.CALM
@given(wires.queries(), st.sampled_from([1, 2, 4, 5, 16]), st.sampled_from([0, 1, 2, 4, 15]))
def test_error(asked: dns.message.QueryMessage, rcode: int, opcode: int) -> None:
    """An error reply has the query's id, opcode, RD, CD and question, no records, and OPT for OPT (or for BADVERS)."""
    asked.set_opcode(dns.opcode.Opcode(opcode))
    packet = asked.to_wire()
    _, query, _memory = wires.parse(packet)
    out = ffi.new("uint8_t[]", 12 + 259 + 11)
    seen = dns.message.from_wire(bytes(ffi.buffer(out, lib.shd_reply_error(query, rcode, out))))
    assert (seen.id, seen.rcode(), int(seen.opcode())) == (asked.id, rcode, opcode)
    assert seen.flags & 0x87F0 == dns.flags.QR | (asked.flags & ECHOED)
    assert bytes(out)[12 : 12 + query.question_len] == packet[12 : 12 + query.question_len]
    assert [len(section) for section in seen.sections] == [1, 0, 0, 0]
    assert (seen.edns == 0) == (asked.edns == 0 or rcode == dns.rcode.BADVERS)


@pytest.mark.parametrize("packet", [b"\x12\x34\1\0" + bytes(8), b"\x12\x34\1\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1"])
def test_error_without_question(packet: bytes) -> None:
    """A question that does not parse is not echoed."""
    result, query, _memory = wires.parse(packet)
    out = ffi.new("uint8_t[]", 12 + 259 + 11)
    assert result == lib.SHD_EFORMERR
    assert lib.shd_reply_error(query, lib.SHD_RCODE_FORMERR, out) == 12
    assert bytes(out)[:12] == b"\x12\x34\x81\1" + bytes(8)
