"""main.py: what ends the upstream process."""

from __future__ import annotations

import asyncio

import pytest

from shardns.upstream.main import UpstreamProcess


def process(loop: asyncio.AbstractEventLoop) -> UpstreamProcess:
    """A process without memory or sockets: enough to be told that something broke."""
    made = UpstreamProcess.__new__(UpstreamProcess)
    made._ended = loop.create_future()
    return made


def told(error: Exception) -> asyncio.Future[None]:
    """The end of a process whose callback raised error."""

    async def main() -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        made = process(loop)
        loop.set_exception_handler(made._broke)
        loop.call_soon(_raise, error)
        await asyncio.sleep(0)
        return made._ended

    return asyncio.run(main())


def _raise(error: Exception) -> None:
    raise error


def test_a_bug_in_a_callback_ends_the_process():
    """The successor takes the open asks; going on with half-made state would answer nobody."""
    ended = told(KeyError("flight"))
    with pytest.raises(KeyError):
        ended.result()


def test_a_network_error_in_a_callback_ends_nothing(caplog):
    """A peer that resets its connection is not our bug: asyncio says so in the log."""
    assert not told(ConnectionResetError("peer")).done()
    assert "peer" in caplog.text
