"""Fixtures of the worker's tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.unit.worker.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A server with its tools, closed after the test."""
    bench = Bench()
    yield bench
    bench.server.close()
    bench.listening.close()
    for client in bench.clients:
        client.writer.close()
        with contextlib.suppress(ConnectionError):
            await client.writer.wait_closed()
    assert bench.server.held_octets == 0
    assert bench.counters.tcp_open == 0
