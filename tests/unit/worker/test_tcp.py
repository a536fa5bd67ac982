"""TCP clients: every query gets one reply, and no client can keep more than its share of time and memory."""

from __future__ import annotations

import errno
import socket

import pytest

from shardns.worker import connection as connection_module
from tests.unit.worker.bench import Bench
from tests.unit.worker.fakes import FRAMES, framed

# ------------------------------------------------------------------------------------------------------------ queries


async def test_pipelined_queries_are_answered_together(bench: Bench) -> None:
    """All frames of a read are one call of the core, and each reply is counted."""
    client = await bench.connect()
    client.send(framed(b"h1", b"h2", b"h3"))
    assert await client.receive(3) == [b"H1", b"H2", b"H3"]
    assert bench.answering.calls == [3]
    assert len(bench.answering.counted) == 3


async def test_cut_at_every_octet(bench: Bench) -> None:
    """It does not matter where the octets of two frames are cut."""
    octets = framed(b"h1", b"mx")
    client = await bench.connect()
    for cut in range(1, len(octets)):
        client.send(octets[:cut])
        await bench.settle()
        client.send(octets[cut:])
        assert await client.receive() == [b"H1"]
        await bench.until(lambda: bench.line.asked)
        bench.line.answer(b"mx", b"X")
        assert await client.receive() == [b"X"]


async def test_octet_by_octet(bench: Bench) -> None:
    """A frame may come in as many pieces as it has octets."""
    client = await bench.connect()
    for octet in framed(b"hello", b"h"):
        client.send(bytes([octet]))
        await bench.settle()
    assert await client.receive(2) == [b"Hello", b"H"]


async def test_more_than_one_call_takes(bench: Bench) -> None:
    """A read with more frames than the core takes at once is answered completely, in order."""
    client = await bench.connect()
    messages = [b"h%d" % i for i in range(5 * FRAMES + 3)]
    client.send(framed(*messages))
    assert await client.receive(len(messages)) == [b"H" + message[1:] for message in messages]
    assert max(bench.answering.calls) <= FRAMES


async def test_the_largest_query(bench: Bench) -> None:
    """A message of 65,535 octets is read whole, with another right behind it."""
    client = await bench.connect()
    client.send(framed(b"h" * 65_535, b"h2"))
    assert await client.receive(2) == [b"H" + b"h" * 65_534, b"H2"]


async def test_hits_overtake_misses(bench: Bench) -> None:
    """Replies leave as they are ready (RFC 7766 s.6.2.1.1)."""
    client = await bench.connect()
    client.send(framed(b"m1", b"m2", b"h3"))
    assert await client.receive() == [b"H3"]
    bench.line.answer(b"m2", b"M2")
    assert await client.receive() == [b"M2"]
    bench.line.answer(b"m1", b"M1")
    assert await client.receive() == [b"M1"]


async def test_what_the_miss_line_is_told(bench: Bench) -> None:
    """A miss carries the listener, the client's address and the query as received."""
    client = await bench.connect()
    client.send(framed(b"mMiXeD"))
    await bench.until(lambda: bench.line.asked)
    (asked,) = bench.line.asked
    port = client.writer.get_extra_info("sockname")[1]
    assert (asked.listener, asked.wire, asked.kind) == (7, b"mMiXeD", 1)
    assert asked.peer[2:8] == port.to_bytes(2, "big") + bytes([127, 0, 0, 1])


async def test_a_stale_hit_asks_for_a_refresh(bench: Bench) -> None:
    """The client has its reply; nobody waits for the ask."""
    client = await bench.connect()
    client.send(framed(b"s1"))
    assert await client.receive() == [b"H1"]
    (asked,) = bench.line.asked
    assert (asked.kind, asked.done) == (2, None)


async def test_a_miss_that_fails(bench: Bench) -> None:
    """Where the upstream process gives no answer the core makes one."""
    client = await bench.connect()
    client.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    bench.line.answer(b"m1", None)
    assert await client.receive() == [b"FAILm1"]


async def test_a_miss_without_reply(bench: Bench) -> None:
    """An empty reply is none; the connection goes on."""
    client = await bench.connect()
    client.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    bench.line.answer(b"m1", b"")
    client.send(framed(b"h2"))
    assert await client.receive() == [b"H2"]


async def test_the_client_is_gone(bench: Bench) -> None:
    """A reply for a connection that is closed by now goes nowhere."""
    client = await bench.connect()
    client.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    client.writer.transport.abort()
    bench.server.close()
    bench.line.answer(b"m1", b"M1")
    await bench.settle()


async def test_half_closed(bench: Bench) -> None:
    """A client that has sent its last query still gets every reply, then the end."""
    client = await bench.connect()
    client.send(framed(b"h1", b"m2", b"m3"))
    client.writer.write_eof()
    assert await client.receive() == [b"H1"]
    bench.line.answer(b"m3", b"M3")
    assert await client.receive() == [b"M3"]
    bench.line.answer(b"m2", b"M2")
    assert await client.receive() == [b"M2"]
    assert await client.is_closed()


@pytest.mark.parametrize("bad", [b"", b"?"])
async def test_a_frame_without_answer(bench: Bench, bad: bytes) -> None:
    """What came before it is answered, misses too; what comes after is not, and the connection ends without a reset."""
    client = await bench.connect()
    client.send(framed(b"h1", b"m2", bad, b"h3") + bytes(70_000))
    assert await client.receive() == [b"H1"]
    bench.line.answer(b"m2", b"M2")
    assert await client.receive() == [b"M2"]
    assert await client.reader.read() == b""
    assert bench.server.open == 1
    client.writer.close()
    await bench.until(lambda: bench.server.open == 0)


# ------------------------------------------------------------------------------------------------------------- limits


async def test_misses_in_flight(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so many misses in flight nothing more is read; each answer makes room for one."""
    monkeypatch.setattr(connection_module, "IN_FLIGHT_MAX", 3)
    client = await bench.connect()
    client.send(framed(b"m1", b"m2", b"m3", b"m4", b"h5") + b"\0")
    await bench.settle()
    assert [asked.wire for asked in bench.line.asked] == [b"m1", b"m2", b"m3"]
    held = bench.server.held_octets
    client.send(b"\2h6" + bytes(50_000))
    await bench.settle()
    assert bench.server.held_octets == held
    bench.line.answer(b"m2", b"M2")
    await bench.settle()
    assert [asked.wire for asked in bench.line.asked] == [b"m1", b"m3", b"m4"]
    bench.line.answer(b"m1", b"M1")
    assert await client.receive(4) == [b"M2", b"M1", b"H5", b"H6"]


async def test_waiting_is_not_the_clients_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is read no time runs for the rest of a frame; from then on the client has 3 s for it."""
    monkeypatch.setattr(connection_module, "IN_FLIGHT_MAX", 1)
    client = await bench.connect()
    client.send(framed(b"m1", b"m2") + b"\0")
    await bench.until(lambda: bench.line.asked)
    await bench.tick_after(60)
    bench.line.answer(b"m1", b"M1")
    assert await client.receive() == [b"M1"]
    await bench.tick_after(60)
    bench.line.answer(b"m2", b"M2")
    assert await client.receive() == [b"M2"]
    await bench.tick_after(2.9)
    assert bench.server.open == 1
    await bench.tick_after(0.1)
    assert bench.server.open == 0


async def test_the_longest_idle_connection_makes_room(bench: Bench) -> None:
    """Of those with nothing in hand the one that was not used for the longest goes."""
    bench.limit(connections=3)
    busy = await bench.connect()
    busy.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    young, old = [await bench.connect() for _ in range(2)]
    for client in (old, young):
        bench.clock.pass_s(1)
        client.send(framed(b"h1"))
        assert await client.receive() == [b"H1"]
    await bench.connect()
    assert await old.is_closed()
    bench.line.answer(b"m1", b"M1")
    assert await busy.receive() == [b"M1"]
    assert (bench.counters.tcp_evicted, bench.counters.tcp_open, bench.server.open) == (1, 3, 3)


async def test_nobody_is_idle(bench: Bench) -> None:
    """If all have something in hand the one that was not used for the longest goes."""
    bench.limit(connections=2)
    first, second = [await bench.connect() for _ in range(2)]
    first.send(framed(b"m1"))
    await bench.until(lambda: len(bench.line.asked) == 1)
    second.send(framed(b"m2"))
    await bench.until(lambda: len(bench.line.asked) == 2)
    await bench.connect()
    assert await first.is_closed()
    bench.line.answer(b"m2", b"M2")
    assert await second.receive() == [b"M2"]


async def test_a_client_that_does_not_read(bench: Bench) -> None:
    """Its queries wait until it takes its replies; then all are answered, each once."""
    client = await bench.connect(receive_octets=4096)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    count = 200
    client.send(framed(*[b"b%d" % i for i in range(count)]))
    await bench.until(lambda: bench.server.held_octets > 0)
    await bench.settle()
    assert sum(bench.answering.calls) < count
    assert bench.server.held_octets < 3 * 131_074
    client.reader._transport.resume_reading()  # type: ignore[attr-defined]
    replies = await client.receive(count)
    assert [reply.rstrip(b".") for reply in replies] == [b"H%d" % i for i in range(count)]
    await bench.tick_after(9)
    assert bench.server.open == 1


async def test_misses_of_a_client_that_does_not_read(bench: Bench) -> None:
    """Replies that come meanwhile follow, whole, in the order they came."""
    client = await bench.connect(receive_octets=4096)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(framed(b"m1", b"m2", *[b"b"] * 100))
    await bench.until(lambda: bench.server.held_octets > 0)
    held = bench.server.held_octets
    client.send(framed(b"h"))
    for name in (b"2", b"1"):
        bench.line.answer(b"m" + name, b"M" + name)
        await bench.settle()
    assert bench.server.held_octets == held + 8
    client.reader._transport.resume_reading()  # type: ignore[attr-defined]
    replies = [reply.rstrip(b".") for reply in await client.receive(103)]
    assert sorted(replies) == [*[b"H"] * 101, b"M1", b"M2"]
    assert replies.index(b"M2") < replies.index(b"M1")


async def test_small_replies_are_not_held_back(bench: Bench) -> None:
    """Nagle's algorithm is off: a second reply does not wait for the client's acknowledgement of the first."""
    await bench.connect()
    (connection,) = bench.server._connections
    assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_octets_held_for_all(bench: Bench) -> None:
    """Above the limit the connection that holds most is closed."""
    bench.limit(held_octets=50_000)
    small, large = [await bench.connect() for _ in range(2)]
    small.send(framed(bytes(20_000))[:20_000])
    await bench.until(lambda: bench.server.held_octets == 20_000)
    large.send(framed(bytes(40_000))[:40_000])
    assert await large.is_closed()
    assert (bench.server.held_octets, bench.counters.tcp_evicted) == (20_000, 1)


async def test_no_descriptor_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When accept fails for want of descriptors an idle client makes room, and accepting goes on a little later."""
    old = await bench.connect()
    failures = [OSError(errno.EMFILE, "Too many open files")]

    class Listening:
        """A socket that fails once."""

        def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            """Fail, then accept."""
            if failures:
                raise failures.pop()
            return bench.listening.accept()

        def fileno(self) -> int:
            """The real one's."""
            return bench.listening.fileno()

    bench.server._accept(7, Listening())  # type: ignore[arg-type]
    assert await old.is_closed()
    bench.server._accept_again(7, bench.listening)
    client = await bench.connect()
    client.send(framed(b"h1"))
    assert await client.receive() == [b"H1"]
