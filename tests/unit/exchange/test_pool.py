"""pool.py: limits, health checks, counts, the end."""

import asyncio

import pytest

from shardns.dns import message, names
from shardns.exchange import Failure
from tests.fakes.nameserver import BlackHole, Nameserver, answer, nameserver
from tests.unit.exchange.pools import Client, many


async def test_max_concurrent():
    """Queries beyond max_concurrent are refused and counted; when others end there is room again."""
    server = Nameserver(delay_s=0.05)
    async with nameserver(server), Client(server.port, force_tcp=True, max_concurrent=10) as client:
        outcomes = await many(client, 15)
        refused = [outcome for outcome in outcomes if outcome.failure is Failure.MAX_CONCURRENT]
        assert len(refused) == 5
        assert refused[0].detail == "concurrent queries exceeded maximum 10"
        assert client.stats.max_concurrent_rejects == 5
        assert (await client.ask()).wire


@pytest.mark.slow
@pytest.mark.parametrize("no_rec, domain", [(False, "."), (True, "health.example.org.")])
async def test_health_check_question(no_rec, domain):
    """The check asks for the domain's NS with RD as set, only after an error, until one reply comes."""
    drops = iter([True] * 3)
    server = Nameserver(reply=lambda query, _: None if next(drops, False) else answer(query, rcode=5))
    async with (
        nameserver(server),
        Client(server.port, health_check_s=0.1, health_check_no_rec=no_rec, health_check_domain=domain) as client,
    ):
        await client.ask()
        await asyncio.sleep(0.3)
        checks = [query for query in server.seen if query[-4:] == b"\0\2\0\1"]
        assert checks
        assert all((query[2] & 1) == (not no_rec) for query in checks)
        assert names.from_wire(checks[0][12:]) == domain
        seen = server.queries
        await asyncio.sleep(0.3)
        assert server.queries == seen


async def test_max_fails_0_never_checks():
    """With max_fails 0 no check is ever made; an upstream that is back is found by the next query's dial."""
    async with nameserver() as server:
        await server.stop()
        async with Client(server.port, force_tcp=True, max_fails=0) as client:
            assert (await client.ask()).failure
            await server.start()
            await asyncio.sleep(0.2)
            assert server.queries == 0
            assert (await client.ask()).wire


async def test_close_ends_every_query_once():
    """Closing the pool ends what waits, by TCP, by UDP, for a dial; later queries end too, and no socket is left."""
    hole = BlackHole()
    server = Nameserver(reply=lambda *_: None)
    async with nameserver(server):
        for client in (Client(server.port), Client(hole.port)):
            futures = [client.ask(over_tcp=n % 2 == 0) for n in range(20)]
            await asyncio.sleep(0.01)
            await client.pool.close()
            futures.append(client.ask())
            assert {outcome.failure for outcome in await asyncio.gather(*futures)} <= {
                Failure.CLOSED,
                Failure.REFUSED_CONNECT,
            }
    hole.close()


async def test_metrics():
    """Answers are counted by upstream and rcode; queries that waited for a dial are cache misses of CoreDNS's kind."""
    server = Nameserver(reply=lambda query, _: answer(query, rcode=3))
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await client.ask()
        await client.ask()
        counts = client.upstream()
        histogram = counts.durations[3]
        assert histogram is not None
        assert sum(histogram.counts) == 2
        assert counts.conn_cache_misses("tcp") == 1
        assert counts.conn_cache_hits("tcp") == 1
        assert counts.durations[0] is None


async def test_a_callback_that_raises_costs_no_other_answer():
    """An exception in one done callback is reported and the other answers of the batch are delivered."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with nameserver() as server, Client(server.port, force_tcp=True) as client:
        query = message.query(names.to_wire("bad.example.org."), 1, id=0)
        client.pool.ask(query, True, lambda _: 1 / 0)
        await many(client, 20)
        assert client.all_right()
        assert len(complaints) == 1
