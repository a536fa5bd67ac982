import asyncio
import contextlib
import socket
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardns.upstream.http import BadRequest, HttpServer, Request, Response, encode, parse_head, plain

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head, wanted",
    [
        (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:8080", Request("GET", "/health", keep_alive=True)),
        (b"HEAD /metrics HTTP/1.1\r\nhOsT: x\r\nAccept: */*", Request("HEAD", "/metrics", keep_alive=True)),
        (b"GET /metrics?name=a&b=/c HTTP/1.1\r\nHost: x", Request("GET", "/metrics", keep_alive=True)),
        (b"GET http://127.0.0.1:9253/metrics HTTP/1.1\r\nHost: x", Request("GET", "/metrics", keep_alive=True)),
        (b"GET http://127.0.0.1 HTTP/1.1\r\nHost: x", Request("GET", "/", keep_alive=True)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close", Request("GET", "/", keep_alive=False)),
        (b"GET / HTTP/1.0", Request("GET", "/", keep_alive=False)),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3", Request("POST", "/", keep_alive=False)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", Request("GET", "/", keep_alive=False)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0", Request("GET", "/", keep_alive=True)),
    ],
)
def test_parse_head(head, wanted):
    """A request is its method, its path without query, and whether another may follow on the connection."""
    assert parse_head(head) == wanted


@pytest.mark.parametrize(
    "head, status",
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / FTP/1.1\r\nHost: x", 400),
        (b"GET \xff HTTP/1.1\r\nHost: x", 400),
        (b"GET * HTTP/1.1\r\nHost: x", 400),
        (b"GET / HTTP/1.1\r\nHost x", 400),
        (b"GET / HTTP/1.1\r\nHost : x", 400),
        (b"GET / HTTP/1.1\r\n Host: x", 400),
        (b"GET / HTTP/2.0\r\nHost: x", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_bad_heads(head, status):
    """What is no request of HTTP/1 gets the status that says so."""
    with pytest.raises(BadRequest) as caught:
        parse_head(head)
    assert caught.value.status == status


WORDS = st.sampled_from(
    [
        b"GET",
        b"/",
        b" ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"Host:",
        b"x",
        b":",
        b"://",
        b"?",
        b"\xff",
        b"\0",
        b"Connection: ",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=30).map(b"".join)))
@example(b"GET :// HTTP/1.1\r\nHost:")
def test_any_bytes_are_a_request_or_a_bad_one(head):
    """Whatever a peer sends is understood or is a BadRequest, never another error."""
    with contextlib.suppress(BadRequest):
        request = parse_head(head)
        assert request.path.startswith("/")


def test_encode():
    """A response has its length, its type and its date; a HEAD's has no body."""
    response = Response(HTTPStatus.OK, b"OK", "text/plain")
    head = (
        b"HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
    )
    assert encode(response, head_only=False, close=False, now_s=1_700_000_000) == head + b"\r\nOK"
    assert encode(response, head_only=True, close=True, now_s=1_700_000_000) == head + b"Connection: close\r\n\r\n"


class Client:
    """A raw client."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def send(self, data):
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, body=True):
        """The next response: status, headers (lower case), body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        content = await self.reader.readexactly(int(headers["content-length"])) if body else b""
        return int(first.split()[1]), headers, content

    async def ended(self):
        """Whether the server has closed, within a second."""
        try:
            return await asyncio.wait_for(self.reader.read(), 1) == b""
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def serving(routes=None, **options):
    """A server on loopback, as (server, function that connects)."""

    async def page():
        return Response(HTTPStatus.OK, b"the page")

    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    server = HttpServer(**options)
    await server.listen(sock, {"/page": page} if routes is None else routes)
    clients = []

    async def connect():
        client = Client(*await asyncio.open_connection(*address))
        clients.append(client)
        return client

    try:
        yield server, connect
    finally:
        server.close()
        for client in clients:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()


async def test_keep_alive():
    """A connection answers one request after the other, and pipelined ones in order."""
    async with serving() as (_, connect):
        client = await connect()
        for _ in range(2):
            await client.send(GET)
            status, headers, body = await client.response()
            assert (status, body, "connection" in headers) == (200, b"the page", False)
        await client.send(GET + GET.replace(b"/page", b"/none") + GET)
        assert [(await client.response())[0] for _ in range(3)] == [200, 404, 200]


async def test_a_request_in_pieces():
    """A request may come byte by byte."""
    async with serving() as (_, connect):
        client = await connect()
        for byte in GET:
            await client.send(bytes([byte]))
        assert (await client.response())[0] == 200


@pytest.mark.parametrize(
    "request_head, status",
    [
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"DELETE /page HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"DELETE /other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
async def test_paths_and_methods(request_head, status):
    """A socket serves its own paths, by GET and HEAD."""
    async with serving() as (_, connect):
        client = await connect()
        await client.send(request_head)
        found, headers, _ = await client.response()
    assert found == status
    assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)


async def test_head():
    """HEAD says how long the body would be, and the connection goes on."""
    async with serving() as (_, connect):
        client = await connect()
        await client.send(GET.replace(b"GET", b"HEAD") + GET)
        assert (await client.response(body=False))[1]["content-length"] == "8"
        assert (await client.response())[2] == b"the page"


@pytest.mark.parametrize(
    "request_head, status",
    [
        (b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /page HTTP/1.0\r\n\r\n", 200),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * 9000, 431),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    ],
)
async def test_answers_that_end_a_connection(request_head, status):
    """A broken or too long head, a body, HTTP/1.0 and the client's wish: an answer, then the end."""
    async with serving() as (_, connect):
        client = await connect()
        await client.send(request_head)
        found, headers, _ = await client.response()
        assert (found, headers["connection"]) == (status, "close")
        assert await client.ended()


async def test_a_slow_request_is_cut_off():
    """A peer that does not finish its head in time is cut off, however steadily it sends."""
    async with serving(timeout_s=0.05) as (_, connect):
        client = await connect()
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1000 and not client.reader.at_eof():
                await client.send(b"x")
                await asyncio.sleep(0.005)
                sent += 1
        assert await client.ended()
    assert sent < 100


async def test_an_idle_connection_is_closed():
    """A connection that asks nothing more is closed after the time-out."""
    async with serving(timeout_s=0.02) as (_, connect):
        client = await connect()
        await client.send(GET)
        await client.response()
        assert await client.ended()


async def test_a_peer_that_does_not_read_is_cut_off():
    """Requests whose answers nobody takes are not answered without end, and the connection is cut."""
    made = 0

    async def big():
        nonlocal made
        made += 1
        return Response(HTTPStatus.OK, bytes(4 << 20))

    async with serving({"/page": big}, timeout_s=0.1) as (server, connect):
        client = await connect()
        client.reader._transport.pause_reading()
        client.writer.write(GET * 1000)
        gone = asyncio.Event()
        left = server.left

        def note(connection):
            left(connection)
            gone.set()

        server.left = note
        async with asyncio.timeout(2):
            await gone.wait()
    assert made == 1


async def test_too_many_connections():
    """Of too many connections the one unused for longest goes; a new one is served."""
    async with serving(connections_max=2) as (_, connect):
        first, second = await connect(), await connect()
        for client in (second, first):
            await client.send(GET)
            await client.response()
        third = await connect()
        assert await second.ended()
        for client in (first, third):
            await client.send(GET)
            assert (await client.response())[0] == 200


async def test_a_handler_that_fails_is_a_500(capfd):
    """A bug in a page is logged and answered 500, and the connection goes on."""

    async def broken():
        raise RuntimeError("broken")

    async with serving({"/page": broken}) as (_, connect):
        client = await connect()
        for _ in range(2):
            await client.send(GET)
            assert (await client.response())[0] == 500
    assert "RuntimeError: broken" in capfd.readouterr().out


async def test_close():
    """On close an answer under way is finished, idle connections end, and nothing new is accepted."""
    go = asyncio.Event()

    async def slow():
        await go.wait()
        return plain(HTTPStatus.OK)

    async with serving({"/page": slow}) as (server, connect):
        busy, idle = await connect(), await connect()
        await busy.send(GET)
        await asyncio.sleep(0.01)
        server.close()
        assert await idle.ended()
        go.set()
        status, headers, _ = await busy.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await busy.ended()
        with pytest.raises(ConnectionRefusedError):
            await connect()


async def test_the_listening_socket_outlives_the_server():
    """Whoever else holds the listening socket can serve on it after this server has closed."""
    sock = socket.create_server(("127.0.0.1", 0))
    held = sock.dup()

    async def page():
        return plain(HTTPStatus.OK)

    for _ in range(2):
        server = HttpServer()
        await server.listen(held.dup(), {"/page": page})
        reader, writer = await asyncio.open_connection(*held.getsockname())
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        server.close()
        writer.close()
        await writer.wait_closed()
    sock.close()
    held.close()
