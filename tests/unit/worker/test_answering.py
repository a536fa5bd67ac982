"""frames.c and answering.py: the frames of a read, answered out of a real table."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardns.core import ffi, lib
from shardns.worker.answering import CoreAnswering
from shardns.worker.frames import Cdata, Stop, sockaddr
from tests.unit.core.world import ZONE, World
from tests.unit.worker import entries
from tests.unit.worker.fakes import framed

ROW, DROPPED = 3, 9  # as World gives them
REALTIME_NS = 1_800_000_000_000_000_000
ADDRESS = ("192.0.2.7", 4431)


class Bench:
    """A world, and the TCP side's answering on top of it."""

    def __init__(self, **rule: Any) -> None:
        """www.example.org. is in the table, for 60 s."""
        self.world = World(**rule)
        answerer = self.world.answerers[0]
        self.rows = answerer.rows = self.world.slots[0].rows[lib.SHD_TCP]
        self.ring = ffi.new("struct shd_log_ring *")
        answerer.log = self.ring
        self.woken = 0
        self.answering = CoreAnswering(answerer, wake_log=self._wake, clock_realtime_ns=lambda: REALTIME_NS)
        self.client = self.answering.client(0, sockaddr(ADDRESS))
        self.store("www.example.org.", "www.example.org. 60 A 192.0.2.1")

    def _wake(self) -> None:
        self.woken += 1

    def store(self, name: str, *records: str, qtype: str = "A") -> None:
        """Put an answer into the table."""
        query = dns.message.make_query(name, qtype)
        world = self.world
        rule = lib.shd_rules_block(world.rules, 0)
        now_ms = world.now_ns // 1_000_000
        entries.store(world.writer, world.table, rule, query, entries.answer(query, *records), now_ms)

    def answer(
        self, octets: bytes, room: int = 128, start: int = 0
    ) -> tuple[list[bytes], list[tuple[int, bytes]], Cdata]:
        """The replies, the misses as (kind, message), and all of the result."""
        self.answering.buffer[start : start + len(octets)] = octets
        frames = self.answering.answer(self.client, start, start + len(octets), self.world.now_ns, room)
        replies, at = [], 0
        out = bytes(self.answering.out[: frames.out_len])
        while at < len(out):
            length = int.from_bytes(out[at : at + 2], "big")
            replies.append(out[at + 2 : at + 2 + length])
            at += 2 + length
        assert len(replies) == frames.reply_count
        misses = [frames.misses[i] for i in range(frames.miss_count)]
        return replies, [(miss.kind, octets[miss.at : miss.at + miss.len]) for miss in misses], frames


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A cache with one name in it."""
    bench = Bench()
    yield bench
    bench.world.close()


def query(name: str = "www.example.org.", qtype: str = "A", **options: object) -> bytes:
    """A query."""
    return dns.message.make_query(name, qtype, **options).to_wire()  # type: ignore[arg-type]


def test_hits_and_misses(bench: Bench) -> None:
    """Hits are answered, misses are handed out as they came, errors are replies; all of it in one call."""
    first, miss, refused = query(id=1), query("new.EXAMPLE.org."), query("example.com.", id=3)
    octets = framed(first, miss, refused)
    replies, misses, frames = bench.answer(octets)
    hit, error = map(dns.message.from_wire, replies)
    assert [hit.id, hit.answer[0].to_text()] == [1, "www.example.org. 60 IN A 192.0.2.1"]
    assert (error.id, error.rcode()) == (3, dns.rcode.REFUSED)
    assert misses == [(lib.SHD_ASK_CLIENT, miss)]
    assert (frames.consumed, frames.stop) == (len(octets), Stop.DONE)


def test_offsets_are_relative(bench: Bench) -> None:
    """Frames may begin anywhere in the buffer."""
    _, misses, frames = bench.answer(framed(query("a.example.org.")), start=1000)
    assert misses == [(1, query("a.example.org.", id=int.from_bytes(misses[0][1][:2], "big")))]
    assert frames.consumed == 2 + len(misses[0][1])


def test_every_cut(bench: Bench) -> None:
    """Only whole frames are consumed."""
    one, two = framed(query(id=1)), framed(query("new.example.org."))
    for cut in range(len(one + two) + 1):
        _, _, frames = bench.answer((one + two)[:cut])
        wanted = 0 if cut < len(one) else len(one) if cut < len(one + two) else cut
        assert (frames.consumed, frames.stop) == (wanted, Stop.DONE)


@pytest.mark.parametrize("bad", [b"", b"short", query()[:2] + b"\x80" + query()[3:]])
def test_no_answer(bench: Bench, bad: bytes) -> None:
    """An empty frame, one shorter than a header and a response end it; what came before is answered."""
    good = framed(query())
    replies, misses, frames = bench.answer(good + framed(bad, query()))
    assert (len(replies), misses, frames.consumed, frames.stop) == (1, [], len(good), Stop.CLOSE)


def test_an_empty_frame_at_the_end(bench: Bench) -> None:
    """Its prefix is enough."""
    assert bench.answer(b"\0\0")[2].stop == Stop.CLOSE


@pytest.mark.parametrize(
    ("change", "rcode"),
    [(lambda q: q[:2] + b"\x28" + q[3:], dns.rcode.NOTIMP), (lambda q: q + b"x", dns.rcode.FORMERR)],
)
def test_errors_are_replies(bench: Bench, change, rcode: dns.rcode.Rcode) -> None:
    """Another opcode and octets after the last record are answered, and the connection goes on."""
    replies, _, frames = bench.answer(framed(change(query()), query()))
    assert replies[0][3] & 15 == rcode
    assert (len(replies), frames.stop) == (2, Stop.DONE)


def test_a_long_answer_is_whole(bench: Bench) -> None:
    """TCP has no smaller limit than the message's own, whatever size the client's OPT says."""
    records = [f"big.example.org. 60 A 192.0.{i // 200}.{i % 200}" for i in range(3000)]
    bench.store("big.example.org.", *records)
    octets = framed(*[query("big.example.org.", payload=512)] * 5)
    replies, at = [], 0
    while at < len(octets):
        some, _, frames = bench.answer(octets[at:])
        assert frames.consumed
        replies += some
        at += frames.consumed
    assert len(replies) == 5
    assert all(len(dns.message.from_wire(reply).answer[0]) == 3000 for reply in replies)


def test_frames_per_call(bench: Bench) -> None:
    """A call handles 64 frames at most, and says that there may be more."""
    frame = framed(query())
    replies, _, frames = bench.answer(frame * 65)
    assert (len(replies), frames.consumed, frames.stop) == (64, 64 * len(frame), Stop.MORE)
    assert bench.answer(frame * 64)[2].stop == Stop.DONE


def test_miss_room(bench: Bench) -> None:
    """It stops after as many misses as the client may have in flight; hits before that do not count."""
    miss, hit = framed(query("new.example.org.")), framed(query())
    _, misses, frames = bench.answer(hit + miss + hit + miss + hit, room=2)
    assert len(misses) == 2
    assert (frames.reply_count, frames.stop) == (2, Stop.MORE)


def test_stale() -> None:
    """A stale hit is a reply and an ask that nobody waits for, once; it takes no room."""
    bench = Bench(stale_mode=lib.SHD_STALE_IMMEDIATE, stale_s=3600)
    bench.world.now_ns += 100 * 1_000_000_000
    octets = framed(query(), query())
    replies, misses, frames = bench.answer(octets, room=1)
    assert [dns.message.from_wire(reply).answer[0].ttl for reply in replies] == [0, 0]
    assert [kind for kind, _ in misses] == [lib.SHD_ASK_REFRESH]
    assert frames.stop == Stop.DONE
    bench.world.close()


def test_counting(bench: Bench) -> None:
    """Each reply counts once, by zone, for TCP and IPv4; a miss does not count here."""
    bench.answer(framed(query(), query("new.example.org."), query("example.com.")))
    bench.answering.count(bench.client, 300_000)
    assert bench.rows[ROW].requests[lib.SHD_TCP][lib.SHD_IPV4][lib.shd_counter_type(1)] == 1
    assert bench.rows[ROW].responses[0][lib.SHD_BY_CACHE] == 1
    assert list(bench.rows[ROW].duration)[:3] == [0, 1, 0]
    assert sum(bench.rows[DROPPED].requests[lib.SHD_TCP][lib.SHD_IPV4]) == 1


def test_fail(bench: Bench) -> None:
    """A miss that nobody answers gets SERVFAIL with its question, and is counted."""
    asked = query("new.example.org.", id=77, use_edns=0)
    length = bench.answering.fail(bench.client, asked, 1_000)
    frame = bytes(bench.answering.out[:length])
    reply = dns.message.from_wire(frame[2:])
    assert int.from_bytes(frame[:2], "big") == length - 2
    assert (reply.id, reply.rcode(), reply.question[0].to_text()) == (77, dns.rcode.SERVFAIL, "new.example.org. IN A")
    assert sum(bench.rows[ROW].responses[dns.rcode.SERVFAIL]) == 1


def test_log() -> None:
    """Replies of a class that the block logs are put into the ring, and its reader is told."""
    bench = Bench(log_classes=lib.SHD_LOG_SUCCESS | lib.SHD_LOG_ERROR)
    record = ffi.new("struct shd_log_record *")
    bench.answer(framed(query("WWW.example.org.", id=5)))
    bench.answering.count(bench.client, 1_500)
    bench.answering.fail(bench.client, query("new.example.org."), 2_500)
    assert bench.woken == 2
    assert lib.shd_log_take(bench.ring, record) == 1
    assert (record.id, record.proto, record.rcode, record.duration_ns) == (5, lib.SHD_TCP, 0, 1_500)
    assert (record.log_class, record.time_ns) == (lib.SHD_LOG_SUCCESS, REALTIME_NS)
    assert bytes(ffi.buffer(record.name, record.name_len)) == b"\3WWW" + ZONE
    assert bytes(ffi.buffer(record.peer, record.peer_len))[2:8] == (4431).to_bytes(2, "big") + bytes([192, 0, 2, 7])
    assert lib.shd_log_take(bench.ring, record) == 1
    assert (record.rcode, record.log_class) == (dns.rcode.SERVFAIL, lib.SHD_LOG_ERROR)
    assert lib.shd_log_take(bench.ring, record) == 0
    bench.world.close()


@pytest.mark.parametrize(
    ("address", "family", "wanted"),
    [
        (("192.0.2.7", 53), socket.AF_INET, "SHD_IPV4"),
        (("2001:db8::7", 53, 0, 0), socket.AF_INET6, "SHD_IPV6"),
        (("::ffff:192.0.2.7", 53, 0, 0), socket.AF_INET6, "SHD_IPV4"),
        (("fe80::1%lo", 53, 0, 1), socket.AF_INET6, "SHD_IPV6"),
    ],
)
def test_client(bench: Bench, address, family: socket.AddressFamily, wanted: str) -> None:
    """An IPv4 client of a dual-stack socket counts as one."""
    client = bench.answering.client(5, sockaddr(address))
    assert (client.family, client.listener) == (getattr(lib, wanted), 5)
    assert client.peer_len == (16 if family == socket.AF_INET else 28)
    assert int.from_bytes(bytes(client.peer)[:2], "little") == family


ANY_FRAME = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [query(id=1), query("new.example.org.", id=2), query("example.com.", id=3), query(id=4, use_edns=0)]
    ),
    st.builds(lambda head, name: head + name, st.binary(min_size=12, max_size=12), st.just(query()[12:])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(messages=st.lists(ANY_FRAME, max_size=12), tail=st.binary(max_size=5), cuts=st.lists(st.integers(0, 500)))
def test_cuts_change_nothing(bench: Bench, messages: list[bytes], tail: bytes, cuts: list[int]) -> None:
    """Whatever comes, cut anywhere, gives the same replies and misses in the same order as in one piece."""
    octets = framed(*messages) + tail

    def run(pieces: list[bytes]) -> tuple[list[bytes], list[tuple[int, bytes]], bool]:
        rest, replies, misses = b"", [], []
        for piece in pieces:
            rest += piece
            some, others, frames = bench.answer(rest)
            replies += some
            misses += others
            rest = rest[frames.consumed :]
            if frames.stop == Stop.CLOSE:
                return replies, misses, True
        return replies, misses, False

    places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    pieces = [octets[a:b] for a, b in itertools.pairwise(places)]
    assert run(pieces) == run([octets])
