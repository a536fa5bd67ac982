"""The upstream process's end of the miss line: TCP clients' misses, from every worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from shardns.errors import Malformed
from shardns.exchange import Turn
from shardns.missline import Request, RequestReader, pack_answer

MAX_UNSENT = 16 << 20
"""Octets of answers a worker may leave unread before its line is cut; it asks again what it still wants."""

Take = Callable[["Line", Request], None]


class Line(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, take: Take, turn: Turn, lines: set[Line]) -> None:
        """take: what to do with each request. lines: the set of open lines, kept by themselves."""
        self._take = take
        self._turn = turn
        self._lines = lines
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._answers: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A worker has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._lines.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The worker is gone; answers to it go nowhere."""
        self._transport = None
        self._lines.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take the requests that are whole."""
        try:
            requests = self._reader.feed(data)
        except Malformed:
            self._abort()
            return
        self._turn.begin()
        try:
            for request in requests:
                self._take(self, request)
        finally:
            self._turn.end()

    def answer(self, request: Request, wire: bytes) -> None:
        """Queue the reply to request (empty: the client gets none) for the end of this turn of the loop."""
        if self._transport is None:
            return
        if not self._answers:
            self._turn.put_off(self._flush)
        self._answers.append(pack_answer(request.id, wire))

    def _flush(self) -> None:
        """Write the answers of this turn together."""
        answers, self._answers = self._answers, []
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self._abort()
            return
        self._transport.write(b"".join(answers))

    def _abort(self) -> None:
        """Cut the line."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()


class MissServer:
    """Accepts the workers' lines on the socket that the supervisor holds."""

    def __init__(self, take: Take, turn: Turn) -> None:
        """take: what to do with each request. turn: the loop's."""
        self._take = take
        self._turn = turn
        self._lines: set[Line] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve on listening, which stays the caller's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: Line(self._take, self._turn, self._lines), sock=listening.dup()
        )

    def close(self) -> None:
        """Stop accepting, send what is queued."""
        if self._server is not None:
            self._server.close()
        for line in list(self._lines):
            line.close()
