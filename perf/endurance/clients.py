"""The clients of the long run: each asks in a thread of its own and checks every reply."""

from __future__ import annotations

import contextlib
import itertools
import random
import selectors
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from tests.peers import wire
from tests.peers.fake import address_of

WAIT_S = 12.0  # then a query is lost; shardns itself gives up after 10 s
OUTAGE_GRACE_S = 2.0  # after an outage: until the nameserver is known to be back, SERVFAIL is right
ENDING_GRACE_S = 1.0  # after a worker's end: until its connections are known to be gone
SOCKETS = 16
HOT_NAMES = 200
ZONE = "soak.test"


@dataclass
class Windows:
    """Times (CLOCK_MONOTONIC) in which something was wrong on purpose."""

    spans: list[list[float]] = field(default_factory=list)

    def begin(self, now: float) -> None:
        """From now until end()."""
        self.spans.append([now, float("inf")])

    def end(self, now: float) -> None:
        """The last span is over."""
        self.spans[-1][1] = now

    def touches(self, begin: float, end: float, grace_s: float) -> bool:
        """Whether a span, prolonged by grace_s, and the given one have a moment in common."""
        return any(since <= end and begin <= until + grace_s for since, until in list(self.spans))


@dataclass
class Chaos:
    """What was done on purpose, for clients to judge by."""

    outages: Windows = field(default_factory=Windows)  # of the nameserver: SERVFAIL is right
    endings: Windows = field(default_factory=Windows)  # of workers: their TCP connections end with them


@dataclass(frozen=True)
class Question:
    """A query and what its answer must be."""

    message: bytes
    name: bytes
    kind: int
    rcode: int
    is_hot: bool = False  # in the cache, so that no outage is an excuse

    def fault(self, reply: bytes) -> str:
        """What is wrong with a reply; empty for the right one. "servfail" is for the caller to judge."""
        end = 12 + len(self.name)
        if len(reply) < end + 4 or not reply[2] & 0x80:
            return "no reply at all"
        if reply[:2] != self.message[:2] or reply[12 : end + 4] != self.message[12 : end + 4]:
            return "another question"
        if reply[3] & 15 == 2:
            return "servfail"
        if reply[3] & 15 != self.rcode:
            return f"rcode {reply[3] & 15}"
        answers = int.from_bytes(reply[6:8])
        if self.rcode or self.kind != wire.A:
            return "" if answers == 0 else "an answer where there is none"
        # One A record behind a compressed owner name.
        address = reply[end + 4 + 12 : end + 4 + 16]
        return "" if answers == 1 and address == address_of(self.name) else "another address"


def question(number: int, ident: int, *, hot: bool) -> Question:
    """Query number `number` of a stream: of hot names all A; else some AAAA, some NXDOMAIN. EDNS, DO and case vary."""
    label = f"h{number % HOT_NAMES}" if hot else f"{'nx' if number % 10 == 1 else 'm'}{number}"
    kind = wire.AAAA if not hot and number % 10 == 2 else wire.A
    text = f"{label}.{ZONE}"
    if number % 7 == 3:
        text = text.upper()
    extra = wire.opt(do=number % 3 == 0) if number % 2 else b""
    message = wire.query(text, kind, ident=ident, extra=extra)
    return Question(message, wire.name(text), kind, 3 if label.startswith("nx") else 0, hot)


class Client(threading.Thread):
    """What all have in common: counts, findings, and an end."""

    what: ClassVar[str] = ""

    def __init__(self, port: int, chaos: Chaos, began: float) -> None:
        super().__init__(name=self.what, daemon=True)
        self.port, self.chaos, self.began = port, chaos, began
        self.stopped = threading.Event()
        self.sent = self.right = self.excused = 0
        self.findings: list[str] = []
        self.slowest_s = 0.0

    def stop(self) -> None:
        """Ask no more; the thread ends once everything is answered or lost."""
        self.stopped.set()

    def find(self, what: str, since: float) -> None:
        """Note what must not be, with the time of the query."""
        self.findings.append(f"{self.what}: {what}, asked at {since - self.began:.2f} s")

    def judge(self, asked: Question, reply: bytes, since: float) -> None:
        """Count one reply."""
        now = time.monotonic()
        fault = asked.fault(reply)
        if fault == "servfail" and not asked.is_hot and self.chaos.outages.touches(since, now, OUTAGE_GRACE_S):
            self.excused += 1
        elif fault:
            self.find(f"wrong: {fault} for {asked.name!r}", since)
        else:
            self.right += 1
            self.slowest_s = max(self.slowest_s, now - since)


class Datagrams(Client):
    """An open loop by UDP: a query leaves when its time has come, and is sent once."""

    rate: ClassVar[float]
    is_hot: ClassVar[bool]

    def run(self) -> None:
        """Until stopped, and then until all is answered or lost."""
        selector = selectors.DefaultSelector()
        self.open: dict[tuple[int, int], tuple[float, Question]] = {}
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(_datagram_socket(self.port)) for _ in range(SOCKETS)]
            for sock in sockets:
                selector.register(sock, selectors.EVENT_READ)
            start, number = time.monotonic(), 0
            while not self.stopped.is_set() or self.open:
                now = time.monotonic()
                while not self.stopped.is_set() and start + number / self.rate <= now:
                    self._send(sockets[number % SOCKETS], number)
                    number += 1
                for key, _ in selector.select(0.005):
                    assert isinstance(key.fileobj, socket.socket)
                    self._receive(key.fileobj)
                self._give_up(now)

    def _send(self, sock: socket.socket, number: int) -> None:
        ident = number // SOCKETS & 0xFFFF
        asked = question(number, ident, hot=self.is_hot)
        self.open[sock.fileno(), ident] = (time.monotonic(), asked)
        with contextlib.suppress(ConnectionRefusedError):
            sock.send(asked.message)
        self.sent += 1

    def _receive(self, sock: socket.socket) -> None:
        while True:
            try:
                reply = sock.recv(4096)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            # A reply that comes twice is allowed: a process may die between replying and saying so.
            since, asked = self.open.pop((sock.fileno(), int.from_bytes(reply[:2])), (0.0, None))
            if asked is not None:
                self.judge(asked, reply, since)

    def _give_up(self, now: float) -> None:
        """Queries are open in the order they were asked, so the first is the oldest."""
        for key in list(itertools.takewhile(lambda key: now - self.open[key][0] > WAIT_S, self.open)):
            since, asked = self.open.pop(key)
            self.find(f"lost: {asked.name!r}", since)


class Hits(Datagrams):
    """Names that are in the cache."""

    what, rate, is_hot = "hits", 700.0, True


class Misses(Datagrams):
    """Names that nobody has asked before."""

    what, rate, is_hot = "misses", 120.0, False


class Streams(Client):
    """Pipelined queries on TCP connections that stay. Where a worker's end has cut one, another is made and asked."""

    what = "TCP"
    connections: ClassVar[int] = 6
    at_once: ClassVar[int] = 8

    def run(self) -> None:
        """Until stopped."""
        numbers = itertools.count()
        with contextlib.ExitStack() as stack:
            streams = [_Stream(self.port) for _ in range(self.connections)]
            for stream in streams:
                stack.callback(stream.close)
            while not self.stopped.is_set():
                for stream in streams:
                    first = next(numbers) * self.at_once
                    batch = [
                        question(1_000_000 + number, number & 0xFFFF, hot=number % 4 > 0)
                        for number in range(first, first + self.at_once)
                    ]
                    self._ask(stream, batch)
                self.stopped.wait(0.05)

    def _ask(self, stream: _Stream, batch: list[Question]) -> None:
        """Ask until each is answered; a connection may end twice meanwhile, if workers were killed or replaced."""
        since = time.monotonic()
        self.sent += len(batch)
        left = {asked.message[:2]: asked for asked in batch}
        for _ in range(6):
            try:
                stream.send(asked.message for asked in left.values())
                while left:
                    reply = stream.receive()
                    asked = left.pop(reply[:2], None)
                    if asked is not None:
                        self.judge(asked, reply, since)
                return
            except TimeoutError:
                break
            except OSError as error:
                stream.close()
                # It may have ended at any time since it was last seen alive.
                if not self.chaos.endings.touches(stream.alive_at, time.monotonic(), ENDING_GRACE_S):
                    self.find(f"a connection ended though no worker did: {error}", since)
        stream.close()
        for asked in left.values():
            self.find(f"lost: {asked.name!r}", since)


class _Stream:
    """A connection that is made when it is needed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock: socket.socket | None = None
        self.buffer = b""
        self.alive_at = time.monotonic()

    def close(self) -> None:
        """The next send() makes a new one."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.buffer = None, b""

    def send(self, messages: Iterable[bytes]) -> None:
        """Raises OSError."""
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
            self.alive_at = time.monotonic()
        self.sock.sendall(b"".join(wire.frame(message) for message in messages))

    def receive(self) -> bytes:
        """The next reply. Raises OSError."""
        assert self.sock is not None
        while len(self.buffer) < 2 or len(self.buffer) < 2 + int.from_bytes(self.buffer[:2]):
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionResetError("closed by the server")
            self.buffer += chunk
            self.alive_at = time.monotonic()
        end = 2 + int.from_bytes(self.buffer[:2])
        reply, self.buffer = self.buffer[2:end], self.buffer[end:]
        return reply


class Odd(Client):
    """What no client should send. Nothing is expected back; that the others are still served is what counts."""

    what = "odd packets"
    rate: ClassVar[float] = 25.0

    def run(self) -> None:
        """Until stopped."""
        chance = random.Random(int(self.began))
        with _datagram_socket(self.port) as sock:
            while not self.stopped.wait(1 / self.rate):
                packet = odd(chance)
                with contextlib.suppress(OSError):
                    sock.send(packet)
                    sock.recv(4096)
                if chance.random() < 0.1:
                    self._send_stream(packet, chance)
                self.sent += 1

    def _send_stream(self, packet: bytes, chance: random.Random) -> None:
        """A frame that is shorter or longer than it says, and an abrupt end."""
        size = max(0, len(packet) + chance.choice((-3, 0, 0, 40)))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
            sock.sendall(size.to_bytes(2) + packet)
            sock.shutdown(socket.SHUT_WR)


def odd(chance: random.Random) -> bytes:
    """A good query with octets changed, cut or added; or noise."""
    packet = bytearray(question(chance.randrange(10_000), chance.randrange(65536), hot=True).message)
    match chance.randrange(5):
        case 0:
            return chance.randbytes(chance.randrange(600))
        case 1:
            return bytes(packet[: chance.randrange(len(packet))])
        case 2:
            return bytes(packet) + chance.randbytes(chance.randrange(1, 300))
        case 3:
            packet[chance.randrange(2, 12)] ^= 1 << chance.randrange(8)
        case _:
            for _ in range(chance.randrange(1, 4)):
                packet[chance.randrange(12, len(packet))] = chance.randrange(256)
    return bytes(packet)


def _datagram_socket(port: int) -> socket.socket:
    """Connected and not blocking, with room for the replies of a stall."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock
