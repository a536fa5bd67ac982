"""Entries against dnspython, which reads the answer and the entry made of it, and against CoreDNS's rules in Python."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.core import ffi, lib
from tests.unit.core import wires
from tests.unit.core.wires import ENTRY

# Types that dnspython and the core decode alike; in others only one of them would follow a pointer.
DECODED = {dns.rdatatype.from_text(text) for text in wires.RDATA}

Record = tuple[dns.name.Name, int, int, int, dns.rdata.Rdata]


def read(wire: bytes) -> dns.message.Message:
    """The message, with each record as a set of its own."""
    return dns.message.from_wire(wire, one_rr_per_rrset=True)


def records(section: Sequence[dns.rrset.RRset]) -> list[Record]:
    """A section as values that compare without case."""
    return [(one.name, one.rdclass, one.rdtype, one.ttl, one[0]) for one in section]


def least_ttl(message: dns.message.Message) -> int:
    """The smallest TTL, SOA MINIMUM in authority included."""
    sections = (message.answer, message.authority, message.additional)
    ttls = [one.ttl for section in sections for one in section]
    ttls += [one[0].minimum for one in message.authority if one.rdtype == dns.rdatatype.SOA]
    return min((ttl if ttl < 1 << 31 else 0 for ttl in ttls), default=0xFFFFFFFF)


def check_entry(original: dns.message.Message) -> None:
    """ENTRY holds what the original holds: records in order, counts, rcode, places, the smallest TTL."""
    wire = wires.entry_wire()
    made = read(wire)
    assert made.question[0].name == original.question[0].name
    for before, after in zip(original.sections[1:], made.sections[1:], strict=True):
        assert records(before) == records(after)
    head = ENTRY.head
    assert (head.answer_count, head.authority_count) == (len(original.answer), len(original.authority))
    assert head.place_count == sum(map(len, original.sections[1:]))
    assert head.rcode == original.rcode()
    assert head.flags == original.flags & 0x06A0
    assert (made.id, made.flags & ~15, made.opt) == (0, head.flags | dns.flags.QR, None)
    assert head.min_ttl_s == least_ttl(original)
    everything = [*original.answer, *original.authority, *original.additional]
    at = 16 + len(wires.name_wire(original.question[0].name))
    for place, one in zip(ENTRY.places[0 : head.place_count], everything, strict=True):
        assert struct.unpack_from("!HHL", wire, place.ttl_at - 4) == (one.rdtype, one.rdclass, one.ttl)
        assert at < place.ttl_at < place.end_at
        at = place.end_at
    assert at == len(wire)


@pytest.mark.slow
@wires.FEW
@given(wires.exchanges())
def test_pack(exchange: tuple[bytes, dns.message.Message]) -> None:
    """An entry holds the answer's records, compressed or not in the answer, and is stable when packed again."""
    asked, answer = exchange
    _, query, _memory = wires.parse(asked)
    for compressed in (True, False):
        wire = wires.wire_of(answer) if compressed else plain_wire(answer)
        assert wires.pack(wire, query) == 0
        original = read(wire)
        check_entry(original)
        first = wires.entry_wire()
        assert len(first) <= len(plain_wire(answer))
        assert first[12 : 12 + query.name_len] == ffi.buffer(query.name, query.name_len)[:]
        assert wires.pack(first, query) == 0
        assert wires.entry_wire() == first


def plain_wire(answer: dns.message.Message) -> bytes:
    """The answer with every name spelt out."""
    question = answer.question[0]
    body = wires.name_wire(question.name) + struct.pack("!HH", question.rdtype, question.rdclass)
    additional = len(answer.additional) + (answer.opt is not None)
    for one in [*answer.answer, *answer.authority, *answer.additional]:
        rdata = one[0].to_wire()
        assert rdata is not None
        body += wires.name_wire(one.name) + struct.pack("!HHLH", one.rdtype, one.rdclass, one.ttl, len(rdata)) + rdata
    if answer.opt is not None:
        body += struct.pack("!BHHLH", 0, dns.rdatatype.OPT, answer.payload, answer.ednsflags, 0)
    return struct.pack("!6H", 9, answer.flags, 1, len(answer.answer), len(answer.authority), additional) + body


@pytest.mark.slow
@wires.FEW
@given(wires.exchanges().flatmap(lambda pair: st.tuples(st.just(pair[0]), wires.damaged(wires.wire_of(pair[1])))))
def test_damaged(case: tuple[bytes, bytes]) -> None:
    """A damaged answer is refused, or its entry holds what dnspython reads in the answer."""
    asked, wire = case
    _, query, _memory = wires.parse(asked)
    result = wires.pack(wire, query)
    assert result in (0, lib.SHD_EMALFORMED, lib.SHD_EMISMATCH, lib.SHD_ESPACE)
    if result:
        return
    try:
        original = read(wire)
    except dns.exception.DNSException:
        return
    everything = [*original.answer, *original.authority, *original.additional]
    if original.question and all(one.rdclass == 1 and one.rdtype in DECODED for one in everything):
        check_entry(original)


@pytest.mark.slow
@wires.FEW
@given(wires.exchanges(), st.integers(0, 65535))
def test_prefixes(exchange: tuple[bytes, dns.message.Message], at: int) -> None:
    """No prefix of an answer is an answer, wherever it ends."""
    asked, answer = exchange
    _, query, _memory = wires.parse(asked)
    wire = wires.wire_of(answer)
    assert wires.pack(wire[: at % len(wire)], query) == lib.SHD_EMALFORMED


@wires.CALM
@given(st.binary(max_size=200))
def test_noise(noise: bytes) -> None:
    """What was never an answer is refused."""
    _, query, _memory = wires.parse(dns.message.make_query("www.example.org.", "A").to_wire())
    assert wires.pack(noise, query) < 0


def test_kept_case() -> None:
    """Names keep the upstream's case, but for those that repeat the question or an earlier name."""
    query = dns.message.make_query("www.example.org.", "CNAME")
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("WWW.example.org.", 60, "IN", "CNAME", "Target.EXAMPLE.Net."))
    answer.answer.append(dns.rrset.from_text("tARGET.example.Net.", 60, "IN", "A", "192.0.2.1"))
    _, parsed, _memory = wires.parse(query.to_wire())
    assert wires.pack(wires.wire_of(answer), parsed) == 0
    made = read(wires.entry_wire())
    assert [str(one.name) for one in made.answer] == ["www.example.org.", "Target.EXAMPLE.Net."]
    assert str(made.answer[0][0]) == "Target.EXAMPLE.Net."


# ---- classes

SUCCESS, DENIAL, FAILURE, NONE = lib.SHD_KIND_SUCCESS, lib.SHD_KIND_DENIAL, lib.SHD_KIND_FAILURE, lib.SHD_KIND_NONE


def typify(message: dns.message.Message) -> str:
    """CoreDNS 1.13.2 plugin/pkg/response/typify.go, without expired signatures."""
    types = {one.rdtype for one in message.authority}
    soa, ns, rcode = dns.rdatatype.SOA in types, dns.rdatatype.NS in types, message.rcode()
    if message.question[0].rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        return "Meta"
    if message.answer and rcode == dns.rcode.NOERROR:
        return "NoError"
    if soa and rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return "NoData" if rcode == dns.rcode.NOERROR else "NameError"
    if rcode in (dns.rcode.SERVFAIL, dns.rcode.NOTIMP):
        return "ServerError"
    if rcode == dns.rcode.NOERROR:
        return "Delegation" if ns else "NoError"
    return "OtherError"


def slow_classify(message: dns.message.Message, rule: dict[str, int]) -> tuple[int, int]:
    """Kind and TTL as CoreDNS's cache has them (plugin/cache/cache.go, plugin/pkg/dnsutil/ttl.go), MINIMUM apart."""
    said = typify(message)
    counts = said in ("NoError", "NameError", "NoData") and any(map(len, message.sections[1:]))
    ttl = min(least_ttl(message), 3600) if counts else 5
    if said == "ServerError":
        kind, ttl = FAILURE, rule["failure_s"]
    elif said in ("NameError", "NoData"):
        kind, ttl = DENIAL, min(max(ttl, rule["denial_min_s"]), rule["denial_max_s"])
    else:
        kind, ttl = SUCCESS, min(max(ttl, rule["success_min_s"]), rule["success_max_s"])
    stored = rule["store_success" if kind == SUCCESS else "store_denial"]
    kept = stored and ttl and said not in ("Meta", "OtherError") and not message.flags & dns.flags.TC
    return (kind if kept else NONE), ttl


SECONDS = st.sampled_from([0, 1, 5, 30, 1800, 3600, 86400])
RULES = st.fixed_dictionaries(
    {
        **dict.fromkeys(("success_min_s", "success_max_s", "denial_min_s", "denial_max_s", "failure_s"), SECONDS),
        **dict.fromkeys(("store_success", "store_denial"), st.integers(0, 1)),
    }
)


@pytest.mark.slow
@wires.FEW
@given(wires.exchanges(), RULES)
def test_classify(exchange: tuple[bytes, dns.message.Message], rule: dict[str, int]) -> None:
    """Kind and TTL are CoreDNS's, for any answer under any rule."""
    asked, answer = exchange
    _, query, _memory = wires.parse(asked)
    wire = wires.wire_of(answer)
    assert wires.pack(wire, query) == 0
    lib.shd_entry_classify(ENTRY, ffi.new("struct shd_ttl_rule *", rule))
    assert (ENTRY.head.kind, ENTRY.head.ttl_s) == slow_classify(read(wire), rule)


@pytest.mark.parametrize("rdtype, kind", [("AXFR", NONE), ("IXFR", NONE), ("ANY", SUCCESS)])
def test_transfers(rdtype: str, kind: int) -> None:
    """Zone transfers are never kept."""
    asked = dns.message.make_query("example.org.", rdtype)
    answer = dns.message.make_response(asked)
    answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "NS", "ns.example.org."))
    _, query, _memory = wires.parse(asked.to_wire())
    assert wires.pack(wires.wire_of(answer), query) == 0
    rule = {"success_min_s": 5, "success_max_s": 60, "store_success": 1}
    lib.shd_entry_classify(ENTRY, ffi.new("struct shd_ttl_rule *", rule))
    assert ENTRY.head.kind == kind
