"""How long a TCP client may take, and how its connection ends."""

from __future__ import annotations

import asyncio
import socket

from tests.unit.worker.bench import Bench
from tests.unit.worker.fakes import BIG, framed

# -------------------------------------------------------------------------------------------------------------- times


async def test_first_frame(bench: Bench) -> None:
    """A client that has sent nothing 3 s after it connected is closed."""
    client = await bench.connect()
    await bench.tick_after(2.9)
    assert bench.server.open == 1
    await bench.tick_after(0.1)
    assert bench.server.open == 0
    assert await client.is_closed()


async def test_rest_of_a_frame(bench: Bench) -> None:
    """A frame must be whole 3 s after it began, whatever dribbles in."""
    client = await bench.connect()
    client.send(framed(b"h1") + b"\0")
    await client.receive()
    for _ in range(2):
        await bench.tick_after(1)
        client.send(b"\0" if _ else b"\4")
        await bench.settle()
    assert bench.server.open == 1
    await bench.tick_after(1)
    assert bench.server.open == 0


async def test_a_frame_that_ends_lets_the_next_begin(bench: Bench) -> None:
    """A client that pipelines so that reads always end within a frame is not taken for a slow one."""
    client = await bench.connect()
    client.send(b"\0")
    for _ in range(10):
        await bench.tick_after(1)
        client.send(b"\2h1\0")
        assert await client.receive() == [b"H1"]
    assert bench.server.open == 1


async def test_idle(bench: Bench) -> None:
    """A connection is closed 10 s after its last query or reply."""
    client = await bench.connect()
    client.send(framed(b"h1"))
    await client.receive()
    await bench.tick_after(9.9)
    client.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    await bench.tick_after(100)
    bench.line.answer(b"m1", b"M1")
    assert await client.receive() == [b"M1"]
    await bench.tick_after(9.9)
    assert bench.server.open == 1
    await bench.tick_after(0.1)
    assert bench.server.open == 0


async def test_write(bench: Bench) -> None:
    """A client that does not take its replies for 5 s is closed, and what it holds is freed."""
    client = await bench.connect(receive_octets=4096)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(framed(*[b"b"] * 100))
    await bench.until(lambda: bench.server.held_octets > BIG)
    await bench.tick_after(4.9)
    assert bench.server.open == 1
    await bench.tick_after(0.1)
    assert (bench.server.open, bench.server.held_octets) == (0, 0)


async def test_discarding_ends(bench: Bench) -> None:
    """After a frame without answer a client that neither reads nor closes is given 3 s."""
    client = await bench.connect()
    client.send(framed(b""))
    assert await client.reader.read() == b""
    assert bench.server.open == 1
    await bench.tick_after(3)
    assert bench.server.open == 0


# ------------------------------------------------------------------------------------------------------------- ending


async def test_drain(bench: Bench) -> None:
    """What was sent is answered, misses too; idle connections close; new clients are left to the next process."""
    done: list[bool] = []
    idle, busy, late = [await bench.connect() for _ in range(3)]
    busy.send(framed(b"m1", b"m2"))
    await bench.until(lambda: len(bench.line.asked) == 2)
    late.send(framed(b"h3"))
    bench.server.drain(lambda: done.append(True))
    assert await late.receive() == [b"H3"]
    bench.clock.pass_s(0.1)
    assert await idle.is_closed()
    assert await late.is_closed()
    assert not done
    bench.line.answer(b"m2", b"M2")
    assert await busy.receive() == [b"M2"]
    bench.clock.pass_s(0.1)
    bench.line.answer(b"m1", b"M1")
    assert await busy.receive() == [b"M1"]
    bench.clock.pass_s(0.1)
    assert await busy.is_closed()
    await bench.until(lambda: done)
    accepted = bench.counters.tcp_connections
    with socket.create_connection(bench.listening.getsockname()):
        await bench.settle()
        assert bench.counters.tcp_connections == accepted


async def test_drain_takes_5_s_at_most(bench: Bench) -> None:
    """A miss without answer does not hold up the end for longer."""
    done: list[bool] = []
    client = await bench.connect()
    client.send(framed(b"m1"))
    await bench.until(lambda: bench.line.asked)
    bench.server.drain(lambda: done.append(True))
    bench.clock.pass_s(4.9)
    await asyncio.sleep(0.05)
    assert not done
    bench.clock.pass_s(0.1)
    await bench.until(lambda: done)
    assert await client.is_closed()


async def test_the_last_look(bench: Bench) -> None:
    """A query that has arrived, but was not read yet, is answered before its connection closes."""
    client = await bench.connect()
    (connection,) = bench.server._connections
    client.send(framed(b"h1"))
    connection.finish()
    assert await client.receive() == [b"H1"]
    assert await client.is_closed()


async def test_drain_waits_for_a_pause(bench: Bench) -> None:
    """A client that was accepted a moment ago, or keeps asking, is answered until it pauses."""
    client = await bench.connect()
    bench.server.drain(lambda: None)
    for _ in range(3):
        bench.clock.pass_s(0.09)
        await asyncio.sleep(0.03)
        client.send(framed(b"h1"))
        assert await client.receive() == [b"H1"]
    bench.clock.pass_s(0.1)
    assert await client.is_closed()


async def test_drain_without_clients(bench: Bench) -> None:
    """There is nothing to wait for."""
    done: list[bool] = []
    bench.server.drain(lambda: done.append(True))
    await bench.until(lambda: done)
