"""The log thread writes what is in its rings, and keeps nobody waiting."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shardns.core import ffi, lib
from shardns.dns import names
from shardns.logthread import LogThread, query_logs
from shardns.querylog import QueryLog, Rule
from tests.unit.plan.test_compiled import plan_of

WAIT_S = 5.0
Cdata = Any


def put(ring: Cdata, id_: int, block: int = 0) -> None:
    """One reply's record."""
    name = names.to_wire("www.example.org.")
    record = ring.records[ring.tail % 512]
    record.id, record.block, record.qtype, record.qclass, record.udp_size = id_, block, 1, 1, 512
    record.log_class, record.reply_flags, record.peer_len = lib.SHD_LOG_SUCCESS, 0x8180, 16
    ffi.memmove(record.peer, socket.AF_INET.to_bytes(2, "little") + b"\x00\x35\xc0\x00\x02\x07" + bytes(8), 16)
    ffi.memmove(record.name, name, len(name))
    record.name_len = len(name)
    ring.tail += 1


def ids(text: str) -> list[int]:
    """The ids in the lines written."""
    return [int(line.split(" - ")[1].split()[0]) for line in text.splitlines()]


@pytest.fixture
def rings() -> list[Cdata]:
    """Two rings, as a worker has."""
    return [ffi.new("struct shd_log_ring *") for _ in range(2)]


@pytest.fixture
def thread(rings: list[Cdata]) -> Iterator[LogThread]:
    """A thread that logs every reply of block 0."""
    fd = os.eventfd(0)
    yield LogThread(rings, {0: QueryLog([Rule()], {0: "127.0.0.1"})}, fd)
    os.close(fd)


def test_all_rings(thread: LogThread, rings: list[Cdata], capfd: pytest.CaptureFixture[str]) -> None:
    """The records of each ring are written in order, those of a block without `log` are not."""
    thread.start()
    for id_ in range(200):
        put(rings[0], id_)
        put(rings[1], 1000 + id_)
        put(rings[0], 5000, block=1)
    thread.wake()
    thread.finish(WAIT_S)
    written = ids(capfd.readouterr().out)
    assert [id_ for id_ in written if id_ < 1000] == list(range(200))
    assert [id_ for id_ in written if id_ >= 1000] == list(range(1000, 1200))


def test_the_last_records(thread: LogThread, rings: list[Cdata], capfd: pytest.CaptureFixture[str]) -> None:
    """What is in the rings at the end is written without a wake-up of its own."""
    thread.start()
    put(rings[0], 1)
    thread.finish(WAIT_S)
    assert ids(capfd.readouterr().out) == [1]


def test_a_reader_that_stopped(thread: LogThread, rings: list[Cdata]) -> None:
    """While standard output takes nothing neither wake nor finish waits for it."""
    reading, writing = os.pipe()
    stdout = os.dup(1)
    os.dup2(writing, 1)
    try:
        os.set_blocking(writing, False)
        while True:
            try:
                os.write(writing, bytes(4096))
            except BlockingIOError:
                break
        os.set_blocking(writing, True)
        thread.start()
        for id_ in range(300):
            put(rings[0], id_)
        start = time.monotonic()
        thread.wake()
        thread.finish(0.05)
        assert time.monotonic() - start < 2
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(writing)
        os.close(reading)
        thread.finish(WAIT_S)


def test_query_logs() -> None:
    """Blocks with `log` have one, under their index."""
    plan = plan_of(". {\nforward . 192.0.2.53\n}\nexample.org {\nlog\nforward . 192.0.2.53\n}")
    logs = query_logs(plan)
    assert list(logs) == [1]
    assert logs[1].classes == lib.SHD_LOG_SUCCESS | lib.SHD_LOG_DENIAL | lib.SHD_LOG_ERROR
