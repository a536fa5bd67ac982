"""The table of another instance, copied through its operator socket: the real server in a thread, the real memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shardns.upstream import operator
from shardns.upstream.operator import OperatorServer, allowed_uids
from supervisor import neighbour, segments
from supervisor.segments import Segments, create

SIZE = 4 * 1024 * 1024


@dataclass
class Lender:
    """All of Operations that a neighbour asks for."""

    table_fd: int


@contextlib.contextmanager
def lending(path: Path, fd: int) -> Iterator[str]:
    """An operator socket that lends the table behind fd; its path."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    loop = asyncio.new_event_loop()
    operations: Any = Lender(fd)
    server = OperatorServer(operations, allowed_uids() | {os.getuid()})
    loop.run_until_complete(server.start(sock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield str(path)
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(lambda: loop.call_later(0.01, loop.stop))
    thread.join()
    loop.close()


@pytest.fixture
def name() -> Iterator[str]:
    """A name in /dev/shm that is free before and after."""
    own = f"shardns-test-neighbour-{os.getpid()}"
    yield own
    (segments.SHM / own).unlink(missing_ok=True)


@pytest.fixture
def old() -> Iterator[Segments]:
    """A table that has been used: in the middle and at its end, with a hole between."""
    made = create("", SIZE, 1)
    for at in (made.table.size // 2, made.table.size - 5):
        os.pwrite(made.table.writable_fd, b"used!", at)
    yield made
    made.close()


def octets(made: Segments) -> bytes:
    """The whole table."""
    return os.pread(made.table.readable_fd, made.table.size + 1, 0)


def is_empty(made: Segments) -> bool:
    """Whether the table holds nothing of the used one's."""
    return b"used!" not in octets(made)


@pytest.mark.parametrize("is_named", [True, False])
def test_copied(name, old, tmp_path, is_named):
    """The new table is the old one's octets in memory of its own; what was not used takes none."""
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        new = create(name if is_named else "", SIZE, 1, beside=beside)
    assert octets(new) == octets(old)
    os.pwrite(new.table.writable_fd, b"mine!", 100_000)
    assert octets(new) != octets(old)
    assert os.fstat(old.table.readable_fd).st_blocks * 512 < SIZE // 2
    if not is_named:
        assert os.fstat(new.table.readable_fd).st_blocks * 512 < SIZE // 2
    assert (segments.SHM / name).exists() is is_named
    new.close()


def test_copied_table_is_found_again(name, old, tmp_path):
    """A copy has the name, so the next start in the same place finds it."""
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        create(name, SIZE, 1, beside=beside).close()
    again = create(name, SIZE, 1)
    assert octets(again) == octets(old)
    again.close()


def test_a_table_with_our_name_comes_first(name, old, tmp_path):
    """What our own predecessor left is newer than nothing, and asks nobody."""
    create(name, SIZE, 1).close()
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        new = create(name, SIZE, 1, beside=beside)
    assert is_empty(new)
    new.close()


def test_alone(name, tmp_path):
    """Nobody there: an empty table, at once."""
    begun = time.monotonic()
    new = create(name, SIZE, 1, beside=str(tmp_path / "control"))
    assert time.monotonic() - begun < neighbour.PATIENCE_S / 2
    assert is_empty(new)
    new.close()


def refused(name: str, beside: str, size: int = SIZE) -> bool:
    """Whether a start beside that instance is empty, has its name, and could be used."""
    new = create(name, size, 1, beside=beside)
    is_named = Path(f"/proc/self/fd/{new.table.writable_fd}").readlink() == segments.SHM / name
    found = is_empty(new) and is_named
    new.close()
    again = create(name, size, 1)
    again.close()
    return found


def test_another_size(name, old, tmp_path):
    """A table of another size is not copied."""
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        assert refused(name, beside, 2 * SIZE)


def test_another_version(name, old, tmp_path):
    """A table of another layout is not copied."""
    os.pwrite(old.table.writable_fd, b"\xff", 8)
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        assert refused(name, beside)


@pytest.mark.parametrize("mode, uid", [(0o602, 0), (0o660, 0), (0o600, 65534)])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_table_that_others_may_write(name, old, tmp_path, mode, uid):
    """Whoever has taken the socket's name cannot give us a table: it has to be ours alone."""
    os.fchmod(old.table.writable_fd, mode)
    os.fchown(old.table.writable_fd, uid, -1)
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        assert refused(name, beside)


def test_no_room(name, old, tmp_path, monkeypatch):
    """Half a copy is thrown away."""
    real = os.sendfile

    def first_only(to: int, source: int, at: int, count: int) -> int:
        if at > SIZE // 4:
            raise OSError(28, "No space left on device")
        return real(to, source, at, count)

    with monkeypatch.context() as patch, lending(tmp_path / "control", old.table.readable_fd) as beside:
        patch.setattr(os, "sendfile", first_only)
        assert refused(name, beside)


def test_too_slow(name, old, tmp_path, monkeypatch):
    """A copy during which the table may have been written to is thrown away."""
    monkeypatch.setattr(operator, "LEND_S", 0.02)
    real = os.sendfile

    def slow(*args: int) -> int:
        time.sleep(0.03)
        return real(*args)

    monkeypatch.setattr(os, "sendfile", slow)
    with lending(tmp_path / "control", old.table.readable_fd) as beside:
        assert refused(name, beside)


def test_one_that_does_not_answer(name, tmp_path, monkeypatch):
    """A neighbour that is stuck does not keep us from serving."""
    monkeypatch.setattr(neighbour, "PATIENCE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        assert refused(name, str(tmp_path / "control"))


def test_one_that_gives_nothing(name, old, tmp_path):
    """An older version knows no such request; neither does one that says yes and gives no descriptor."""
    for reply in (b"\x81\xa5error\xa7unknown", b"\x81\xa4lent\xc3", b"nonsense"):
        path = tmp_path / f"control-{len(reply)}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()

            def answer(listener: socket.socket = listener, reply: bytes = reply) -> None:
                client, _ = listener.accept()
                with client:
                    client.recv(100)
                    client.sendall(reply)

            thread = threading.Thread(target=answer)
            thread.start()
            assert refused(name, str(path))
            thread.join()
            (segments.SHM / name).unlink()


def test_one_that_never_ends(name, tmp_path, monkeypatch):
    """A neighbour that says a little, again and again, does not keep us from serving for longer than a silent one."""
    monkeypatch.setattr(neighbour, "PATIENCE_S", 0.2)
    ended = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()

        def drip() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(b"\xdb\0\1\0\0")  # a text of 65,536 octets
                while not ended.wait(0.05):
                    client.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        assert refused(name, str(tmp_path / "control"))
        took_s = time.monotonic() - begun
        ended.set()
        thread.join()
    assert took_s < 5
