"""One TCP client (RFC 1035 s.4.2.2, RFC 7766): octets in, replies out, in whatever order they are ready.

All whole frames of a read are answered in one call of the core, and their replies sent in one write; misses go to the
upstream process and are answered as they come back. What a connection does next follows from four facts:

    unsent     replies that the peer did not take: nothing more is read or answered until it took them
    in_flight  misses without a reply: at IN_FLIGHT_MAX no further query is taken
    rest       octets read and not handled: the beginning of a frame, or frames that had to wait for the two above
    ending     nothing new is wanted: the connection closes once it owes its peer nothing

After every event `_settle` looks at them and goes on, waits or closes. Times and memory are watched by the server that
owns the connection; here is only what one connection does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from shardns.worker.frames import READ_MAX, Answering, Cdata, Stop

IN_FLIGHT_MAX: Final = 128  # misses of one connection
_WAITS: Final = 1  # enum shd_ask_kind: SHD_ASK_CLIENT, the one kind that has a reply


class Asking(Protocol):
    """The worker's end of the miss line."""

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
        """See missline.MissLine.ask."""


class Owner(Protocol):
    """What a connection needs of the server, and tells it."""

    loop: asyncio.AbstractEventLoop
    answering: Answering
    line: Asking
    clock_ns: Callable[[], int]

    def note_used(self, connection: Connection, now_ns: int) -> None:
        """Octets came from it, or replies went to it."""

    def note_owing(self, connection: Connection, since_ns: int) -> None:
        """It has to send the rest of a frame (or its first one) and we are reading; 0: it owes nothing."""

    def note_blocked(self, connection: Connection, since_ns: int) -> None:
        """It does not take its replies; 0: it took them all."""

    def note_held(self, connection: Connection, change: int) -> None:
        """It keeps more (or fewer) octets than before. May close a connection, this one or another."""

    def flush_soon(self, connection: Connection) -> None:
        """Call its flush at the end of this turn of the loop."""

    def note_closed(self, connection: Connection) -> None:
        """It is gone."""


class Connection:
    """One accepted connection, being read from the start."""

    __slots__ = (
        "_buffer",
        "_client",
        "_fd",
        "_frame_ended",
        "_is_discarding",
        "_is_owing",
        "_is_reading",
        "_owner",
        "_peer",
        "_peer_ended",
        "_refused",
        "_replies",
        "_rest",
        "_rest_is_whole",
        "_socket",
        "_unsent",
        "held",
        "in_flight",
        "is_closed",
        "is_ending",
        "used_ns",
    )

    def __init__(self, owner: Owner, accepted: socket.socket, client: Cdata, peer: bytes, now_ns: int) -> None:
        """Read accepted, which does not block. client and peer say who is there, to the core and to the miss line."""
        self._owner = owner
        self._socket = accepted
        # The loop gets the number: for a socket object that it does not know it makes a repr, with two system calls.
        self._fd = accepted.fileno()
        self._client = client
        self._peer = peer
        self._buffer = memoryview(owner.answering.buffer)
        self._rest = b""
        self._rest_is_whole = False  # rest may hold whole frames
        self._unsent = bytearray()
        self._replies: list[bytes] = []  # for flush
        self._peer_ended = False  # end of file was read
        self._refused = False  # a frame came that has no answer
        self._is_discarding = False
        self._is_reading = True
        self._is_owing = True  # as note_owing was told
        self._frame_ended = False  # since note_owing was told: what it owes is another frame
        self.is_ending = False
        self.is_closed = False
        self.in_flight = 0
        self.held = 0  # octets kept in rest and unsent
        self.used_ns = now_ns
        owner.note_owing(self, now_ns)
        owner.loop.add_reader(self._fd, self._readable)

    @property
    def is_idle(self) -> bool:
        """Whether closing it now would lose nothing that is known of."""
        return not (self.in_flight or self._unsent or self._replies or self._rest)

    def close(self) -> None:
        """Close at once; what is in flight is answered to nobody."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._is_reading:
            self._owner.loop.remove_reader(self._fd)
        if self._unsent:
            self._owner.loop.remove_writer(self._fd)
        self._socket.close()
        self._rest = b""
        self._unsent.clear()
        self._replies.clear()
        self._note_held()
        self._owner.note_closed(self)

    def finish(self) -> None:
        """Answer what has arrived by now, then close."""
        self.is_ending = True
        self._settle()

    # ---- reading

    def _readable(self) -> None:
        """One read: as many whole frames as it completes."""
        if self.is_closed or (self._unsent and not self._is_discarding):
            return
        kept = len(self._rest)
        if kept:
            self._buffer[:kept] = self._rest
        try:
            got = self._socket.recv_into(self._buffer[kept : kept + READ_MAX])
        except BlockingIOError:
            if self.is_ending and self.is_idle:
                self.close()
            return
        except OSError:
            self.close()
            return
        if self._is_discarding:
            if not got:
                self.close()
            return
        if got:
            now_ns = self._owner.clock_ns()
            self._owner.note_used(self, now_ns)
            self._answer(kept + got, now_ns)
        else:
            # The peer sends no more, but may well read what it asked for.
            self._peer_ended = self.is_ending = True
            self._keep(b"", is_whole=False)
        self._settle()

    def _answer(self, end: int, now_ns: int) -> None:
        """Answer the frames in the shared buffer up to end; keep what cannot be handled yet."""
        answering = self._owner.answering
        start = 0
        stop = Stop.MORE
        while stop == Stop.MORE and self._takes_queries():
            frames = answering.answer(self._client, start, end, now_ns, IN_FLIGHT_MAX - self.in_flight)
            if frames.out_len:
                self._send(answering.out[: frames.out_len])
                answering.count(self._client, self._owner.clock_ns() - now_ns)
            for i in range(frames.miss_count):
                self._ask(frames.misses[i], start, now_ns)
            start += frames.consumed
            stop = frames.stop
        if self.is_closed:
            return
        if stop == Stop.CLOSE:
            # Nothing after such a frame can be trusted to be one.
            self._refused = self.is_ending = True
            start = end
        self._keep(bytes(self._buffer[start:end]) if start < end else b"", is_whole=stop == Stop.MORE)
        self._frame_ended = self._frame_ended or start > 0

    def _ask(self, miss: Cdata, start: int, now_ns: int) -> None:
        """Hand one miss to the upstream process."""
        at = start + miss.at
        wire = bytes(self._buffer[at : at + miss.len])
        client = self._client
        done = None
        if miss.kind == _WAITS:
            self.in_flight += 1
            done = partial(self._answered, wire, now_ns)
        self._owner.line.ask(miss.kind, client.listener, client.family, self._peer, now_ns, wire, done)

    # ---- writing

    def _answered(self, wire: bytes, arrived_ns: int, reply: bytes | None) -> None:
        """A miss has its reply, or none: it is sent by flush, together with the others of this turn."""
        self.in_flight -= 1
        if self.is_closed:
            return
        if reply is None:
            answering = self._owner.answering
            length = answering.fail(self._client, wire, self._owner.clock_ns() - arrived_ns)
            self._replies.append(bytes(answering.out[:length]))
        elif reply:
            self._replies.append(len(reply).to_bytes(2, "big") + reply)
        self._owner.flush_soon(self)

    def flush(self) -> None:
        """Send the replies that came back, then go on with what had to wait for them."""
        if self.is_closed:
            return
        if self._replies:
            octets = b"".join(self._replies)
            self._replies.clear()
            self._owner.note_used(self, self._owner.clock_ns())
            self._send(octets)
        self._settle()

    def _send(self, octets: bytes | memoryview) -> None:
        """Send what the socket takes, and keep the rest for when it takes more."""
        if self._unsent:
            self._unsent += octets
            self._note_held()
            return
        try:
            sent = self._socket.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(octets):
            self._unsent += memoryview(octets)[sent:]
            self._owner.loop.add_writer(self._fd, self._writable)
            self._owner.note_blocked(self, self._owner.clock_ns())
            self._note_held()

    def _writable(self) -> None:
        """Send more of what was left."""
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._unsent[:sent]
        self._note_held()
        if not self._unsent and not self.is_closed:
            self._owner.loop.remove_writer(self._fd)
            self._owner.note_blocked(self, 0)
            self._owner.note_used(self, self._owner.clock_ns())
            self._settle()

    # ---- after every event

    def _settle(self) -> None:
        """Go on with what was kept, wait for more, or close."""
        while self._rest_is_whole and self._takes_queries():
            end = len(self._rest)
            self._buffer[:end] = self._rest
            self._answer(end, self._owner.clock_ns())
        if self.is_closed:
            return
        if self.is_ending and not (self.in_flight or self._unsent or self._replies):
            self._end()
            return
        self._set_reading(self._takes_queries() and not self._peer_ended and not self._refused)
        self._note_owing()

    def _takes_queries(self) -> bool:
        """Whether one more query may be answered or asked."""
        return not self._unsent and self.in_flight < IN_FLIGHT_MAX and not self.is_closed

    def _end(self) -> None:
        """The peer is owed nothing: close, but not before what it may have sent by now was looked at."""
        if self._refused:
            # Closing while octets wait unread would reset the connection and take the last replies with it.
            self._discard()
        elif self._peer_ended or self._rest:
            self.close()
        else:
            self._owner.loop.call_soon(self._readable)

    def _discard(self) -> None:
        """Close our side, and throw away what comes until the peer closes its own or has had its time."""
        if self._is_discarding:
            return
        self._is_discarding = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._owner.note_owing(self, self._owner.clock_ns())
        self._set_reading(True)

    def _set_reading(self, wanted: bool) -> None:
        """Have the loop watch for octets, or not."""
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._owner.loop.add_reader(self._fd, self._readable)
        else:
            self._owner.loop.remove_reader(self._fd)

    def _note_owing(self) -> None:
        """Tell the server when the peer began to owe the rest of a frame; while nothing is read it owes nothing."""
        is_owing = self._is_reading and bool(self._rest)
        if is_owing and (self._frame_ended or not self._is_owing):
            self._owner.note_owing(self, self._owner.clock_ns())
        elif self._is_owing and not is_owing:
            self._owner.note_owing(self, 0)
        self._is_owing = is_owing
        self._frame_ended = False

    def _keep(self, rest: bytes, *, is_whole: bool) -> None:
        """Keep octets for later."""
        self._rest_is_whole = is_whole and bool(rest)
        if rest or self._rest:
            self._rest = rest
            self._note_held()

    def _note_held(self) -> None:
        """Tell the server how much is kept, when that changed."""
        change = len(self._rest) + len(self._unsent) - self.held
        if change:
            self.held += change
            self._owner.note_held(self, change)
