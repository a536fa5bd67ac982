"""A small HTTP/1.1 server for /metrics, /health and /ready, on sockets that the supervisor opened.

It reads GET and HEAD, answers one request of a connection after the other, and bounds everything a peer can make
larger: the head of a request, the time it may take, the number of connections (the one idle for longest goes first, so
that a flood of them cannot keep a probe out). A request with a body is answered, and its connection closed.

It knows nothing of what it serves: a handler is a function without arguments, see endpoints.py.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from shardns.log import get_logger

HEAD_MAX: Final = 8192  # octets of a request's line and headers
CONNECTIONS_MAX: Final = 64
TIMEOUT_S: Final = 5.0  # for a whole head, for a peer to take its answer, and idle in between (CoreDNS plugin/metrics)
TEXT: Final = "text/plain; charset=utf-8"

log = get_logger()


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler gives back."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


Handler = Callable[[], Awaitable[Response]]
Routes = Mapping[str, Handler]


@dataclass(frozen=True, slots=True)
class Request:
    """What matters of a request's head."""

    method: str
    path: str
    keep_alive: bool


class BadRequest(Exception):  # noqa: N818 - the status' own name
    """A head that is no request; the status to answer with."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def parse_head(head: bytes) -> Request:
    """The request of a head without its final empty line (RFC 9112). Raises BadRequest."""
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not first.isascii() or not words[2].startswith(b"HTTP/"):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    if words[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        headers[name.lower()] = value.strip().lower()
    if words[2] == b"HTTP/1.1" and b"host" not in headers:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    options = {word.strip() for word in headers.get(b"connection", b"").split(b",")}
    has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    stays = words[2] == b"HTTP/1.1" and b"close" not in options and not has_body
    return Request(words[0].decode(), _path(words[1].decode()), stays)


def _path(target: str) -> str:
    """The path of a request's target, which is a path or a whole URL; without its query."""
    if not target.startswith("/"):
        scheme, mark, rest = target.partition("://")
        if not mark or scheme.lower() != "http":
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        target = "/" + rest.partition("/")[2]
    return target.partition("?")[0]


def encode(response: Response, *, head_only: bool, close: bool, now_s: float) -> bytes:
    """The response on the wire. now_s: seconds since the epoch."""
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(now_s))}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
    ]
    if response.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    if close:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head if head_only else head + response.body


def plain(status: HTTPStatus, text: str = "") -> Response:
    """A response of one text; the status' own words if there is none."""
    return Response(status, (text or status.phrase).encode())


class _Connection(asyncio.Protocol):
    """One connection: bytes in, requests one at a time, responses out."""

    def __init__(self, server: HttpServer, routes: Routes) -> None:
        self._server = server
        self._routes = routes
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_full = False  # the peer has not taken enough of what was written
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.joined(self)
        self._wait()

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
        self._server.left(self)

    def pause_writing(self) -> None:
        """The peer has to read before it may ask again."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The peer has read."""
        self._is_full = False
        if self._task is None:
            self._wait()
            self._next()

    def data_received(self, data: bytes) -> None:
        """Answer what is whole; what comes during an answer waits."""
        if not self._buffer:
            self._wait()
        self._buffer += data
        if self._task is None and not self._is_full:
            self._next()
        elif len(self._buffer) > HEAD_MAX and self._transport is not None:
            self._transport.pause_reading()  # further requests wait in the kernel

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        return self._task is None

    def close(self) -> None:
        """Close, once what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever the peer has not taken."""
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> None:
        """Give the peer TIMEOUT_S from now for its next step."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._server.timeout_s, self._late)

    def _late(self) -> None:
        """The peer has not made its step: sent a request, or taken the answer."""
        if self._task is None:
            self.abort()

    def _next(self) -> None:
        """Answer the next request, if it is here whole."""
        try:
            request = self._take_request()
        except BadRequest as error:
            self._write(plain(error.status), head_only=False, close=True)
            return
        if request is not None:
            self._task = asyncio.get_running_loop().create_task(self._answer(request))

    def _take_request(self) -> Request | None:
        """The next request out of the buffer; None when it is not whole. Raises BadRequest."""
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEAD_MAX or (end < 0 and len(self._buffer) > HEAD_MAX):
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if end < 0:
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return parse_head(head.lstrip(b"\r\n"))

    async def _answer(self, request: Request) -> None:
        """Answer one request, then look for the next."""
        response = await self._server.respond(self._routes, request)
        self._task = None
        self._write(response, head_only=request.method == "HEAD", close=not request.keep_alive)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            if not self._is_full:
                self._next()

    def _write(self, response: Response, *, head_only: bool, close: bool) -> None:
        """Send a response."""
        if self._transport is None:
            return
        self._server.touched(self)
        self._wait()
        close = close or self._server.is_closing
        self._transport.write(encode(response, head_only=head_only, close=close, now_s=time.time()))
        if close:
            self._transport.close()


class HttpServer:
    """Serves any number of listening sockets, each with its own paths."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S, connections_max: int = CONNECTIONS_MAX) -> None:
        """Nothing is served before listen."""
        self.timeout_s = timeout_s
        self.is_closing = False
        self._connections_max = connections_max
        self._servers: list[asyncio.Server] = []
        self._connections: dict[_Connection, None] = {}  # the one unused for longest comes first

    async def listen(self, sock: socket.socket, routes: Routes) -> None:
        """Serve routes on a listening socket, which is ours from now on."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: _Connection(self, routes), sock=sock))

    def close(self) -> None:
        """Accept nothing more; connections end with the answer they wait for.

        The sockets go on listening for whoever else holds them (the supervisor, a newer upstream process).
        """
        self.is_closing = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            if connection.is_idle:
                connection.close()

    async def respond(self, routes: Routes, request: Request) -> Response:
        """The response to a request; a handler's failure is a 500, for the page must not cost the service."""
        handler = routes.get(request.path)
        if handler is None:
            return plain(HTTPStatus.NOT_FOUND, "404 page not found\n")
        if request.method not in {"GET", "HEAD"}:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return await handler()
        except Exception:
            log.exception("http.failed", path=request.path)
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def joined(self, connection: _Connection) -> None:
        """A connection was made; when there are too many, another goes."""
        self._connections[connection] = None
        if len(self._connections) > self._connections_max:
            idle = (other for other in self._connections if other.is_idle and other is not connection)
            next(idle, connection).abort()

    def touched(self, connection: _Connection) -> None:
        """A connection was used: it is the last to go."""
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def left(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)
