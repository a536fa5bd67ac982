import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from shardns.errors import Malformed, Unreachable
from shardns.upstream import operator
from shardns.upstream.operator import OperatorServer, Question, allowed_uids, peer_uid
from shardns.upstream.operator_client import LEND_S, OperatorClient, OperatorError, address

US = frozenset({os.getuid()})


class FakeOperations:
    """Remembers what it was asked; its cache holds `entries`."""

    def __init__(self, entries=(), table_fd=-1):
        self.table_fd = table_fd
        self.calls: list[object] = []
        self.entries = list(entries)

    def lookup(self, question):
        """Every entry."""
        self.calls.append(question)
        return iter(self.entries)

    def dump(self, zone, *, records):
        """Every entry, with steps between them."""
        self.calls.append((zone, records))
        for entry in self.entries:
            yield None
            yield entry

    def flush(self, name, *, below) -> Iterator[int]:
        """One entry, then none, then two."""
        self.calls.append((name, below))
        yield from (1, 0, 2)

    def stats(self):
        """Two numbers."""
        return {"queries": 7, "uptime_s": 1.5}

    def about(self):
        """A nested fact."""
        return {"version": "1.2.3", "listeners": [["", 53]], "upstream_silent_s": None}

    def reload(self):
        """Remember it."""
        self.calls.append("reload")


@contextlib.asynccontextmanager
async def serving(tmp_path, operations, uids=US):
    """An OperatorServer; gives its path."""
    path = str(tmp_path / "control")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen()
    sock.setblocking(False)
    server = OperatorServer(operations, uids)
    await server.start(sock)
    try:
        yield path
    finally:
        server.close()
        await asyncio.sleep(0.01)


async def ask(path, act):
    """What act(client) returns, in a thread of its own, for the client is synchronous."""

    def run():
        with OperatorClient(path, timeout_s=5) as client:
            return act(client)

    return await asyncio.to_thread(run)


@pytest.mark.parametrize(
    "act, wanted_call, wanted",
    [
        (lambda c: list(c.lookup("WWW.example.org", "aaaa")), Question("www.example.org.", 28, ""), [{"name": "a."}]),
        (lambda c: list(c.lookup("x.", zone="Org")), Question("x.", 0, "org."), [{"name": "a."}]),
        (lambda c: list(c.dump()), (".", False), [{"name": "a."}]),
        (lambda c: list(c.dump("example.org", records=True)), ("example.org.", True), [{"name": "a."}]),
        (lambda c: c.flush_name("www.example.org"), ("www.example.org.", False), 3),
        (lambda c: c.flush_zone("example.org"), ("example.org.", True), 3),
        (lambda c: c.flush_all(), (".", True), 3),
        (lambda c: c.reload(), "reload", None),
    ],
)
async def test_operations(tmp_path, act, wanted_call, wanted):
    """Each call reaches its operation with names normalised, and its answer comes back."""
    operations = FakeOperations([{"name": "a."}])
    async with serving(tmp_path, operations) as path:
        assert await ask(path, act) == wanted
    assert operations.calls == [wanted_call]


async def test_stats(tmp_path):
    """The numbers come back by name."""
    async with serving(tmp_path, FakeOperations()) as path:
        assert await ask(path, lambda c: c.stats()) == {"queries": 7, "uptime_s": 1.5}


async def test_about(tmp_path):
    """About gives what is served, nested as it is, and the connection says which process made the socket."""
    async with serving(tmp_path, FakeOperations()) as path:
        wanted = {"version": "1.2.3", "listeners": [["", 53]], "upstream_silent_s": None}
        assert await ask(path, lambda c: (c.about(), c.server_pid())) == (wanted, os.getpid())


@pytest.fixture
def table_fd() -> Iterator[int]:
    """A table."""
    fd = os.memfd_create("table")
    os.write(fd, b"the table")
    yield fd
    os.close(fd)


async def test_a_table_is_lent(tmp_path, table_fd):
    """Whoever copies the table reads it while the event loop, and so its writer, stands still; then both go on."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    turning = asyncio.create_task(turn())
    seen: list[object] = []

    def copy(fd: int) -> None:
        before = turns
        seen.append(os.pread(fd, 100, 0))
        time.sleep(0.05)
        seen.append(turns - before)

    async with serving(tmp_path, FakeOperations(table_fd=table_fd)) as path:
        await ask(path, lambda client: client.copy_table(copy))
        assert seen == [b"the table", 0]
        assert await ask(path, lambda client: client.stats())
    turning.cancel()


async def test_a_copy_that_takes_too_long(tmp_path, table_fd, monkeypatch):
    """The writer does not wait for ever; who has copied for so long is told that it is worth nothing."""
    monkeypatch.setattr(operator, "LEND_S", 0.02)
    async with serving(tmp_path, FakeOperations(table_fd=table_fd)) as path:
        with pytest.raises(OperatorError, match="the copy took more than"):
            await ask(path, lambda client: client.copy_table(lambda _fd: time.sleep(0.1)))
        assert await ask(path, lambda client: client.stats())


async def test_a_copier_that_goes_away(tmp_path, table_fd):
    """A copy that fails on the other side ends the wait at once."""

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    async with serving(tmp_path, FakeOperations(table_fd=table_fd)) as path:
        with pytest.raises(OSError, match="No space"):
            await ask(path, lambda client: client.copy_table(fail))
        begun = time.monotonic()
        assert await ask(path, lambda client: client.stats())
        assert time.monotonic() - begun < LEND_S


async def test_a_table_is_lent_to_those_allowed(tmp_path, table_fd):
    """Another user is refused, and gets no descriptor."""
    async with serving(tmp_path, FakeOperations(table_fd=table_fd), uids=frozenset()) as path:
        with pytest.raises(OperatorError, match="may not operate"):
            await ask(path, lambda client: client.copy_table(lambda _fd: pytest.fail("lent")))


async def test_several_requests(tmp_path):
    """A connection takes one request after the other; an error does not end it."""

    def act(client):
        with pytest.raises(OperatorError, match="type"):
            list(client.lookup("a.", "NOSUCHTYPE"))
        return [client.flush_all(), client.stats()["queries"], list(client.dump())]

    async with serving(tmp_path, FakeOperations()) as path:
        assert await ask(path, act) == [3, 7, []]


async def test_a_long_dump_streams(tmp_path):
    """A dump of many entries arrives whole, and the event loop turns while it is made."""
    turns = 0
    seen: list[int] = []

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Many(FakeOperations):
        def dump(self, zone, *, records):
            for n in range(20_000):
                seen.append(turns)
                yield {"n": n, "name": "x" * 200}

    async with serving(tmp_path, Many()) as path:
        ticker = asyncio.create_task(tick())
        assert await ask(path, lambda c: sum(item["n"] == n for n, item in enumerate(c.dump()))) == 20_000
        ticker.cancel()
    assert len(set(seen)) > 300


async def test_only_those_allowed_may_ask(tmp_path):
    """Another uid is told so and served nothing."""
    operations = FakeOperations()
    async with serving(tmp_path, operations, uids=frozenset({os.getuid() + 1})) as path:
        with pytest.raises(OperatorError, match=f"uid {os.getuid()} may not operate this process"):
            await ask(path, lambda c: c.reload())
    assert operations.calls == []


def test_peer_uid():
    """The uid is the kernel's word about the process at the other end."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        assert peer_uid(one) == os.getuid()


def test_allowed_uids(monkeypatch):
    """Root may ask, and the owner of the parent process; root alone when there is no telling."""
    assert allowed_uids() == {0, Path(f"/proc/{os.getppid()}").stat().st_uid}
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 1)
    assert allowed_uids() == {0}


@pytest.mark.parametrize(
    "request_value, error",
    [
        ([], "a request is a msgpack map"),
        ({}, "unknown operation ''"),
        (
            {"op": "shutdown"},
            "unknown operation 'shutdown'; there are lookup, dump, flush, stats, about, reload and lend",
        ),
        ({"op": 7}, "op is a text"),
        ({"op": "lookup"}, "name: name is empty"),
        ({"op": "lookup", "name": "a..b"}, "name: name has an empty label"),
        ({"op": "lookup", "name": "a.", "type": "x y"}, "unknown type"),
        ({"op": "dump", "zone": 1}, "zone is a text"),
        ({"op": "dump", "records": "yes"}, "records is true or false"),
        ({"op": "flush"}, "zone: name is empty"),
    ],
)
async def test_bad_requests(tmp_path, request_value, error):
    """A request that makes no sense gets an error that says why, and the connection goes on."""
    async with serving(tmp_path, FakeOperations()) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        for request in (request_value, {"op": "stats"}):
            writer.write(msgpack.packb(request))
        unpacker = msgpack.Unpacker()
        messages: list[dict[str, object]] = []
        while len(messages) < 2:
            unpacker.feed(await reader.read(4096))
            messages.extend(unpacker)
        writer.close()
        await writer.wait_closed()
    assert error in str(messages[0]["error"])
    assert "done" in messages[1]


async def test_bytes_that_are_no_request(tmp_path):
    """A peer that talks something else, or without end, is cut off."""
    async with serving(tmp_path, FakeOperations()) as path:
        for data in (b"\xc1", b"\xdb\xff\xff\xff\xff" + b"x" * 20_000):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            answer = msgpack.unpackb(await reader.read())
            assert "error" in answer
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_too_many_operators(tmp_path):
    """More connections than there are places for are told so; a place that is left can be had."""
    async with serving(tmp_path, FakeOperations()) as path:
        held = [await asyncio.open_unix_connection(path) for _ in range(8)]
        await asyncio.sleep(0.01)
        with pytest.raises(OperatorError, match="8 operators"):
            await ask(path, lambda c: c.stats())
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.01)
        assert (await ask(path, lambda c: c.stats()))["queries"] == 7


@pytest.mark.parametrize("path, wanted", [("/run/x", "/run/x"), ("@shardns/a", "\0shardns/a")])
def test_address(path, wanted):
    """@ stands for the abstract namespace."""
    assert address(path) == wanted


def test_nobody_listens(tmp_path):
    """A socket that is not there is Unreachable, by its name."""
    with pytest.raises(Unreachable, match="nosuch: No such file"):
        OperatorClient(str(tmp_path / "nosuch"))


@pytest.mark.parametrize(
    "reply, error", [(b"\xc1", Malformed), (b"\x01", Malformed), (b"\x80", Malformed), (b"", Unreachable)]
)
def test_a_server_that_talks_something_else(tmp_path, reply, error):
    """What is no answer raises Malformed, the end of the connection Unreachable."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        with OperatorClient(path, timeout_s=5) as client:
            server, _ = listener.accept()
            with server:
                server.sendall(reply)
                server.shutdown(socket.SHUT_WR)
                with pytest.raises(error):
                    client.stats()
