"""The miss line: how a worker's TCP clients' misses reach the upstream process, and how the answers come back.

A Unix stream socket carries msgpack values, one after the other, in both directions:

    worker -> upstream    [id, kind, listener, family, peer, arrived_ns, wire]
    upstream -> worker    [id, reply]

Many requests are in flight at once and are answered in any order. `id` is the worker's own and comes back untouched;
the upstream process answers every request of kind CLIENT exactly once, and no other. It counts (and logs) the replies
it makes, as it does for UDP; an empty `reply` means that the client gets none.

The two readers and packers are pure. MissLine is the worker's end: it keeps every request until it is answered, and
sends it again when the upstream process was restarted, so a miss is late then, not lost. What is bounded there: how
many wait, how many octets they hold, how long one waits, and how often it is sent: a query that kills the upstream
process must not kill it for ever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from shardns.errors import Malformed

MAX_MESSAGE = 65535  # octets of a DNS message (RFC 1035 s.4.2.2)
MAX_BUFFERED = 1 << 20  # octets of one value that has not arrived whole; a value holds one message
READ_OCTETS = 1 << 18  # asked for per read: a burst of some hundred answers in one call
MAX_WAITING = 4096  # requests; as many as a worker's ask ring has places
MAX_WAITING_OCTETS = 8 << 20  # of requests: 4,096 of the usual 60 octets need 0.3 MiB, so only hostile ones get here
MAX_QUEUED_UNKEPT = 256  # requests queued beyond which one that nobody waits for is dropped
MAX_SENT = 3  # times a request is sent: twice it may have had bad luck
ANSWER_NS = 10_000_000_000  # after this a request has failed; the upstream process itself gives up after half of it
BACKOFF_S = (
    0.0,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
)  # before the n-th attempt in a row to connect; the last for all further ones


class Request(NamedTuple):
    """A TCP client's miss."""

    id: int  # chosen by the worker, unique on its line
    kind: int  # enum shd_ask_kind: whether a client waits, or an entry is only to be renewed
    listener: int  # permanent index of the listen address
    family: int  # enum shd_family of the client
    peer: bytes  # the client's address as a sockaddr
    arrived_ns: int  # CLOCK_MONOTONIC when the query was read
    wire: bytes  # the whole query as received


class Answer(NamedTuple):
    """What one client is to be sent."""

    id: int
    wire: bytes  # the whole reply, the client's id included; empty: none


# ------------------------------------------------------------------------------------------------------- codecs, pure

_REQUEST_TYPES = (int, int, int, int, bytes, int, bytes)
_ANSWER_TYPES = (int, bytes)
_packer = msgpack.Packer(autoreset=True)


def pack_request(request: Request) -> bytes:
    """The request as it goes over the line."""
    return _packed(request)


def pack_answer(id_: int, wire: bytes | bytearray | memoryview) -> bytes:
    """The answer as it goes over the line. wire is copied; it may be a view of a buffer that is used again."""
    return _packed((id_, wire))


class RequestReader:
    """The upstream process's end: bytes in, requests out."""

    def __init__(self) -> None:
        """Start at the beginning of a connection."""
        self._stream = _Stream(_REQUEST_TYPES)

    def feed(self, octets: bytes | bytearray | memoryview) -> list[Request]:
        """The requests that octets complete, in order. Raises Malformed for anything else: close the line then."""
        return [Request._make(value) for value in self._stream.feed(octets)]


class AnswerReader:
    """The worker's end: bytes in, answers out."""

    def __init__(self) -> None:
        """Start at the beginning of a connection."""
        self._stream = _Stream(_ANSWER_TYPES)

    def feed(self, octets: bytes | bytearray | memoryview) -> list[Answer]:
        """The answers that octets complete, in order. Raises Malformed for anything else: close the line then."""
        return [Answer._make(value) for value in self._stream.feed(octets)]


class _Stream:
    """Cuts octets into msgpack arrays of one shape."""

    def __init__(self, types: tuple[type, ...]) -> None:
        """Accept arrays whose items have exactly these types."""
        self._types = types
        self._unpacker = _unpacker()

    def feed(self, octets: bytes | bytearray | memoryview) -> list[tuple[object, ...]]:
        """Every value that is whole by now."""
        types = self._types
        values: list[tuple[object, ...]] = []
        try:
            self._unpacker.feed(octets)
            for value in self._unpacker:
                if type(value) is not tuple or tuple(map(type, value)) != types:
                    raise Malformed("miss line: a value of another shape")
                values.append(value)
        except (msgpack.UnpackException, ValueError) as error:
            raise Malformed(f"miss line: {error}") from error
        return values


def _packed(value: tuple[object, ...]) -> bytes:
    """msgpack's octets of a value. One packer per process: building one costs more than using it."""
    octets: bytes = _packer.pack(value)
    return octets


def _unpacker() -> msgpack.Unpacker:
    """A reader that makes tuples, trusts no length and takes no type we do not use."""
    return msgpack.Unpacker(
        use_list=False,
        raw=False,
        strict_map_key=True,
        max_buffer_size=READ_OCTETS + MAX_BUFFERED,
        max_bin_len=MAX_MESSAGE,
        max_str_len=0,
        max_map_len=0,
        max_ext_len=0,
        max_array_len=len(_REQUEST_TYPES),
    )


# ------------------------------------------------------------------------------------------------- the worker's end

Done = Callable[[bytes | None], None]


@dataclass(slots=True)
class _Waiting:
    """A request that has no answer yet."""

    octets: bytes  # as packed
    done: Done
    until_ns: int
    sent: int  # on how many connections


class MissLine:
    """The worker's end of the line: `ask` in, `done` out, exactly once for each.

    Connects when first needed, and again whenever the line breaks while something waits. Everything runs in the loop's
    thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str | bytes, *, clock_ns: Callable[[], int]) -> None:
        """address: what the upstream process's listening socket gave as getsockname(). clock_ns: CLOCK_MONOTONIC."""
        self._loop = loop
        self._address = address
        self._clock_ns = clock_ns
        self._socket: socket.socket | None = None
        self._reader = AnswerReader()
        self._waiting: dict[int, _Waiting] = {}  # by id; ids grow, so the first is the oldest
        self._waiting_octets = 0
        self._next_id = 0
        self._queue: list[bytes] = []  # packed, for the flush at the end of this turn
        self._flush_due = False
        self._unsent = bytearray()  # what the socket did not take
        self._attempts = 0  # to connect, since the last answer
        self._retry: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.resent = 0  # requests sent once more, for tests and diagnosis
        self.failed = 0  # requests that ended without an answer

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def ask(
        self, kind: int, listener: int, family: int, peer: bytes, arrived_ns: int, wire: bytes, done: Done | None
    ) -> None:
        """Hand a miss to the upstream process.

        done gets the reply, or None when there will be none (it was given up, or too many wait); it is called once,
        never from within `ask`. Without done nobody waits: the request is dropped where one would have to be kept.
        """
        self._next_id += 1
        octets = _packed((self._next_id, kind, listener, family, peer, arrived_ns, wire))
        if done is not None:
            if (
                len(self._waiting) >= MAX_WAITING
                or self._waiting_octets + len(octets) > MAX_WAITING_OCTETS
                or self._is_closed
            ):
                self.failed += 1
                self._loop.call_soon(done, None)
                return
            self._waiting[self._next_id] = _Waiting(octets, done, self._clock_ns() + ANSWER_NS, 0)
            self._waiting_octets += len(octets)
            if self._socket is not None:
                self._waiting[self._next_id].sent = 1
                self._queue.append(octets)
        elif not self._unsent and len(self._queue) < MAX_QUEUED_UNKEPT:
            self._queue.append(octets)
        if self._socket is None:
            self._connect_soon()
        else:
            self._flush_soon()

    def expire(self) -> None:
        """Give up what has waited too long. To be called about once a second."""
        now_ns = self._clock_ns()
        late = []
        for id_, waiting in self._waiting.items():
            if waiting.until_ns > now_ns:
                break
            late.append(id_)
        self._give_up(late)

    def close(self) -> None:
        """Close the line for good and give up all that waits."""
        self._is_closed = True
        self._disconnect()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._give_up(list(self._waiting))

    def _give_up(self, ids: list[int]) -> None:
        """Tell each of them that no answer will come."""
        for id_ in ids:
            waiting = self._waiting.pop(id_)
            self._waiting_octets -= len(waiting.octets)
            self.failed += 1
            waiting.done(None)

    # ---- connecting

    def _connect_soon(self) -> None:
        """Connect now or, after a failure, a little later; nothing if that is already under way."""
        if self._retry is None and self._socket is None and not self._is_closed:
            delay_s = BACKOFF_S[min(self._attempts, len(BACKOFF_S) - 1)]
            self._attempts += 1
            self._retry = self._loop.call_later(delay_s, self._connect)

    def _connect(self) -> None:
        """One attempt. The supervisor holds the listening socket, which outlives the upstream process."""
        self._retry = None
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.setblocking(False)
        try:
            line.connect(self._address)
        except OSError:
            line.close()
            self._queue.clear()
            if self._waiting:
                self._connect_soon()
            return
        self._socket = line
        self._reader = AnswerReader()
        self._loop.add_reader(line.fileno(), self._readable)
        self._send_waiting()

    def _send_waiting(self) -> None:
        """All that waits goes over the new connection, but for what was sent too often."""
        self._give_up([id_ for id_, waiting in self._waiting.items() if waiting.sent >= MAX_SENT])
        for waiting in self._waiting.values():
            self.resent += waiting.sent > 0
            waiting.sent += 1
            self._queue.append(waiting.octets)
        self._flush_soon()

    def _disconnect(self) -> None:
        """Forget the connection and what was on its way; what waits is kept."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._queue.clear()
        self._unsent.clear()

    def _broken(self) -> None:
        """The other end is gone: connect again if something waits."""
        self._disconnect()
        if self._waiting:
            self._connect_soon()

    # ---- octets

    def _readable(self) -> None:
        """Hand out the answers of one read."""
        if self._socket is None:
            return
        try:
            octets = self._socket.recv(READ_OCTETS)
            answers = self._reader.feed(octets)
        except BlockingIOError:
            return
        except (OSError, Malformed):
            octets = b""
            answers = []
        if not octets:
            self._broken()
            return
        if answers:
            self._attempts = 0
        for id_, wire in answers:
            waiting = self._waiting.pop(id_, None)
            if waiting is not None:
                self._waiting_octets -= len(waiting.octets)
                waiting.done(wire)

    def _flush_soon(self) -> None:
        """Write at the end of this turn of the loop, all requests of the turn in one call."""
        if not self._flush_due and not self._unsent and self._queue:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send the queue; keep what the socket does not take until it is writable."""
        self._flush_due = False
        if self._socket is None or self._unsent or not self._queue:
            return
        octets = b"".join(self._queue)
        self._queue.clear()
        sent = self._send(octets)
        if 0 <= sent < len(octets):
            self._unsent += memoryview(octets)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        """Send more of what was left."""
        if self._socket is None:
            return
        self._unsent += b"".join(self._queue)
        self._queue.clear()
        sent = self._send(self._unsent)
        if sent < 0:
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _send(self, octets: bytes | bytearray) -> int:
        """Octets taken by the socket; -1 when the line broke."""
        assert self._socket is not None
        try:
            return self._socket.send(octets)
        except BlockingIOError:
            return 0
        except OSError:
            self._broken()
            return -1
