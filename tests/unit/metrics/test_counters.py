import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardns.core import ffi, lib
from shardns.metrics import Reader
from shardns.metrics.counters import RCODES, ROW_WORDS, TYPES, WRITERS
from tests.unit.metrics.segments import count, world


def test_rows_are_summed_over_every_process():
    """A row is the sum of both protos of every worker slot, of both generations, and of the upstream process."""
    with world() as w:
        for slot in range(4):
            for proto in (0, 1):
                count(w.row(slot, proto, 2), proto=proto, do=True, duration_ns=10)
        count(w.upstream.at.rows[2], proto=1, duration_ns=7)
        w.row(0, 0, 0).cache_drops = 2**63
        rows = Reader(w.sources.memory, 3).rows()
    assert [row["cache_drops"] for row in rows] == [2**63, 0, 0]
    assert rows[2]["do_requests"] == 8
    assert rows[2]["duration_ns"] == 87
    assert rows[2].requests() == [("udp", "1", "A", 4), ("tcp", "1", "A", 5)]
    assert rows[1].requests() == []


ADDENDS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, ROW_WORDS - 1), st.integers(0, 2**60)), max_size=40
)


@settings(deadline=None)
@given(ADDENDS)
def test_sums_are_those_of_plain_addition(addends):
    """Adding whole segments as numbers gives, word by word, what adding the words gives."""
    wanted: dict[tuple[int, int], int] = {}
    with world() as w:
        for place, index, word, value in addends:
            row = w.upstream.at.rows[index] if place == 8 else w.row(place // 2, place % 2, index)
            words = ffi.cast("uint64_t *", ffi.addressof(row))
            words[word] += value // 16
            wanted[index, word] = wanted.get((index, word), 0) + value // 16
        rows = Reader(w.sources.memory, 4).rows()
    for (index, word), value in wanted.items():
        assert rows[index]._words[rows[index]._at + word] == value
    assert sum(rows[0]._words) == sum(wanted.values())


@pytest.mark.parametrize(
    "qtype, family, wanted",
    [(1, 1, ("2", "A")), (28, 0, ("1", "AAAA")), (65, 1, ("2", "HTTPS")), (13, 0, ("1", "other"))],
)
def test_requests(qtype, family, wanted):
    """Queries are told apart by family (1 is IPv4) and type; a type that CoreDNS does not list is `other`."""
    with world() as w:
        count(w.row(1, 0, 0), qtype, family=family)
        (row,) = Reader(w.sources.memory, 1).rows()
    assert row.requests() == [("udp", *wanted, 1)]


@pytest.mark.parametrize(
    "rcode, plugin, wanted",
    [
        (0, lib.SHD_BY_CACHE, ("NOERROR", "cache")),
        (3, lib.SHD_BY_FORWARD, ("NXDOMAIN", "forward")),
        (2, lib.SHD_BY_NONE, ("SERVFAIL", "")),
        (12, lib.SHD_BY_WHOAMI, ("RCODE12", "whoami")),
        (4000, lib.SHD_BY_LOOP, ("other", "loop")),
    ],
)
def test_responses(rcode, plugin, wanted):
    """Answers are told apart by rcode and by the plugin that wrote them; none is the empty name."""
    with world() as w:
        count(w.upstream.at.rows[0], rcode=rcode, plugin=plugin)
        (row,) = Reader(w.sources.memory, 1).rows()
    assert row.responses() == [(*wanted, 1)]


def test_halves_of_a_pair():
    """A counter per proto comes apart into UDP and TCP."""
    with world() as w:
        count(w.row(0, 0, 0), proto=0, response=0, length=100)
        count(w.row(0, 1, 0), proto=1, response=70_000, length=101)
        (row,) = Reader(w.sources.memory, 1).rows()
    udp, tcp = row.pair("response_size")
    assert (udp[0], tcp[14], sum(udp), sum(tcp)) == (1, 1, 1, 1)
    assert list(row.many("request_octets")) == [100, 101]


def test_reading_makes_no_memory():
    """Rows that nobody has written stay holes in the segment after they were read."""
    with world() as w:
        count(w.row(0, 0, 0))
        before = [slot.allocated_bytes() for slot in (*w.slots, w.upstream)]
        reader = Reader(w.sources.memory, lib.SHD_ROWS_MAX)
        assert len(reader.rows()) == lib.SHD_ROWS_MAX
        reader.totals()
        assert [slot.allocated_bytes() for slot in (*w.slots, w.upstream)] == before
    assert before[0] > 0
    assert before[1:] == [0] * 4


@pytest.mark.parametrize("generation", [0, 1])
def test_process_counters(generation):
    """A worker's counts outlive its generation; heartbeats and gauges are those of the slot in use."""
    with world(generation=generation) as w:
        for n, slot in enumerate(w.slots):
            slot.at.process.packets_received = 10**n
            slot.at.process.tcp_open = n
            slot.at.process.heartbeat_ns = 100 + n
        w.upstream.at.process.heartbeat_ns = 99
        reader = Reader(w.sources.memory, 1)
        found = [reader.worker(n) for n in (0, 1)]
        assert reader.upstream()["heartbeat_ns"] == 99
    assert [process["packets_received"] for process in found] == [101, 1010]
    slots = [generation * 2, generation * 2 + 1]
    assert [process["tcp_open"] for process in found] == slots
    assert [process["heartbeat_ns"] - 100 for process in found] == slots


def test_totals():
    """The sums for the live line: answers, hits of both kinds, misses, stale answers, SERVFAILs, silence."""
    with world() as w:
        for slot in (0, 3):
            count(w.row(slot, 0, 0))
            count(w.row(slot, 1, 1), rcode=2, plugin=0)
            w.row(slot, 0, 0).cache_hits[0] = 5
            w.row(slot, 0, 1).cache_hits[1] = 6
            w.row(slot, 0, 1).cache_served_stale = 2
            w.slots[slot].at.process.packets_dropped = 3
        w.upstream.at.rows[0].cache_misses = 4
        totals = Reader(w.sources.memory, 2).totals()
    assert (totals.queries, totals.hits, totals.misses) == (4, 22, 4)
    assert (totals.stale, totals.failures, totals.packets_dropped) == (4, 2, 6)


def test_names_fit_the_c_side():
    """There is a name for every index that the C side counts under."""
    assert (len(TYPES), len(RCODES), len(WRITERS)) == (lib.SHD_TYPES, lib.SHD_RCODES, lib.SHD_BY_COUNT)
    assert TYPES[-1] == RCODES[-1] == "other"
    assert ffi.sizeof("struct shd_row") % 8 == 0
