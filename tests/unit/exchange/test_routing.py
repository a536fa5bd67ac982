"""routing.py: which of several upstreams is asked."""

import contextlib

import pytest

from shardns.exchange import Failure
from tests.fakes.nameserver import BlackHole, closed_port, nameserver
from tests.unit.exchange.pools import Client, many, paced, timed, until


@timed
async def test_tcp_syn_swallowed_by_one_of_two():
    """With another upstream a query does not wait for the dial's end."""
    hole = BlackHole()
    async with nameserver() as server, Client(hole.port, server.port, force_tcp=True, policy="sequential") as client:
        assert (await client.ask()).wire
        assert client.durations()[-1] < 0.3
    hole.close()


@pytest.mark.slow
@timed
async def test_tcp_next_upstream_takes_over():
    """A query that one upstream refuses is answered by the next; the refusing one is soon not tried any more."""
    with closed_port() as port:
        async with nameserver() as server, Client(port, server.port, force_tcp=True, policy="sequential") as client:
            await paced(client, 200, 1.8)
            assert client.all_right()
            assert client.durations()[-1] < 0.1
            assert client.upstream(0).dials < 10
            assert client.pool._peers[0].health.down


@pytest.mark.parametrize(
    "policy, wanted", [("sequential", {0: 60, 1: 0, 2: 0}), ("round_robin", {0: 20, 1: 20, 2: 20}), ("random", None)]
)
async def test_policy(policy, wanted):
    """sequential stays with the first, round_robin takes turns, random spreads."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(nameserver()) for _ in range(3)]
        ports = [server.port for server in servers]
        client = await stack.enter_async_context(Client(*ports, force_tcp=True, policy=policy))
        await many(client, 60)
        counts = {n: server.queries for n, server in enumerate(servers)}
        assert counts == wanted if wanted else all(count > 5 for count in counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("failfast", [False, True])
async def test_all_upstreams_down(failfast):
    """With all upstreams down a random one is tried and the broken check counted; with failfast none is."""
    with closed_port() as one, closed_port() as two:
        async with Client(one, two, force_tcp=True, health_check_s=0.02, failfast=failfast) as client:
            await client.ask()
            await until(lambda: all(peer.health.down for peer in client.pool._peers))
            outcome = await client.ask()
            assert outcome.failure is (Failure.ALL_DOWN if failfast else Failure.REFUSED_CONNECT)
            assert client.stats.healthcheck_broken == 1
            if failfast:
                assert outcome.detail == "no healthy proxies"


async def test_max_connect_attempts():
    """A query tries at most so many upstreams."""
    with closed_port() as one, closed_port() as two:
        async with nameserver() as server:
            client = Client(one, two, server.port, policy="sequential", force_tcp=True, max_connect_attempts=2)
            async with client:
                assert (await client.ask()).failure is Failure.REFUSED_CONNECT
                assert server.queries == 0


async def test_max_connect_attempts_counts_those_that_are_down():
    """The limit holds for the upstreams that are tried last, because they are down, too."""
    with closed_port() as one:
        async with nameserver() as server:
            client = Client(one, server.port, policy="sequential", force_tcp=True, max_connect_attempts=1)
            async with client:
                client.pool._peers[1].health.fails = 9
                assert (await client.ask()).failure is Failure.REFUSED_CONNECT
                assert server.queries == 0
