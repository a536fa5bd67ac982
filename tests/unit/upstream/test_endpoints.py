import asyncio
import contextlib
import socket
from http import HTTPStatus
from time import monotonic_ns

import pytest

from shardns.metrics import Page
from shardns.upstream.endpoints import (
    Beat,
    Endpoints,
    HealthPoll,
    beats,
    faults,
    health_response,
    ready_response,
)
from shardns.upstream.http import HttpServer, plain
from tests.unit.metrics.segments import world

S = 1_000_000_000


def beat(w, *, worker=0, ago_s=0.0):
    """Every process beats now; both threads of one worker did so ago_s before."""
    now_ns = monotonic_ns()
    for slot in w.slots[:2]:
        slot.at.process.heartbeat_ns = slot.at.process.heartbeat_loop_ns = now_ns
    w.upstream.at.process.heartbeat_ns = w.upstream.at.process.heartbeat_loop_ns = now_ns
    if ago_s:
        w.slots[worker].at.process.heartbeat_ns = now_ns - int(ago_s * S)


@pytest.mark.parametrize(
    "found, wanted",
    [
        ([], {}),
        ([Beat("worker 0", "serve", 7 * S), Beat("upstream", "loop", 10 * S)], {}),
        ([Beat("worker 0", "serve", 6 * S)], {"worker 0": "serve silent for 4.0 s"}),
        (
            [Beat("worker 0", "serve", 0), Beat("worker 0", "loop", 1 * S), Beat("worker 1", "loop", 9 * S)],
            {"worker 0": "serve not started, loop silent for 9.0 s"},
        ),
    ],
)
def test_faults(found, wanted):
    """A thread that has been silent for more than three seconds, or never started, makes its process unwell."""
    assert faults(found, 10 * S) == wanted


def test_beats_are_read_from_every_process():
    """Both threads of each worker and the event loop of the upstream process count."""
    with world() as w:
        w.slots[0].at.process.heartbeat_ns = 1
        w.slots[0].at.process.heartbeat_loop_ns = 2
        w.slots[1].at.process.heartbeat_ns = 3
        w.upstream.at.process.heartbeat_loop_ns = 4
        found = beats(Page(w.sources).reader, 2)
    assert found == [
        Beat("worker 0", "serve", 1),
        Beat("worker 0", "loop", 2),
        Beat("worker 1", "serve", 3),
        Beat("worker 1", "loop", 0),
        Beat("upstream", "loop", 4),
    ]


def test_health_response():
    """OK, or a line with the reason for each process."""
    assert health_response({}) == plain(HTTPStatus.OK, "OK")
    body = "worker 0: serve silent for 4.0 s\nupstream: loop not started\n"
    unwell = {"worker 0": "serve silent for 4.0 s", "upstream": "loop not started"}
    assert health_response(unwell) == plain(HTTPStatus.SERVICE_UNAVAILABLE, body)


@pytest.mark.parametrize(
    "unwell, is_serving, is_draining, wanted",
    [
        ((), True, False, (200, b"OK")),
        ((), False, False, (503, b"upstream")),
        (("worker 1", "worker 0"), True, False, (503, b"worker 0,worker 1")),
        ((), True, True, (503, b"Shutting down")),
        ((), False, True, (503, b"Shutting down")),
    ],
)
def test_ready_response(unwell, is_serving, is_draining, wanted):
    """Ready means serving, not draining, and every process well; the body says what is missing, as CoreDNS's does."""
    response = ready_response(unwell, is_serving=is_serving, is_draining=is_draining)
    assert (response.status, response.body) == wanted


async def test_endpoints():
    """/health follows the heartbeats and stays 200 while draining; /ready does not; /metrics is the page."""
    with world() as w:
        endpoints = Endpoints(Page(w.sources), 2)
        assert (await endpoints.health()).status == 503
        beat(w)
        assert (await endpoints.health()).status == 200
        assert (await endpoints.ready()).status == 503
        endpoints.is_serving = True
        assert (await endpoints.ready()).status == 200
        beat(w, worker=1, ago_s=3.5)
        assert (await endpoints.health()).body == b"worker 1: serve silent for 3.5 s\n"
        assert (await endpoints.ready()).body == b"worker 1"
        beat(w)
        endpoints.is_draining = True
        assert (await endpoints.health()).status == 200
        assert (await endpoints.ready()).body == b"Shutting down"
        page = await endpoints.metrics()
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"coredns_build_info{" in page.body


@pytest.mark.parametrize(
    "plugins, wanted",
    [
        (["health"], {"/health"}),
        (["prometheus"], {"/metrics"}),
        (["ready"], {"/ready"}),
        (["ready", "health", "prometheus"], {"/health", "/metrics", "/ready"}),
    ],
)
def test_routes(plugins, wanted):
    """An address serves the paths of the plugins that name it, and no other."""
    with world() as w:
        assert set(Endpoints(Page(w.sources), 2).routes(plugins)) == wanted


@contextlib.asynccontextmanager
async def polled(health):
    """A World and a poll of a server whose /health is this handler."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = HttpServer()
    await server.listen(sock, {"/health": health})
    with world() as w:
        poll = HealthPoll("0.0.0.0", port, w.sources, every_s=0.005)
        try:
            yield w.sources, poll, server
        finally:
            poll._drop()
            server.close()
            await asyncio.sleep(0)


async def test_poll_counts_durations():
    """Each poll is one duration in coredns_health_request_duration_seconds; the connection is kept."""

    async def health():
        return plain(HTTPStatus.OK)

    async with polled(health) as (sources, poll, server):
        for _ in range(3):
            await poll.poll()
        assert len(server._connections) == 1
    assert (sum(sources.health.counts), sources.health_failures) == (3, 0)
    assert 0 < sources.health.sum_s < 1


async def test_poll_counts_failures(capfd):
    """A 503 and a port where nobody listens are failures, counted each and logged when it begins and ends."""
    status = HTTPStatus.OK

    async def health():
        return plain(status)

    async with polled(health) as (sources, poll, server):
        status = HTTPStatus.SERVICE_UNAVAILABLE
        await poll.poll()
        await poll.poll()
        assert sources.health_failures == 2
        status = HTTPStatus.OK
        await poll.poll()
        assert sources.health_failures == 2
        server.close()
        await asyncio.sleep(0)
        await poll.poll()
    assert (sum(sources.health.counts), sources.health_failures) == (4, 3)
    out = capfd.readouterr().out
    assert (out.count("health.failed"), out.count("health.recovered")) == (2, 1)


async def test_poll_runs_until_cancelled():
    """The poll goes on, at its pace, until it is cancelled."""
    seen = asyncio.Event()

    async def health():
        if len(calls) == 2:
            seen.set()
        calls.append(None)
        return plain(HTTPStatus.OK)

    calls: list[None] = []
    async with polled(health) as (_, poll, _server):
        task = asyncio.create_task(poll.run())
        async with asyncio.timeout(2):
            await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
