"""The operator's socket: look into the cache, throw out of it, see the counters, ask for a reload.

operator_client.py draws the protocol. Long answers are made in steps between which the event loop answers misses, and
at the pace at which the client reads them. What the operations do is given to the server (Operations), so that this
file knows sockets and no table.

Only root and the user who started the supervisor may ask: the socket may be in the abstract namespace, which has no
permissions and is shared by every process in the same network namespace.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgpack

from shardns.dns import codes, names
from shardns.log import get_logger
from shardns.upstream.operator_client import LEND_S, REQUEST_MAX, Item, OperatorError

CONNECTIONS_MAX: Final = 8
IDLE_S: Final = 60.0  # between two requests
READ_S: Final = 10.0  # for a client to take what was sent
STEP: Final = 64  # items between two turns of the event loop

log = get_logger()


@dataclass(frozen=True, slots=True)
class Question:
    """What to look up."""

    name: str
    """Normalised."""
    qtype: int
    """0: every type that has a name."""
    zone: str
    """Normalised; only the server blocks that serve it. Empty: all."""


class Operations(Protocol):
    """What the upstream process can do for an operator.

    Iterators give None where a step of work is done without a result: the event loop then turns.
    """

    table_fd: int
    """A descriptor of the table, read-only. Whoever writes to the table does so from this event loop."""

    def lookup(self, question: Question) -> Iterator[Item | None]:
        """The cached answers to a question, with records."""

    def dump(self, zone: str, *, records: bool) -> Iterator[Item | None]:
        """The entries at and below zone."""

    def flush(self, name: str, *, below: bool) -> Iterator[int]:
        """Throw out the entries of name, and (below) of all names below it; how many, step by step."""

    def stats(self) -> Mapping[str, object]:
        """Numbers by name."""

    def about(self) -> Mapping[str, object]:
        """What is served, and by whom."""

    def reload(self) -> None:
        """Ask the supervisor for a reload."""


def allowed_uids() -> frozenset[int]:
    """Root, and the user who runs the supervisor (our parent); root alone where /proc does not say."""
    try:
        return frozenset({0, Path(f"/proc/{os.getppid()}").stat().st_uid})
    except OSError:
        return frozenset({0})


def peer_uid(sock: socket.socket) -> int:
    """The uid of the process at the other end of a Unix socket, when it connected (unix(7), SO_PEERCRED)."""
    credentials = struct.Struct("3i")
    _pid, uid, _gid = credentials.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return int(uid)


class OperatorServer:
    """Answers operators on a listening Unix stream socket."""

    def __init__(self, operations: Operations, uids: Collection[int]) -> None:
        """uids: who may ask."""
        self._operations = operations
        self._uids = uids
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket, which is ours from now on."""
        self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=REQUEST_MAX)

    def close(self) -> None:
        """Accept nothing more and cut what is under way."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            uid = peer_uid(writer.get_extra_info("socket"))
            if uid not in self._uids:
                log.warning("operator.refused", uid=uid)
                await _send(writer, {"error": f"uid {uid} may not operate this process"})
            elif len(self._tasks) > CONNECTIONS_MAX:
                await _send(writer, {"error": f"{CONNECTIONS_MAX} operators are connected already"})
            else:
                await self._serve(reader, writer)
        except (OSError, TimeoutError):
            pass  # the operator went away, or stopped reading
        except asyncio.CancelledError:
            writer.transport.abort()  # close() cut it: this is its end, and nobody waits for it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other, until the operator goes or is idle for too long."""
        unpacker = msgpack.Unpacker(max_buffer_size=REQUEST_MAX)
        while data := await asyncio.wait_for(reader.read(REQUEST_MAX), IDLE_S):
            try:
                unpacker.feed(data)
                requests = list(unpacker)
            except (ValueError, msgpack.UnpackException):
                await _send(writer, {"error": "a request is a msgpack map, and a short one"})
                return
            for request in requests:
                await self._answer(request, writer)

    async def _answer(self, request: object, writer: asyncio.StreamWriter) -> None:
        """One request."""
        if isinstance(request, dict) and request.get("op") == "lend":
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
                _lend(sock, self._operations.table_fd)
            return
        try:
            steps = self._steps(request)
            done: Item = {}
            packed: list[bytes] = []
            for count, item in enumerate(steps(done), 1):
                if item is not None:
                    packed.append(msgpack.packb({"item": item}))
                if count % STEP == 0:
                    await _write(writer, packed)
            packed.append(msgpack.packb({"done": done}))
            await _write(writer, packed)
        except (OperatorError, ValueError) as error:
            await _send(writer, {"error": str(error)})

    def _steps(self, request: object) -> Callable[[Item], Iterator[Item | None]]:
        """What answers a request: makes the items, and fills in how it ended. Raises OperatorError, ValueError."""
        operations = self._operations
        if not isinstance(request, dict):
            raise OperatorError("a request is a msgpack map")
        fields = _Fields(request)
        match fields.text("op"):
            case "lookup":
                qtype = fields.text("type")
                question = Question(
                    fields.name("name"), codes.type_value(qtype) if qtype else 0, fields.name("zone", optional=True)
                )
                return lambda _done: operations.lookup(question)
            case "dump":
                zone, records = fields.name("zone", optional=True) or ".", fields.truth("records")
                return lambda _done: operations.dump(zone, records=records)
            case "flush":
                below = "name" not in request
                name = fields.name("zone" if below else "name")
                return lambda done: _counted(operations.flush(name, below=below), name, done)
            case "stats":
                return lambda done: _filled(done, operations.stats())
            case "about":
                return lambda done: _filled(done, operations.about())
            case "reload":
                operations.reload()
                return lambda _done: iter(())
            case "copied":
                raise OperatorError(f"the copy took more than {LEND_S:g} s: the table has been written to since")
            case other:
                known = "lookup, dump, flush, stats, about, reload and lend"
                raise OperatorError(f"unknown operation {other!r}; there are {known}")


class _Fields:
    """A request's fields, checked. Methods raise OperatorError."""

    def __init__(self, request: Mapping[Any, object]) -> None:
        self._request = request

    def text(self, key: str) -> str:
        """A text; empty when it is missing."""
        value = self._request.get(key, "")
        if not isinstance(value, str):
            raise OperatorError(f"{key} is a text")
        return value

    def truth(self, key: str) -> bool:
        """A yes or no; no when it is missing."""
        value = self._request.get(key, False)
        if not isinstance(value, bool):
            raise OperatorError(f"{key} is true or false")
        return value

    def name(self, key: str, *, optional: bool = False) -> str:
        """A domain name, normalised."""
        text = self.text(key)
        if not text and optional:
            return ""
        try:
            return names.normalize(text)
        except ValueError as error:
            raise OperatorError(f"{key}: {error}") from error


def _counted(steps: Iterator[int], name: str, done: Item) -> Iterator[None]:
    """The steps of a flush; adds up in done what was removed, and says in the log that it was."""
    done["removed"] = 0
    for removed in steps:
        done["removed"] += removed
        yield None
    log.info("table.flushed", name=name, removed=done["removed"])


def _filled(done: Item, facts: Mapping[str, object]) -> Iterator[None]:
    """No items; the facts are the end of the answer."""
    done.update(facts)
    return iter(())


def _lend(sock: socket.socket, table_fd: int) -> None:
    """Let another instance copy the table. Waits for that LEND_S at most, and the event loop with it: nobody writes.

    Raises OSError for one that goes away or says something else.
    """
    socket.send_fds(sock, [msgpack.packb({"lent": True})], [table_fd])
    readable = select.poll()
    readable.register(sock, select.POLLIN)
    if not readable.poll(LEND_S * 1000):
        return  # what it says later is answered then
    if sock.recv(REQUEST_MAX) != msgpack.packb({"op": "copied"}):
        raise ConnectionError("not what was agreed")
    sock.send(msgpack.packb({"done": {}}))
    log.info("table.lent")


async def _send(writer: asyncio.StreamWriter, message: Item) -> None:
    """Send one message."""
    await _write(writer, [msgpack.packb(message)])


async def _write(writer: asyncio.StreamWriter, packed: list[bytes]) -> None:
    """Send what is packed, let the event loop turn, and wait until the client has taken enough of it."""
    writer.write(b"".join(packed))
    packed.clear()
    await asyncio.sleep(0)
    await asyncio.wait_for(writer.drain(), READ_S)
