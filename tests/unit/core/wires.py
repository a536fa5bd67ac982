"""Messages for the tests of the core's pure half: strategies that make them, and the C functions as Python calls."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from shardns.core import ffi, lib

Cdata = Any

# For machines that are busy: making an example may take longer than the test of it.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# For whole answers, which cost some 10 ms each to make.
FEW = settings(CALM, max_examples=50)

# One entry is 100 KiB; a test holds one at a time.
ENTRY = ffi.new("struct shd_entry *")


def parse(packet: bytes) -> tuple[int, Cdata, Cdata]:
    """shd_query_parse's result, its query, and the memory that the query points into (keep it)."""
    memory = ffi.new("uint8_t[]", packet or b"\0")
    query = ffi.new("struct shd_query *")
    return lib.shd_query_parse(memory, len(packet), query), query, memory


def pack(wire: bytes, query: Cdata) -> int:
    """shd_entry_pack's result for an answer to query; the entry is ENTRY."""
    memory = ffi.new("uint8_t[]", wire or b"\0")
    return int(lib.shd_entry_pack(memory, len(wire), query, ENTRY))


def entry_wire() -> bytes:
    """The wire of ENTRY."""
    return bytes(ffi.buffer(ENTRY.wire, ENTRY.head.wire_len))


def wire_of(answer: dns.message.Message) -> bytes:
    """The answer as dnspython compresses it, whatever size the query offered."""
    return answer.to_wire(max_size=65535)


def name_wire(name: dns.name.Name) -> bytes:
    """The name, uncompressed."""
    wire = name.to_wire()
    assert wire is not None
    return wire


# ---- strategies

OCTETS = st.text("abzABZ019-_@[`{\x00.\xc0\xe1\xff", min_size=1, max_size=12).map(lambda text: text.encode("latin-1"))
LABELS = st.one_of(
    st.sampled_from([b"www", b"WWW", b"example", b"Example", b"org", b"svc", b"cluster", b"local", b"a"]),
    OCTETS,
    st.just(b"x" * 63),
)
SUFFIXES = st.sampled_from([(b"example", b"org"), (b"EXAMPLE", b"org"), (b"svc", b"cluster", b"local"), ()])


@st.composite
def names(draw: st.DrawFn) -> dns.name.Name:
    """Absolute names that often share suffixes, in mixed case, with octets of every sort."""
    labels = draw(st.lists(LABELS, max_size=3))
    labels += draw(SUFFIXES)
    while sum(len(label) + 1 for label in labels) > 254:
        labels.pop()
    return dns.name.Name([*labels, b""])


# rdata as text, with {n}, {m}: names
RDATA = {
    "A": "192.0.2.7",
    "AAAA": "2001:db8::7",
    "NS": "{n}",
    "CNAME": "{n}",
    "PTR": "{n}",
    "DNAME": "{n}",
    "SOA": "{n} {m} 1 7200 1800 86400 60",
    "MX": "10 {n}",
    "SRV": "0 50 80 {n}",
    "NAPTR": '100 50 "s" "http" "" {n}',
    "RP": "{n} {m}",
    "AFSDB": "1 {n}",
    "RT": "1 {n}",
    "PX": "1 {n} {m}",
    "KX": "1 {n}",
    "TXT": '"some" "text"',
    "TYPE65280": r"\# 3 c00c00",
}


@st.composite
def records(draw: st.DrawFn, owners: st.SearchStrategy[dns.name.Name]) -> dns.rrset.RRset:
    """One record of any type of RDATA, as a set of one."""
    rdtype = draw(st.sampled_from(sorted(RDATA)))
    text = RDATA[rdtype].format(n=draw(names()).to_text(), m=draw(names()).to_text())
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(rdtype), text)
    return dns.rrset.from_rdata(draw(owners), draw(st.integers(0, 0x7FFFFFFF)), rdata)


@st.composite
def queries(draw: st.DrawFn) -> dns.message.QueryMessage:
    """A query with any flags, with or without OPT."""
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options = {"use_edns": 0, "payload": draw(st.integers(0, 65535)), "want_dnssec": draw(st.booleans())}
    query = dns.message.make_query(draw(names()), draw(st.sampled_from(["A", "AAAA", "SRV", "ANY"])), **options)
    query.id = draw(st.integers(0, 65535))
    query.flags = dns.flags.Flag(draw(st.integers(0, 0x07FF)) & 0x07F0)
    return query


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[bytes, dns.message.Message]:
    """A query's bytes and an answer to it: any rcode, up to three records in each section."""
    query = draw(queries())
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.Flag(draw(st.integers(0, 0x07FF)) & 0x07F0)
    answer.set_rcode(
        dns.rcode.Rcode(draw(st.sampled_from([0, 0, 3, 2, 4, 5, 1, 9, *([16, 23] if query.edns == 0 else [])])))
    )
    owners = st.one_of(st.just(query.question[0].name), names())
    for section in (answer.answer, answer.authority, answer.additional):
        section.extend(draw(st.lists(records(owners), max_size=3)))
    return query.to_wire(), answer


@st.composite
def damaged(draw: st.DrawFn, wire: bytes) -> bytes:
    """wire with a few octets changed, cut, or repeated."""
    octets = bytearray(wire)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(octets) - 1)) if octets else 0
        match draw(st.sampled_from(["set", "set", "near", "cut", "add"])):
            case "set":
                octets[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "near":
                octets[at : at + 1] = bytes([(octets[at] + draw(st.sampled_from([1, -1]))) & 255]) if octets else b""
            case "cut":
                del octets[at:]
            case "add":
                octets[at:at] = draw(st.binary(max_size=12))
    return bytes(octets)
