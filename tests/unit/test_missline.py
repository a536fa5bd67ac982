"""The miss line: every request is answered once, whatever happens to the process at the other end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgpack
import pytest

from shardns import missline
from shardns.errors import Malformed
from shardns.missline import AnswerReader, MissLine, Request, RequestReader, pack_answer, pack_request

CLIENT = 1
REFRESH = 2
SECOND = 1_000_000_000
QUERY = bytes(12) + b"\3www\7example\3org\0\0\1\0\1"
REQUESTS = [
    Request(1, CLIENT, 0, 0, bytes(16), 5, QUERY),
    Request(2**40, REFRESH, 63, 1, bytes(28), 2**63, b""),
    Request(3, CLIENT, 1, 0, b"", 0, bytes(missline.MAX_MESSAGE)),
]


# ------------------------------------------------------------------------------------------------------------- codecs


def test_requests_come_out_as_they_went_in() -> None:
    """Several requests in one read come out in order, whatever their sizes."""
    assert RequestReader().feed(b"".join(map(pack_request, REQUESTS))) == REQUESTS


def test_requests_cut_at_every_octet() -> None:
    """It does not matter where the stream is cut."""
    octets = b"".join(map(pack_request, REQUESTS[:2]))
    for cut in range(len(octets) + 1):
        reader = RequestReader()
        assert reader.feed(octets[:cut]) + reader.feed(octets[cut:]) == REQUESTS[:2]


def test_answers_octet_by_octet() -> None:
    """An answer is there with its last octet and not before."""
    octets = pack_answer(7, b"abc")
    reader = AnswerReader()
    assert [reader.feed(octets[i : i + 1]) for i in range(len(octets) - 1)] == [[]] * (len(octets) - 1)
    assert reader.feed(octets[-1:]) == [(7, b"abc")]


def test_an_answer_is_packed_from_a_view() -> None:
    """The reply may lie in a buffer that is used again at once."""
    buffer = bytearray(b"abc")
    octets = pack_answer(7, memoryview(buffer))
    buffer[:] = b"xyz"
    assert AnswerReader().feed(octets) == [(7, b"abc")]


@pytest.mark.parametrize(
    "octets",
    [
        msgpack.packb(7),
        msgpack.packb([1, 2]),
        msgpack.packb([1, b"x", 3]),
        msgpack.packb([True, b"x"]),
        msgpack.packb(["id", b"x"]),
        msgpack.packb([1, "x"]),
        msgpack.packb({1: 2}),
        msgpack.packb([1, bytes(missline.MAX_MESSAGE + 1)]),
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x01\xc6\xff\xff\xff\xff" + bytes(2 << 20),
    ],
)
def test_anything_else_is_malformed(octets: bytes) -> None:
    """A value of another shape, or a length no message has, ends the connection."""
    with pytest.raises(Malformed):
        AnswerReader().feed(octets)


# --------------------------------------------------------------------------------------------------- the worker's end


class Upstream:
    """The upstream process's end: a listening socket that outlives the process, and one of its lives at a time."""

    def __init__(self, path: Path) -> None:
        """Listen, as the supervisor does."""
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(str(path))
        self.listening.listen()
        self.listening.setblocking(False)
        self.line: socket.socket | None = None
        self.reader = RequestReader()

    async def start(self) -> None:
        """Accept the worker's connection."""
        self.line, _ = await asyncio.get_running_loop().sock_accept(self.listening)
        self.reader = RequestReader()

    async def requests(self, count: int) -> list[Request]:
        """The next requests, at least count of them."""
        assert self.line is not None
        got: list[Request] = []
        while len(got) < count:
            got += self.reader.feed(await asyncio.get_running_loop().sock_recv(self.line, 1 << 20))
        return got

    async def answer(self, *answers: tuple[int, bytes]) -> None:
        """Send answers in one write."""
        assert self.line is not None
        await asyncio.get_running_loop().sock_sendall(self.line, b"".join(pack_answer(*a) for a in answers))

    def kill(self) -> None:
        """End this life of the process."""
        assert self.line is not None
        self.line.close()


class Clock:
    """CLOCK_MONOTONIC, by hand."""

    ns = 100 * SECOND

    def __call__(self) -> int:
        """Now."""
        return self.ns


class Asker:
    """Asks, and notes what comes back under the name of each request."""

    def __init__(self, line: MissLine) -> None:
        """Ask over line."""
        self.line = line
        self.got: list[tuple[str, bytes | None]] = []

    def ask(self, name: str, wire: bytes = QUERY) -> None:
        """One miss that a client waits for."""
        self.line.ask(CLIENT, 0, 0, bytes(16), 1, wire, lambda reply: self.got.append((name, reply)))

    async def until(self, count: int) -> list[tuple[str, bytes | None]]:
        """What came back, once there are count of them."""
        while len(self.got) < count:  # noqa: ASYNC110 - what is waited for is a list's length
            await asyncio.sleep(0)
        return self.got


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A listening upstream process."""
    upstream = Upstream(tmp_path / "misses")
    yield upstream
    upstream.listening.close()
    if upstream.line is not None:
        upstream.line.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def asker(upstream: Upstream, clock: Clock) -> AsyncIterator[Asker]:
    """A worker's end of the line."""
    line = MissLine(asyncio.get_running_loop(), upstream.listening.getsockname(), clock_ns=clock)
    yield Asker(line)
    line.close()


async def test_out_of_order(asker: Asker, upstream: Upstream) -> None:
    """Requests of one turn leave together; answers find their request in any order."""
    asker.ask("a")
    asker.ask("b")
    await upstream.start()
    first, second = await upstream.requests(2)
    await upstream.answer((second.id, b"B"), (first.id, b"A"))
    assert await asker.until(2) == [("b", b"B"), ("a", b"A")]
    assert asker.line.waiting == 0


async def test_killed_in_mid_flight(asker: Asker, upstream: Upstream) -> None:
    """What was not answered is sent again to the next life, with the same id, and is answered exactly once."""
    for name in "abc":
        asker.ask(name)
    await upstream.start()
    a, b, c = await upstream.requests(3)
    await upstream.answer((b.id, b"B"))
    await asker.until(1)
    upstream.kill()
    asker.ask("d")
    await upstream.start()
    again = await upstream.requests(3)
    assert again[:2] == [a, c]
    await upstream.answer(*[(request.id, b"!") for request in again], (b.id, b"late"))
    assert await asker.until(4) == [("b", b"B"), ("a", b"!"), ("c", b"!"), ("d", b"!")]
    assert asker.line.resent == 3


async def test_killed_in_the_middle_of_an_answer(asker: Asker, upstream: Upstream) -> None:
    """Half an answer of the old life does not spoil the first one of the new."""
    asker.ask("a")
    await upstream.start()
    (request,) = await upstream.requests(1)
    assert upstream.line is not None
    upstream.line.send(pack_answer(request.id, b"A" * 100)[:50])
    upstream.kill()
    await upstream.start()
    await upstream.answer(*[(again.id, b"B") for again in await upstream.requests(1)])
    assert await asker.until(1) == [("a", b"B")]


async def test_nonsense_breaks_the_line(asker: Asker, upstream: Upstream) -> None:
    """A line that carries something else is replaced, and the request sent again."""
    asker.ask("a")
    await upstream.start()
    await upstream.requests(1)
    assert upstream.line is not None
    upstream.line.send(b"\xc1")
    old = upstream.line
    await upstream.start()
    old.close()
    await upstream.answer(*[(again.id, b"B") for again in await upstream.requests(1)])
    assert await asker.until(1) == [("a", b"B")]


async def test_a_request_that_kills(asker: Asker, upstream: Upstream) -> None:
    """After MAX_SENT lives a request is given up, so that one bad query cannot end every life."""
    asker.ask("poison")
    for _ in range(missline.MAX_SENT):
        await upstream.start()
        await upstream.requests(1)
        upstream.kill()
    assert await asker.until(1) == [("poison", None)]
    assert asker.line.failed == 1


async def test_nobody_answers(asker: Asker, upstream: Upstream, clock: Clock) -> None:
    """A request fails after ANSWER_NS and not before; a late answer is nobody's."""
    asker.ask("a")
    await upstream.start()
    (request,) = await upstream.requests(1)
    clock.ns += missline.ANSWER_NS - 1
    asker.line.expire()
    assert asker.got == []
    asker.ask("b")
    clock.ns += 1
    asker.line.expire()
    assert asker.got == [("a", None)]
    (other,) = await upstream.requests(1)
    await upstream.answer((request.id, b"late"), (other.id, b"B"))
    assert await asker.until(2) == [("a", None), ("b", b"B")]


async def test_there_is_no_upstream(tmp_path: Path, clock: Clock) -> None:
    """Without a socket to connect to, requests wait and then fail; nothing is called from within ask."""
    asker = Asker(MissLine(asyncio.get_running_loop(), str(tmp_path / "none"), clock_ns=clock))
    asker.ask("a")
    await asyncio.sleep(0.03)
    assert asker.got == []
    clock.ns += missline.ANSWER_NS
    asker.line.expire()
    assert asker.got == [("a", None)]
    asker.line.close()


@pytest.mark.parametrize(("limit", "size"), [("MAX_WAITING", 1), ("MAX_WAITING_OCTETS", 2 * len(QUERY))])
async def test_too_many_wait(asker: Asker, monkeypatch: pytest.MonkeyPatch, limit: str, size: int) -> None:
    """Beyond either limit a request fails at once, but not from within ask."""
    monkeypatch.setattr(missline, limit, size)
    asker.ask("a")
    asker.ask("b")
    assert asker.got == []
    assert await asker.until(1) == [("b", None)]


async def test_nobody_waits(asker: Asker, upstream: Upstream) -> None:
    """A refresh is sent, gets no answer, is not kept and is not sent again."""
    asker.line.ask(REFRESH, 0, 0, bytes(16), 1, QUERY, None)
    assert asker.line.waiting == 0
    await upstream.start()
    assert [request.kind for request in await upstream.requests(1)] == [REFRESH]
    upstream.kill()
    asker.ask("a")
    await upstream.start()
    assert [request.kind for request in await upstream.requests(1)] == [CLIENT]


async def ask_more_than_is_read(asker: Asker, upstream: Upstream, count: int) -> list[bytes]:
    """Have one request read, and ask count large ones that are not; their wires, in the order of asking."""
    asker.ask("first")
    await upstream.start()
    await upstream.requests(1)
    wires = [bytes([i]) * 60_000 for i in range(count)]
    for wire in wires:
        asker.ask("more", wire)
    await asyncio.sleep(0)
    return wires


async def test_an_upstream_that_does_not_read(asker: Asker, upstream: Upstream) -> None:
    """What the socket does not take waits in the worker, in order; refreshes are dropped meanwhile."""
    wires = await ask_more_than_is_read(asker, upstream, 100)
    asker.line.ask(REFRESH, 0, 0, bytes(16), 1, b"refresh", None)
    await asyncio.sleep(0)
    asker.ask("last", b"last")
    got = await upstream.requests(101)
    assert [request.wire for request in got] == [*wires, b"last"]


async def test_killed_while_it_does_not_read(asker: Asker, upstream: Upstream) -> None:
    """The next life gets every request whole and once, whatever had been cut or queued."""
    wires = await ask_more_than_is_read(asker, upstream, 50)
    asker.ask("last", b"last")
    upstream.kill()
    await upstream.start()
    got = await upstream.requests(52)
    assert [request.wire for request in got] == [QUERY, *wires, b"last"]


async def test_answered_requests_hold_nothing(
    asker: Asker, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on what waits, not on what ever did."""
    monkeypatch.setattr(missline, "MAX_WAITING_OCTETS", 2 * len(QUERY))
    asker.ask("0")
    await upstream.start()
    for turn in range(1, 5):
        (request,) = await upstream.requests(1)
        await upstream.answer((request.id, b"!"))
        assert (await asker.until(turn))[-1] == (str(turn - 1), b"!")
        asker.ask(str(turn))


async def test_close_gives_up(asker: Asker, upstream: Upstream) -> None:
    """A closed line answers what waits, and all that comes after, with nothing."""
    asker.ask("a")
    await upstream.start()
    asker.line.close()
    asker.ask("b")
    assert await asker.until(2) == [("a", None), ("b", None)]
