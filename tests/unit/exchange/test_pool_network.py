import asyncio
import contextlib
import time

import pytest

from shardns.exchange import PoolConfig, Upstream
from tests.fakes.nameserver import Nameserver, nameserver
from tests.peers import netns
from tests.unit.exchange.pools import Client, paced, timed

SERVER = "192.0.2.2"
OTHER = "192.0.2.3"


@pytest.mark.netns
@pytest.mark.slow
@timed
async def test_packets_of_open_connections_are_dropped(new_namespace):
    """A replica whose packets are dropped while its connections stay open: every query is answered within 0.3 s over
    new connections, and the dead ones are closed.
    """
    client_side, server_side = new_namespace("client"), new_namespace("server")
    netns.join(client_side, "192.0.2.1/24", server_side, f"{SERVER}/24")
    async with contextlib.AsyncExitStack() as stack:
        with netns.entered(server_side):
            server = await stack.enter_async_context(nameserver(Nameserver(address=SERVER)))
        with netns.entered(client_side):
            client = await stack.enter_async_context(Client(server.port, address=SERVER, force_tcp=True))
            await paced(client, 200, 0.4)
            dead = list(server.connections)
            for connection in dead:
                rule = ["INPUT", "-p", "tcp", "--sport", str(connection.port), "-j", "DROP"]
                server_side.run("iptables", "-I", *rule)
            client.outcomes.clear()
            await paced(client, 200, 2.5)
            assert client.all_right()
            assert client.durations()[-1] < 0.3
            assert sum(took > 0.1 for took in client.durations()) <= 0.15 * 200 + 10
            assert client.upstream().open_connections <= 2
            assert len(server.connections) <= len(dead) + 3


@pytest.mark.netns
@pytest.mark.slow
@timed
@pytest.mark.parametrize("force_tcp", [True, False])
async def test_one_of_two_upstreams_goes_dark(new_namespace, force_tcp):
    """An upstream whose host dies, so that packets and SYNs are dropped: its queries are answered by the other one,
    the first ones within 0.3 s by TCP and 1 s by UDP, and soon it is not asked any more.
    """
    client_side, server_side = new_namespace("client"), new_namespace("server")
    netns.join(client_side, "192.0.2.1/24", server_side, f"{SERVER}/24")
    server_side.add_address(OTHER, server_side.links[0])
    async with contextlib.AsyncExitStack() as stack:
        with netns.entered(server_side):
            one = await stack.enter_async_context(nameserver(Nameserver(address=SERVER)))
            await stack.enter_async_context(nameserver(Nameserver(one.port, OTHER)))
        config = PoolConfig((Upstream.at(SERVER, one.port), Upstream.at(OTHER, one.port)), force_tcp=force_tcp)
        with netns.entered(client_side):
            client = await stack.enter_async_context(Client(one.port, config=config))
            await paced(client, 200, 0.3)
            assert client.all_right()
            server_side.run("iptables", "-I", "INPUT", "-d", SERVER, "-j", "DROP")
            client.outcomes.clear()
            await paced(client, 100, 5)
            assert client.all_right()
            assert client.durations()[-1] < (0.3 if force_tcp else 1.0)
            client.outcomes.clear()
            await paced(client, 200, 0.5)
            assert client.durations()[-1] < 0.1


@timed
async def test_uvloop_serves_as_well():
    """The same sockets work on uvloop: TCP, UDP, a refusal and a truncated answer."""
    uvloop = pytest.importorskip("uvloop")

    def run() -> tuple[int, int]:
        async def work() -> tuple[int, int]:
            async with nameserver() as server, Client(server.port, force_tcp=True) as client:
                await paced(client, 500, 0.3)
                assert client.all_right()
                async with Client(server.port) as by_udp:
                    await paced(by_udp, 500, 0.3)
                    assert by_udp.all_right()
                return server.tcp_queries, server.udp_queries

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())

    assert await asyncio.to_thread(run) == (150, 150)


@pytest.mark.parametrize("count", [20, 3000])
async def test_own_stall_is_not_held_against_the_upstream(count):
    """A process that did not run for 0.3 s reads the answers that came meanwhile before it takes any for late, even
    where the loop runs timers first, and however many answers there are.
    """

    async def work(server: Nameserver) -> None:
        async with Client(server.port, force_tcp=True) as client:
            await client.ask()
            futures = [client.ask(f"n{n}.example.org.") for n in range(count)]
            client.pool.turn.end()
            while server.tcp_replies <= count:
                time.sleep(0.01)  # noqa: ASYNC251 - the stall, which lasts until every answer is on its way
            time.sleep(0.3)  # noqa: ASYNC251
            client.pool._tick()
            await asyncio.gather(*futures)
            assert client.all_right()
            assert client.upstream().hedges == 0

    async with nameserver() as server:
        await asyncio.to_thread(asyncio.run, work(server))
