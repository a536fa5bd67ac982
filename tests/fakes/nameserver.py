"""A nameserver on loopback that answers as well or as badly as a test wants, and counts what it sees.

It lives in the test's own event loop. TCP and UDP share one port, chosen by the kernel. The behaviour is fields that a
test may change at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field

ADDRESS = "127.0.0.1"
RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1"
"""A 30 s A record 192.0.2.1 whose owner is the question's name."""


def answer(query: bytes, *, rcode: int = 0, flags: int = 0x8580) -> bytes:
    """The answer with one A record, or without any for an rcode other than 0. An OPT of the query is left out."""
    question = question_of(query)
    records = RECORD if not rcode else b""
    head = query[:2] + (flags | rcode).to_bytes(2, "big") + b"\0\1" + (b"\0\1" if records else b"\0\0") + b"\0\0\0\0"
    return head + question + records


def question_of(query: bytes) -> bytes:
    """Name, type and class of the question."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    return query[12 : end + 5]


def name_of(query: bytes) -> str:
    """The name asked for, without its trailing dot."""
    labels = []
    off = 12
    while query[off]:
        labels.append(query[off + 1 : off + 1 + query[off]].decode())
        off += 1 + query[off]
    return ".".join(labels)


@dataclass
class Connection:
    """One TCP connection that a client made."""

    writer: asyncio.StreamWriter
    port: int
    queries: int = 0
    silent: bool = False


@dataclass
class Nameserver:
    """Behaviour and counts. Times are seconds."""

    port: int = 0
    address: str = ADDRESS
    reply: Callable[[bytes, bool], bytes | list[bytes] | None] = field(default=lambda query, _: answer(query))
    """(query, by TCP) -> the message or messages to send, or None for silence."""
    delay_s: float | Callable[[bytes], float] = 0.0
    close_after_s: float = 0.0
    """Close each connection at this age, whatever waits for an answer."""
    close_after_queries: int = 0
    """Close each connection after this many queries."""
    serial: bool = False
    """Answer the queries of a connection one after the other, as CoreDNS does."""
    silent_first: int = 0
    """The first so many connections get no answers."""
    connections: list[Connection] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    tcp_queries: int = 0
    tcp_replies: int = 0
    udp_queries: int = 0
    udp_ports: list[int] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    _udp: asyncio.DatagramTransport | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def queries(self) -> int:
        """Queries seen by TCP and UDP."""
        return self.tcp_queries + self.udp_queries

    async def start(self) -> None:
        """Listen on `port`, or on a free one that is then kept for later starts."""
        for _ in range(20):
            self._server = await asyncio.start_server(self._serve, self.address, self.port, backlog=1024)
            port = self._server.sockets[0].getsockname()[1]
            try:
                await self._start_udp(port)
            except OSError:
                self._server.close()
                continue
            self.port = port
            return
        raise OSError("no port is free for both TCP and UDP")

    async def _start_udp(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (self.address, port))
        sock: socket.socket = self._udp.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)

    async def stop(self) -> None:
        """Stop listening and reset all connections, as a killed process does."""
        if self._server is not None:
            self._server.close()
        if self._udp is not None:
            self._udp.close()
        for connection in self.connections:
            connection.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer, writer.get_extra_info("peername")[1])
        connection.silent = len(self.connections) < self.silent_first
        self.connections.append(connection)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self.close_after_s:
            self._spawn(self._close_later(writer))
        try:
            await self._read(connection, reader)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            self.open -= 1
            writer.close()

    async def _read(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(size)
            self.tcp_queries += 1
            connection.queries += 1
            self.seen.append(query)
            if connection.silent:
                continue
            work = self._answer_tcp(connection.writer, query)
            if self.serial:
                await work
            else:
                self._spawn(work)
            if connection.queries == self.close_after_queries:
                await asyncio.sleep(0)
                return

    async def _answer_tcp(self, writer: asyncio.StreamWriter, query: bytes) -> None:
        await self._pause(query)
        for wire in self._replies(query, by_tcp=True):
            if not writer.is_closing():
                writer.write(len(wire).to_bytes(2, "big") + wire)
                self.tcp_replies += 1

    async def answer_udp(self, query: bytes, address: tuple[str, int]) -> None:
        """Answer a datagram."""
        await self._pause(query)
        for wire in self._replies(query, by_tcp=False):
            if self._udp is not None:
                self._udp.sendto(wire, address)

    def datagram(self, query: bytes, address: tuple[str, int]) -> None:
        """A datagram came."""
        self.udp_queries += 1
        self.udp_ports.append(address[1])
        self.seen.append(query)
        self._spawn(self.answer_udp(query, address))

    def _replies(self, query: bytes, *, by_tcp: bool) -> list[bytes]:
        wires = self.reply(query, by_tcp)
        if wires is None:
            return []
        return wires if isinstance(wires, list) else [wires]

    async def _pause(self, query: bytes) -> None:
        delay_s = self.delay_s(query) if callable(self.delay_s) else self.delay_s
        if delay_s:
            await asyncio.sleep(delay_s)

    async def _close_later(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.close_after_s)
        writer.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: Nameserver) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, addr)


@contextlib.asynccontextmanager
async def nameserver(server: Nameserver | None = None) -> AsyncIterator[Nameserver]:
    """A running nameserver, stopped at the end."""
    server = server or Nameserver()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens: connections are refused."""
    with socket.socket() as sock:
        sock.bind((ADDRESS, 0))
        yield sock.getsockname()[1]


class BlackHole:
    """A port that swallows SYNs: it listens with its accept queue full, so Linux drops what comes."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind((ADDRESS, 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((ADDRESS, self.port))
            self._fillers.append(filler)

    def close(self) -> None:
        """Free the port."""
        for sock in (*self._fillers, self._listener):
            sock.close()
