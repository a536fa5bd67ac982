import struct
from time import monotonic_ns

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from shardns.core import ffi, lib
from shardns.dns import names
from shardns.metrics import Page
from shardns.upstream import operations
from shardns.upstream.operations import TableOperations, is_at_or_below, numbers, record_lines
from shardns.upstream.operator import Question
from tests.unit.metrics.segments import count, world

CLUSTER, ROOT, GONE = 11, 22, 33
ZONES = {CLUSTER: ("cluster.local.", "in-addr.arpa."), ROOT: (".",)}


class Table:
    """A small table with its writer."""

    def __init__(self):
        geometry = ffi.new("struct shd_geometry *")
        size = lib.shd_table_plan(4 << 20, geometry)
        self._memory = ffi.new("uint64_t[]", size // 8 + 8)
        # The core wants cache lines: the first multiple of 64 in there.
        start = int(ffi.cast("uintptr_t", self._memory))
        self.header = ffi.cast("struct shd_table_header *", start + -start % 64)
        lib.shd_table_init(self.header, geometry, [1, 2], bytes(16))
        self._marks = [ffi.new("uint8_t[]", lib.shd_table_marks_size(geometry))]
        marks = ffi.new("struct shd_mark *[]", [ffi.cast("struct shd_mark *", mark) for mark in self._marks])
        self._marks.append(marks)
        self._caps = ffi.new("struct shd_cap[]", 3)
        for cap, cache_id in zip(self._caps, (CLUSTER, ROOT, GONE), strict=True):
            cap.cache_id, cap.success_cap, cap.denial_cap = cache_id, 1 << 20, 1 << 20
        self._writer_memory = ffi.new("uint64_t[]", lib.shd_writer_size(geometry, 3) // 8 + 1)
        self.writer = ffi.cast("struct shd_writer *", self._writer_memory)
        assert lib.shd_writer_init(self.writer, self.header, marks, 1, self._caps, 3) == 0

    def store(self, name, *records, qtype="A", cache_id=CLUSTER, facets=0, age_s=0, rcode=0):
        """Store an answer, age_s old."""
        question = dns.message.make_query(name, qtype)
        response = dns.message.make_response(question)
        response.set_rcode(rcode)
        for text in records:
            owner, ttl, rtype, rest = text.split(" ", 3)
            section = response.authority if rtype == "SOA" else response.answer
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, rest))
        asked, wire = question.to_wire(), response.to_wire()
        query, entry = ffi.new("struct shd_query *"), ffi.new("struct shd_entry *")
        assert lib.shd_query_parse(asked, len(asked), query) == 0
        assert lib.shd_entry_pack(wire, len(wire), query, entry) == 0
        rule = ffi.new("struct shd_ttl_rule *", [5, 3600, 5, 1800, 5, 1, 1])
        lib.shd_entry_classify(entry, rule)
        key = struct.pack("=QHHB", cache_id, query.qtype, 1, facets) + names.fold(names.to_wire(name))
        entry.head.hash = lib.shd_hash(self.header.seed, key, len(key))
        entry.head.key_len = len(key)
        now_ms = monotonic_ns() // 1_000_000
        entry.head.stored_ms = now_ms - age_s * 1000
        ffi.memmove(entry.key, key, len(key))
        assert lib.shd_writer_store(self.writer, entry, entry.head.hash, 0, now_ms) == 0


@pytest.fixture(name="table")
def table_fixture():
    """A table with a few entries."""
    table = Table()
    table.store("www.svc.cluster.local.", "www.svc.cluster.local. 30 A 192.0.2.1", age_s=10)
    table.store("www.svc.cluster.local.", "www.svc.cluster.local. 30 A 192.0.2.1", facets=lib.SHD_FACET_DO)
    table.store("www.svc.cluster.local.", "www.svc.cluster.local. 30 AAAA 2001:db8::1", qtype="AAAA", age_s=100)
    table.store(
        "no.cluster.local.",
        "cluster.local. 30 SOA ns.example.org. root.example.org. 1 2 3 4 30",
        rcode=dns.rcode.NXDOMAIN,
    )
    table.store("example.org.", "example.org. 300 MX 10 mail.example.org.", qtype="MX", cache_id=ROOT)
    table.store("notcluster.local.", "notcluster.local. 300 A 192.0.2.9", cache_id=GONE)
    return table


def ops(table):
    """Operations on table."""
    return TableOperations(table.header, table.writer, ZONES, lambda: {"queries": 1}, dict, lambda: None, -1)


def found(items):
    """(name, type) of the items, sorted."""
    return sorted((item["name"], item["type"]) for item in items if item)


def test_lookup(table):
    """A lookup gives the answers of every facet: age, what is left of the TTL, records as a client sees them."""
    items = [item for item in ops(table).lookup(Question("www.svc.cluster.local.", 1, "")) if item]
    plain, with_do = sorted(items, key=lambda item: len(item["facets"]))
    octets = plain.pop("octets")
    assert octets > 30
    assert plain == {
        "name": "www.svc.cluster.local.",
        "type": "A",
        "class": "IN",
        "zones": ["cluster.local.", "in-addr.arpa."],
        "facets": [],
        "kind": "success",
        "rcode": "NOERROR",
        "ttl_s": 30,
        "age_s": 10,
        "left_s": 20,
        "records": ["www.svc.cluster.local. 20 IN A 192.0.2.1"],
    }
    assert with_do["facets"] == ["do"]


@pytest.mark.parametrize(
    "name, qtype, zone, wanted",
    [
        ("www.svc.cluster.local.", 0, "", ["A", "A", "AAAA"]),
        ("www.svc.cluster.local.", 0, "in-addr.arpa.", ["A", "A", "AAAA"]),
        ("www.svc.cluster.local.", 0, ".", []),
        ("www.svc.cluster.local.", 15, "", []),
        ("example.org.", 0, ".", ["MX"]),
        ("notcluster.local.", 0, "", []),
    ],
)
def test_lookup_by_type_and_zone(table, name, qtype, zone, wanted):
    """Without a type every type is looked up; a zone chooses the server block; blocks that are gone are left out."""
    items = [item for item in ops(table).lookup(Question(name, qtype, zone)) if item]
    assert sorted(item["type"] for item in items) == wanted


def test_negative_and_expired_entries(table):
    """A denial shows its SOA, an expired entry how long ago it ended, and records with TTL 0."""
    (denial,) = (item for item in ops(table).lookup(Question("no.cluster.local.", 1, "")) if item)
    assert (denial["kind"], denial["rcode"]) == ("denial", "NXDOMAIN")
    assert denial["records"] == ["cluster.local. 30 IN SOA ns.example.org. root.example.org. 1 2 3 4 30 ; authority"]
    (expired,) = (item for item in ops(table).lookup(Question("www.svc.cluster.local.", 28, "")) if item)
    assert (expired["left_s"], expired["records"]) == (-70, ["www.svc.cluster.local. 0 IN AAAA 2001:db8::1"])


@pytest.mark.parametrize(
    "zone, wanted",
    [
        (".", 6),
        ("cluster.local.", 4),
        ("svc.cluster.local.", 3),
        ("www.svc.cluster.local.", 3),
        ("local.", 5),
        ("com.", 0),
    ],
)
def test_dump(table, zone, wanted):
    """A dump is every entry at and below a zone, by whole labels."""
    items = [item for item in ops(table).dump(zone, records=False) if item]
    assert len(items) == wanted
    assert all("records" not in item for item in items)
    assert all("records" in item for item in ops(table).dump(zone, records=True) if item)


def test_dump_pauses(table, monkeypatch):
    """A long walk gives None now and then, whether anything fits or not."""
    monkeypatch.setattr(operations, "STEP", 2)
    assert list(ops(table).dump("com.", records=False)) == [None] * 3


def test_dump_shows_entries_of_blocks_that_are_gone(table):
    """Entries that a former configuration left are shown without zones."""
    (item,) = (item for item in ops(table).dump("notcluster.local.", records=False) if item)
    assert item["zones"] == []


@pytest.mark.parametrize(
    "name, below, removed, left",
    [
        (
            "www.svc.cluster.local.",
            False,
            3,
            [("example.org.", "MX"), ("no.cluster.local.", "A"), ("notcluster.local.", "A")],
        ),
        ("svc.cluster.local.", False, 0, None),
        ("cluster.local.", True, 4, [("example.org.", "MX"), ("notcluster.local.", "A")]),
        (".", True, 6, []),
    ],
)
def test_flush(table, name, below, removed, left):
    """A flush takes out the entries of a name, or of everything below it, and leaves the others."""
    before = found(ops(table).dump(".", records=False))
    assert sum(ops(table).flush(name, below=below)) == removed
    assert found(ops(table).dump(".", records=False)) == (before if left is None else left)
    assert lib.shd_writer_check(table.writer) == 0


@pytest.mark.parametrize(
    "name, zone, wanted",
    [
        ("a.example.org.", "example.org.", True),
        ("example.org.", "example.org.", True),
        ("org.", "example.org.", False),
        ("aexample.org.", "example.org.", False),
        ("example.org.", ".", True),
        (".", ".", True),
        (r"a\007example.org.", "example.org.", False),
    ],
)
def test_is_at_or_below(name, zone, wanted):
    """Names are compared by whole labels, also where a label's octets look like the beginning of another."""
    assert is_at_or_below(names.to_wire(name), names.to_wire(zone)) is wanted


def test_record_lines_of_what_is_no_message():
    """An entry that cannot be read is shown as a comment, not as a failure of the dump."""
    assert record_lines(b"\0" * 5, 1)[0].startswith("; cannot be shown")


def test_numbers():
    """The numbers of `stats` are those of the metrics page."""
    with world(start_time_s=1000.0) as w:
        count(w.row(0, 0, 0))
        w.slots[1].at.process.tcp_open = 4
        found_numbers = numbers(w.sources, Page(w.sources).reader, 1010.0)
    assert (found_numbers["queries"], found_numbers["tcp_open"], found_numbers["uptime_s"]) == (1, 4, 10.0)
    assert found_numbers["workers"] == 2
