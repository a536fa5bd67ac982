"""Flights: one upstream query each, and the asks of all workers that wait for it.

The C core takes the asks out of the rings, says which upstream query would answer each (`shd_taken.flight`), stores the
answer and replies; what is decided here is who waits for whom, and what happens when no answer comes. Everything
runs in the event loop's thread. Nothing is kept that the rings do not have as well, so a killed upstream process loses
no ask: the next one takes them all again.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Protocol

from shardns.core import ffi, lib
from shardns.dns import codes, names
from shardns.exchange import Failure, Outcome, Turn
from shardns.missline import Request
from shardns.upstream.local import Local

CData = Any  # cffi has no types for what it makes

TAKE = 4096 + 1024
"""Asks per take: a scan after a restart wants room for a whole ring (SHD_ASKS)."""
TAKEN = struct.Struct("=IIIHHHBBBB2x280s296s")
"""shd_taken: waiter, block, row, qtype, qclass, query_len, kind, name_len, over_tcp, has_opt, flight, query."""
PATIENCE_S = 1.8
"""How long a client waits for a fresh answer while there is a stale one (RFC 8767 s.5, client response timer)."""
HINFO = int(codes.Type.HINFO)
OURSELVES = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes((127, 0, 0, 1)))
"""The sockaddr that our own questions come from, for logs."""

assert ffi.sizeof("struct shd_taken") == TAKEN.size


class WireClient(Protocol):
    """A worker's end of the miss line."""

    def answer(self, request: Request, wire: bytes) -> None:
        """Queue the reply to request."""


@dataclass(frozen=True, slots=True)
class _Ourselves:
    """A client in this process."""

    done: Callable[[bytes], None]

    def answer(self, _request: Request, wire: bytes) -> None:
        """Hand the reply over."""
        self.done(wire)


class Flight:
    """One upstream query and who waits for it."""

    __slots__ = ("block", "is_late", "key", "over_tcp", "qtype", "query", "row", "waiters", "wires")

    def __init__(self, key: bytes, block: int, qtype: int, over_tcp: bool, query: bytes, row: int = 0) -> None:
        """Without anybody who waits."""
        self.key = key
        self.block = block
        self.row = row  # counters row of the first who asked
        self.qtype = qtype
        self.over_tcp = over_tcp
        self.query = query  # the whole message to ask upstream, id 0
        self.is_late = False  # clients get the stale answer at once: the first have waited long enough
        self.waiters: list[int] = []  # asks: slot << 12 | place
        self.wires: list[tuple[WireClient, Request]] = []  # TCP clients

    @property
    def name(self) -> str:
        """The name asked for, as text."""
        return names.from_wire(self.query, 12)


class Route(Protocol):
    """How the misses of one server block are answered (chain.py)."""

    stores: int | None  # enum shd_store bits; None: ask stores_of
    plugin: int  # enum shd_writer_plugin of answers
    stale: bool  # serve_stale is on
    patience_s: float  # seconds to wait for a fresh answer while there is a stale one; 0: PATIENCE_S

    def ask(self, flight: Flight, done: Callable[[Outcome], None]) -> None:
        """Get an answer; done is called exactly once, never from here."""

    def stores_of(self, name: str) -> int:
        """What may be stored for name (enum shd_store bits)."""

    def failed(self, flight: Flight, outcome: Outcome) -> None:
        """Report a flight without an answer (the errors plugin)."""


@dataclass(slots=True)
class FlightCounts:
    """For the metrics page; never reset while the process lives."""

    started: int = 0
    joined: int = 0
    failed: int = 0
    served_stale: int = 0
    open: int = 0


class Flights:
    """All flights of the upstream process."""

    def __init__(
        self,
        finish: CData,
        routes: Mapping[int, Route],
        *,
        loop: asyncio.AbstractEventLoop,
        seen_hinfo: Callable[[Flight], None],
        turn: Turn | None = None,
    ) -> None:
        """finish: a filled struct shd_finish. routes: by block index. seen_hinfo: told of every HINFO ask (loop)."""
        self._finish = finish
        self._routes = routes
        self._loop = loop
        self._seen_hinfo = seen_hinfo
        self._flights: dict[bytes, Flight] = {}
        self._taken = ffi.new("struct shd_taken[]", TAKE)
        self._taken_octets = memoryview(ffi.buffer(self._taken))
        self._more = ffi.new("int *")
        self._one = ffi.new("struct shd_taken *")
        self._out = ffi.new("uint8_t[65535]")
        self._turn = turn or Turn(loop)
        self._flush_due = False
        self._abandoned = False
        self.counts = FlightCounts()

    # ---- asks

    def take(self) -> bool:
        """Take what waits in the rings; True if it pays to look again soon: several came, or there may be more."""
        if self._abandoned:
            return False
        count = lib.shd_take(self._finish, monotonic_ns(), self._taken, TAKE, self._more)
        flights = self._flights
        for waiter, block, row, qtype, _class, query_len, kind, _len, over_tcp, _opt, key, query in TAKEN.iter_unpack(
            self._taken_octets[: count * TAKEN.size]
        ):
            flight = flights.get(key)
            if flight is None:
                flight = Flight(key, block, qtype, bool(over_tcp), query[:query_len], row)
                flight.waiters.append(waiter)
                self._start(flight, kind)
            else:
                flight.waiters.append(waiter)
                self.counts.joined += 1
                if flight.is_late:
                    self._lose_patience(flight)
            if qtype == HINFO:
                self._seen_hinfo(flight)
        lib.shd_finish_flush(self._finish)
        return count > 1 or bool(self._more[0])

    def take_wire(self, client: WireClient, request: Request) -> None:
        """Take one query of a TCP client."""
        if self._abandoned:
            return
        wire, peer, now_ns = request.wire, request.peer, monotonic_ns()
        length = lib.shd_take_wire(
            self._finish, wire, len(wire), request.listener, request.family, request.kind, peer, len(peer),
            request.arrived_ns, now_ns, self._one, self._out,
        )  # fmt: skip
        if length:
            if request.kind == lib.SHD_ASK_CLIENT:
                client.answer(request, bytes(ffi.buffer(self._out, length)) if length > 0 else b"")
            return
        _waiter, block, row, qtype, _class, query_len, _kind, _len, _tcp, _opt, key, query = TAKEN.unpack(
            ffi.buffer(self._one)
        )
        flight = self._flights.get(key)
        if flight is None:
            flight = Flight(key, block, qtype, True, query[:query_len], row)
            self._start(flight, request.kind)
        else:
            self.counts.joined += 1
        if request.kind == lib.SHD_ASK_CLIENT:
            flight.wires.append((client, request))
            if flight.is_late:
                self._lose_patience(flight)
        if qtype == HINFO:
            self._seen_hinfo(flight)

    def ask_ourselves(self, query: bytes, listener: int, done: Callable[[bytes], None]) -> None:
        """Ask as a TCP client of a listener would. done gets the reply, b"" for none, and is never called from here."""
        now_ns = monotonic_ns()
        request = Request(0, lib.SHD_ASK_CLIENT, listener, lib.SHD_IPV4, OURSELVES, now_ns, query)
        self._loop.call_soon(self.take_wire, _Ourselves(done), request)

    def abandon(self) -> None:
        """Take and answer nothing more: what is open stays in its ring, or with its worker, for our successor."""
        self._abandoned = True

    def waiting(self) -> bool:
        """Whether a ring holds something not taken; to be asked after `sleeping` was set."""
        return bool(lib.shd_take_waiting(self._finish))

    def _start(self, flight: Flight, kind: int) -> None:
        """Ask upstream for it."""
        self._flights[flight.key] = flight
        self.counts.started += 1
        self.counts.open = len(self._flights)
        route = self._routes[flight.block]
        if route.stale and kind == lib.SHD_ASK_CLIENT and self._recall(flight) == STALE:
            self._loop.call_later(route.patience_s or PATIENCE_S, self._lose_patience, flight)
        route.ask(flight, lambda outcome: self._landed(flight, outcome))

    # ---- answers

    def _landed(self, flight: Flight, outcome: Outcome) -> None:
        """The flight is over: store, reply, forget."""
        if self._abandoned:
            return
        self._flights.pop(flight.key, None)
        self.counts.open = len(self._flights)
        wire = outcome.wire
        if wire is None:
            self._fail(flight, outcome)
            return
        route = self._routes[flight.block]
        stores = route.stores
        plugin = route.plugin
        if isinstance(outcome, Local):
            plugin = outcome.writer
            if not outcome.is_kept:
                stores = 0
        if stores is None:
            stores = route.stores_of(flight.name)
        now_ns = monotonic_ns()
        kind = lib.shd_finish_accept(self._finish, wire, len(wire), flight.key, flight.block, stores, now_ns)
        if kind < 0:
            detail = (
                "dns: answer is for another question"
                if kind == lib.SHD_EMISMATCH
                else "dns: overflow unpacking message"
            )
            self._fail(flight, Outcome(None, outcome.upstream, Failure.MALFORMED, detail))
            return
        how = lib.SHD_FROM_UPSTREAM
        if route.stale and kind == lib.SHD_KIND_FAILURE:
            # A failure is the answer only if there is nothing better; what recall finds may be this very failure.
            found = self._recall(flight)
            if found == NOTHING or self._finish.entry.head.kind == lib.SHD_KIND_FAILURE:
                lib.shd_finish_accept(self._finish, wire, len(wire), flight.key, flight.block, 0, now_ns)
            else:
                how = lib.SHD_FROM_STALE if found == STALE else lib.SHD_FROM_TABLE
        self._reply(flight, how, -1, plugin)

    def _fail(self, flight: Flight, outcome: Outcome) -> None:
        """No answer came: a stale one if there is one, else SERVFAIL (REFUSED over max_concurrent)."""
        self.counts.failed += 1
        route = self._routes[flight.block]
        route.failed(flight, outcome)
        found = self._recall(flight) if route.stale else NOTHING
        if found != NOTHING:
            self._reply(flight, lib.SHD_FROM_STALE if found == STALE else lib.SHD_FROM_TABLE, -1, route.plugin)
            return
        refused = outcome.failure is Failure.MAX_CONCURRENT
        self._reply(
            flight, lib.SHD_FROM_UPSTREAM, codes.Rcode.REFUSED if refused else codes.Rcode.SERVFAIL, lib.SHD_BY_NONE
        )

    def _lose_patience(self, flight: Flight) -> None:
        """Clients have waited long enough: they get the stale answer, the flight goes on without them."""
        if self._flights.get(flight.key) is not flight:
            return
        flight.is_late = True
        if self._recall(flight) == STALE:
            self._reply(flight, lib.SHD_FROM_STALE, -1, self._routes[flight.block].plugin)
            flight.waiters, flight.wires = [], []

    def _recall(self, flight: Flight) -> int:
        """Make the stored answer the entry in hand: FRESH, STALE or NOTHING."""
        return int(lib.shd_finish_recall(self._finish, flight.key, flight.block, monotonic_ns()))

    def _reply(self, flight: Flight, how: int, rcode: int, plugin: int) -> None:
        """Reply to all who wait: rcode, or with the entry in hand if it is below 0."""
        now_ns = monotonic_ns()
        waiters = flight.waiters
        if how == lib.SHD_FROM_STALE:
            self.counts.served_stale += len(waiters) + len(flight.wires)
        if waiters:
            if rcode < 0:
                lib.shd_finish_reply(self._finish, waiters, len(waiters), how, plugin, now_ns)
            else:
                lib.shd_finish_error(self._finish, waiters, len(waiters), rcode, plugin, now_ns)
            self._flush_soon()
        for client, request in flight.wires:
            length = lib.shd_finish_wire(
                self._finish, request.wire, len(request.wire), request.listener, request.family, request.peer,
                len(request.peer), how, rcode, plugin, request.arrived_ns, now_ns, self._out,
            )  # fmt: skip
            client.answer(request, bytes(ffi.buffer(self._out, length)) if length > 0 else b"")

    def _flush_soon(self) -> None:
        """Send the replies of this turn of the loop together."""
        if not self._flush_due:
            self._flush_due = True
            self._turn.put_off(self._flush)

    def _flush(self) -> None:
        """Send what waits."""
        self._flush_due = False
        lib.shd_finish_flush(self._finish)


NOTHING, FRESH, STALE = 0, 1, 2
"""What shd_finish_recall says."""
