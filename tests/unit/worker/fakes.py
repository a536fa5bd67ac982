"""Stand-ins for the core and the miss line, and a TCP client, for tests of the TCP side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from shardns.worker.frames import FRAME_MAX, READ_MAX, Stop

SECOND = 1_000_000_000
FRAMES = 64
OUT = 2 * FRAME_MAX
BIG = 60_000


def framed(*messages: bytes) -> bytes:
    """Messages with their length before each."""
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


class Clock:
    """CLOCK_MONOTONIC, by hand."""

    def __init__(self) -> None:
        """Some time after the start of the machine."""
        self.ns = 1000 * SECOND

    def __call__(self) -> int:
        """Now."""
        return self.ns

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += int(seconds * SECOND)


class FakeAnswering:
    """Does what shd_answer_frames says it does, with messages a person can read.

    h... is a hit (H...), b... a hit with a reply of BIG octets, s... a stale hit that asks for a refresh, m... a miss,
    anything else has no answer.
    """

    def __init__(self) -> None:
        """Have answered nothing."""
        self.buffer = bytearray(FRAME_MAX + READ_MAX)
        self._out = bytearray(OUT)
        self.out = memoryview(self._out)
        self.calls: list[int] = []  # frames answered by each call
        self.counted: list[int] = []  # durations
        self.failed: list[bytes] = []
        self._replies = 0

    def client(self, listener: int, peer: bytes) -> SimpleNamespace:
        """The far end."""
        return SimpleNamespace(listener=listener, family=int(len(peer) > 16), peer=peer)

    def answer(self, client: SimpleNamespace, start: int, end: int, now_ns: int, miss_room: int) -> SimpleNamespace:
        """See shd_answer_frames."""
        assert miss_room > 0
        misses: list[SimpleNamespace] = []
        at, out, replies, waiting, stop = start, b"", 0, 0, Stop.DONE
        while end - at >= 2:
            length = int.from_bytes(self.buffer[at : at + 2], "big")
            message = bytes(self.buffer[at + 2 : at + 2 + length])
            if end - at - 2 < length:
                break
            if replies + len(misses) >= FRAMES or waiting >= miss_room or OUT - len(out) < FRAME_MAX:
                stop = Stop.MORE
                break
            kind = message[:1]
            if kind not in (b"h", b"b", b"s", b"m"):
                stop = Stop.CLOSE
                break
            if kind in b"hbs":
                reply = b"H" + message[1:]
                out += framed(reply.ljust(BIG, b".") if kind == b"b" else reply)
                replies += 1
            if kind in b"sm":
                misses.append(SimpleNamespace(at=at + 2 - start, len=length, kind=1 if kind == b"m" else 2))
                waiting += kind == b"m"
            at += 2 + length
        self._out[: len(out)] = out
        self._replies = replies
        self.calls.append(replies + sum(miss.kind == 1 for miss in misses))
        return SimpleNamespace(
            consumed=at - start, out_len=len(out), reply_count=replies, miss_count=len(misses), misses=misses, stop=stop
        )

    def count(self, client: SimpleNamespace, duration_ns: int) -> None:
        """Note each reply."""
        self.counted += [duration_ns] * self._replies

    def fail(self, client: SimpleNamespace, packet: bytes, duration_ns: int) -> int:
        """FAIL and the query."""
        self.failed.append(packet)
        frame = framed(b"FAIL" + packet)
        self._out[: len(frame)] = frame
        return len(frame)


@dataclass
class Asked:
    """A miss on its way."""

    kind: int
    listener: int
    peer: bytes
    wire: bytes
    done: Callable[[bytes | None], None] | None


@dataclass
class FakeLine:
    """A miss line whose answers the test gives."""

    asked: list[Asked] = field(default_factory=list)

    def ask(
        self,
        kind: int,
        listener: int,
        family: int,
        peer: bytes,
        arrived_ns: int,
        wire: bytes,
        done: Callable[[bytes | None], None] | None,
    ) -> None:
        """Keep the miss."""
        self.asked.append(Asked(kind, listener, peer, wire, done))

    def answer(self, wire: bytes, reply: bytes | None) -> None:
        """The first miss of that wire gets its reply."""
        asked = next(asked for asked in self.asked if asked.wire == wire)
        self.asked.remove(asked)
        assert asked.done is not None
        asked.done(reply)


class Client:
    """A TCP client of the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wrap a connection."""
        self.reader = reader
        self.writer = writer

    def send(self, octets: bytes) -> None:
        """Send at once."""
        self.writer.write(octets)

    async def receive(self, count: int = 1) -> list[bytes]:
        """The next count messages."""
        got = []
        for _ in range(count):
            length = int.from_bytes(await self.reader.readexactly(2), "big")
            got.append(await self.reader.readexactly(length))
        return got

    async def is_closed(self) -> bool:
        """Whether the server closes, nothing but that coming."""
        try:
            return not await self.reader.read(1)
        except ConnectionResetError:
            return True
