"""The operator's socket, from the side of the command line. Synchronous, and without asyncio: a subcommand starts fast.

A Unix stream socket carries msgpack values, one after the other:

    client -> upstream process    {"op": "lookup", "name": "www.example.org", "type": "A"}
    upstream process -> client    {"item": {...}} any number of times, then {"done": {...}} or {"error": "text"}

A connection takes one request after the other. Who may ask is decided by the peer's uid (operator.py).

One request is for another instance on the same node, which is about to serve and copies the table (copy_table):

    new supervisor -> upstream process    {"op": "lend"}
    upstream process -> new supervisor    {"lent": true} and a descriptor of the table, to which nobody writes now
    new supervisor -> upstream process    {"op": "copied"}
    upstream process -> new supervisor    {"done": {}}, or an error when that took longer than LEND_S
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import msgpack

from shardns.errors import Malformed, Unreachable

REQUEST_MAX: Final = 4096  # octets of a request
MESSAGE_MAX: Final = 1 << 20  # octets of one value from the other side
TIMEOUT_S: Final = 10.0  # for each message of the other side
LEND_S: Final = 0.25  # for a copy of the table: misses wait meanwhile; 32 MiB take some 20 ms

# The values of a message are whatever msgpack can carry.
Item = dict[str, Any]


class OperatorError(Exception):
    """The upstream process understood, and said no; the text is for the operator."""


def address(path: str) -> str:
    """The address of a socket that is written as a path, or as @NAME in the abstract namespace."""
    return "\0" + path[1:] if path.startswith("@") else path


class OperatorClient:
    """A connection to the upstream process. Every method raises OperatorError, Unreachable or Malformed."""

    def __init__(self, path: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Connect. path: see address; timeout_s: for each message of the other side."""
        self._path = path
        self._timeout_s = timeout_s
        self._unpacker = msgpack.Unpacker(max_buffer_size=MESSAGE_MAX)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        try:
            self._sock.connect(address(path))
        except OSError as error:
            self._sock.close()
            raise Unreachable(f"{path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._sock.close()

    def lookup(self, name: str, qtype: str = "", zone: str = "") -> Iterator[Item]:
        """The cached answers to a question, with their records; of every type (that has a name) without qtype.

        zone: only those of the server block that serves this zone.
        """
        return self._ask({"op": "lookup", "name": name, "type": qtype, "zone": zone}, {})

    def dump(self, zone: str = "", *, records: bool = False) -> Iterator[Item]:
        """Every entry whose name is at or below zone (all without one), in no order."""
        return self._ask({"op": "dump", "zone": zone, "records": records}, {})

    def flush_name(self, name: str) -> int:
        """Throw out the entries of one name; how many."""
        return self._flush({"op": "flush", "name": name})

    def flush_zone(self, zone: str) -> int:
        """Throw out the entries of all names at and below zone; how many."""
        return self._flush({"op": "flush", "zone": zone})

    def flush_all(self) -> int:
        """Throw out every entry; how many."""
        return self._flush({"op": "flush", "zone": "."})

    def stats(self) -> Item:
        """Counts since the start, and what is under way; see docs/operating.md."""
        return self._done({"op": "stats"})

    def about(self) -> Item:
        """What is served, by whom, and how each process does; see docs/operating.md."""
        return self._done({"op": "about"})

    def copy_table(self, copy: Callable[[int], None]) -> None:
        """Call copy with a descriptor of the table, read-only, while nobody writes to it.

        Raises whatever copy does, and OperatorError when it took too long: what was copied is then worth nothing.
        """
        with self._faults():
            self._send({"op": "lend"})
            data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX, 1)
            self._unpacker.feed(data)
        try:
            with self._faults():
                if "lent" not in self._receive() or not fds:
                    raise ValueError("no table came")
            copy(fds[0])
        finally:
            for fd in fds:
                os.close(fd)
        self._done({"op": "copied"})

    def server_pid(self) -> int:
        """The process that listens: the upstream process or its supervisor; 0 where our process namespace hides it.

        unix(7), SO_PEERCRED: on the connecting side it names who called listen() last.
        """
        credentials = struct.Struct("3i")
        octets = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        return int(credentials.unpack(octets)[0])

    def reload(self) -> None:
        """Ask for a reload of the configuration; its result is in the log and in coredns_reload_failed_total."""
        self._done({"op": "reload"})

    def _flush(self, request: Item) -> int:
        """The number in the answer to a flush."""
        return int(self._done(request).get("removed", 0))

    def _done(self, request: Item) -> Item:
        """The answer to a request that has one only."""
        done: Item = {}
        for _ in self._ask(request, done):
            pass
        return done

    def _ask(self, request: Item, done: Item) -> Iterator[Item]:
        """The items of the answer; what ends it goes into done."""
        with self._faults():
            self._send(request)
            while True:
                message = self._receive()
                if "done" in message:
                    done.update(message["done"])
                    return
                yield message["item"]

    def _send(self, request: Item) -> None:
        """Send a request. Raises OSError."""
        with contextlib.suppress(BrokenPipeError):  # one that is refused is told why before it has asked
            self._sock.sendall(msgpack.packb(request))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """What the network or the other side is to blame for becomes an exception of ours."""
        try:
            yield
        except OSError as error:
            raise Unreachable(f"{self._path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            raise Malformed(f"{self._path}: not what an upstream process says: {error!r}") from error

    def _receive(self) -> Item:
        """The next message that is no error. Raises OperatorError for one, OSError, ValueError or msgpack's own."""
        end = monotonic() + self._timeout_s
        while True:
            try:
                message = self._unpacker.unpack()
            except msgpack.OutOfData:
                self._sock.settimeout(max(end - monotonic(), 0.001))  # 0 would make it non-blocking
                data = self._sock.recv(65536)
                if not data:
                    raise ConnectionError("the upstream process closed the connection") from None
                self._unpacker.feed(data)
                continue
            if not isinstance(message, dict):
                raise TypeError("a message is a map")
            if "error" in message:
                raise OperatorError(str(message["error"]))
            return message
