"""misses.py: the upstream process's end of the miss line."""

from __future__ import annotations

import asyncio
import socket

from shardns.exchange import Turn
from shardns.missline import AnswerReader, Request, pack_request
from shardns.upstream.misses import Line, MissServer


def request(number: int) -> Request:
    """A request of a TCP client."""
    return Request(number, 1, 0, 0, bytes(16), 0, b"query %d" % number)


def play(octets: list[bytes], *, wanted: int) -> list[tuple[int, bytes]]:
    """What a worker that sends octets, piece by piece, is answered by a server that echoes in reverse order."""
    taken: list[tuple[Line, Request]] = []

    def take(line: Line, one: Request) -> None:
        taken.append((line, one))
        if len(taken) == wanted:
            for origin, each in reversed(taken):
                origin.answer(each, each.wire.upper())

    async def main() -> list[tuple[int, bytes]]:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.bind(b"")
        ours.listen()
        ours.setblocking(False)
        server = MissServer(take, Turn(asyncio.get_running_loop()))
        await server.start(ours)
        reader, writer = await asyncio.open_unix_connection(ours.getsockname())
        for piece in octets:
            writer.write(piece)
            await asyncio.sleep(0.001)
        answers: list[tuple[int, bytes]] = []
        unpack = AnswerReader()
        while len(answers) < wanted:
            data = await asyncio.wait_for(reader.read(65536), 5)
            if not data:
                break
            answers += [(answer.id, answer.wire) for answer in unpack.feed(data)]
        server.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        ours.close()
        return answers

    return asyncio.run(main())


def test_requests_are_answered_in_any_order():
    """Many requests in one write are taken in order, and each answer carries its request's id."""
    answers = play([b"".join(pack_request(request(number)) for number in range(50))], wanted=50)
    assert answers == [(number, b"QUERY %d" % number) for number in reversed(range(50))]


def test_a_request_in_pieces():
    """A request that arrives octet by octet is taken when it is whole."""
    octets = pack_request(request(7))
    assert play([octets[i : i + 1] for i in range(len(octets))], wanted=1) == [(7, b"QUERY 7")]


def test_nonsense_cuts_the_line():
    """What is no request ends the connection; nothing is taken from it."""
    assert play([b"\xc1\xff" * 10], wanted=1) == []


def test_an_answer_to_a_line_that_is_gone():
    """Nothing happens: the worker asks again on its next line."""
    loop = asyncio.new_event_loop()
    line = Line(lambda *_: None, Turn(loop), set())
    line.answer(request(1), b"reply")
    line.close()
    loop.close()
