"""pool.py over TCP, against a nameserver on loopback that behaves as it should not."""

import asyncio
import time

import pytest

from shardns.exchange import Failure
from tests.fakes.nameserver import BlackHole, Nameserver, answer, closed_port, name_of, nameserver
from tests.unit.exchange.pools import Client, Stalls, many, paced, timed, until


async def test_tcp_500_distinct_misses_share_few_connections():
    """500 queries at once go over at most 4 connections and are all answered, in whatever order answers come."""
    server = Nameserver(delay_s=lambda query: (hash(query) % 20) / 1000)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await many(client, 500)
        assert client.all_right()
        assert len(server.connections) <= 4
        assert server.tcp_queries == 500


@pytest.mark.slow
async def test_tcp_slow_upstream_is_not_stormed():
    """500 queries to an upstream that needs 0.8 s for each: at most 4 connections, each asked twice at most."""
    server = Nameserver(delay_s=0.8)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await many(client, 500)
        assert client.all_right()
        assert len(server.connections) <= 4
        assert server.tcp_queries <= 1000
        server.tcp_queries = 0
        await many(client, 200)
        assert server.tcp_queries <= 260, "what it has learned is that 0.8 s are normal"


@pytest.mark.parametrize("close_after_queries", [1, 5, 128])
@timed
async def test_tcp_connection_closed_after_some_queries(close_after_queries):
    """Queries on a connection that the upstream closes are asked again: none is lost, none waits for a time-out."""
    server = Nameserver(close_after_queries=close_after_queries)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        for n in range(40 // close_after_queries + 3):
            await many(client, min(close_after_queries, 4) + n % 2)
        assert client.all_right()
        assert client.durations()[-1] < 0.15


async def test_tcp_burst_over_connections_that_take_128_queries():
    """A burst larger than the upstream takes per connection (CoreDNS before 1.10.1) is answered over several."""
    server = Nameserver(close_after_queries=128)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await many(client, 500)
        assert client.all_right()
        assert server.most_open <= 4


@pytest.mark.slow
@timed
async def test_tcp_upstream_closes_each_connection_after_200_ms():
    """20 ms away, each connection closed after 0.2 s, 500 queries/s: 0 lost, p99 at most 41 ms."""
    server = Nameserver(delay_s=0.02, close_after_s=0.2)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        stalls = Stalls()
        watch = asyncio.create_task(stalls.watch())
        await paced(client, 500, 3)
        watch.cancel()
        assert client.all_right()
        durations = sorted(ended - begun for begun, ended in client.times if not stalls.between(begun, ended))
        if len(durations) < 100:
            pytest.skip("the machine is too busy to tell our time from its own")
        assert durations[int(0.99 * len(durations))] <= 0.041
        assert client.upstream().timeouts == 0
        assert len(server.connections) < 100


@pytest.mark.slow
@timed
async def test_tcp_silent_connection():
    """A connection that falls silent: its queries are asked elsewhere within 0.3 s, new ones never meet it."""
    server = Nameserver()
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await many(client, 20)
        await asyncio.sleep(0.12)
        await many(client, 20)
        for connection in server.connections:
            connection.silent = True
        silent = len(server.connections)
        await many(client, 50)
        assert client.all_right()
        assert client.durations()[-1] < 0.3
        client.outcomes.clear()
        await many(client, 50)
        assert client.durations()[-1] < 0.1
        assert len(server.connections) > silent
        assert client.upstream().hedges == 50


@pytest.mark.slow
async def test_tcp_connection_that_stays_silent_is_closed():
    """A connection that owes answers for 2 s is closed, though the network says nothing against it."""
    server = Nameserver(silent_first=1)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await paced(client, 20, 2.6)
        assert client.all_right()
        await until(server.connections[0].writer.transport.is_closing)
        assert client.upstream().open_connections == server.open


@pytest.mark.slow
async def test_tcp_slow_name_alone_is_not_asked_again_while_others_are_answered():
    """A slow name on a connection that answers others costs no second query before RETRY_AT_S."""
    server = Nameserver(delay_s=lambda query: 0.5 if name_of(query).startswith("slow") else 0.0)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        slow = client.ask("slow.example.org.")
        for n in range(40):
            await client.ask(f"n{n}.example.org.")
            await asyncio.sleep(0.01)
        assert (await slow).wire
        assert [name_of(query) for query in server.seen].count("slow.example.org") == 1


@pytest.mark.slow
@timed
async def test_tcp_slow_query_blocks_others_on_a_serial_upstream_only_until_hedged():
    """On an upstream that answers each connection in turn, a slow query delays the others by 0.2 s at most."""
    server = Nameserver(serial=True, delay_s=lambda query: 1.0 if name_of(query).startswith("slow") else 0.0)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        await client.ask()
        slow = client.ask("slow.example.org.")
        await asyncio.gather(*(client.ask(f"n{n}.example.org.") for n in range(30)))
        assert client.durations()[-1] < 0.25
        await slow
        assert client.all_right()


@pytest.mark.slow
@pytest.mark.parametrize("limit, delay_s", [(1, 0.0), (3, 0.01)])
async def test_tcp_upstream_that_takes_few_queries_per_connection(limit, delay_s):
    """An upstream that closes after so many queries gets no more on one connection, once that is known."""
    server = Nameserver(serial=True, close_after_queries=limit, delay_s=delay_s)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        for _ in range(4):
            await many(client, 2 * limit)
        client.outcomes.clear()
        server.tcp_queries = 0
        await many(client, 60)
        assert client.all_right()
        assert server.tcp_queries <= 66
        assert server.most_open <= 34


@timed
async def test_tcp_refused():
    """One query to an upstream that refuses: at most 2 dials, and the failure within 50 ms in CoreDNS's words."""
    with closed_port() as port:
        async with Client(port, force_tcp=True) as client:
            outcome = await client.ask()
            assert outcome.failure is Failure.REFUSED_CONNECT
            assert outcome.detail == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
            assert client.durations()[-1] < 0.05
            assert client.upstream().dials <= 2
            await many(client, 200)
            assert client.durations()[-1] < 0.05
            assert client.upstream().dials <= 3


@pytest.mark.slow
async def test_tcp_refused_dials_are_bounded():
    """Queries all the time to an upstream that refuses: a few dials a second, not thousands."""
    with closed_port() as port:
        async with Client(port, force_tcp=True) as client:
            outcomes = await paced(client, 300, 1.5)
            assert all(outcome.failure is Failure.REFUSED_CONNECT for outcome in outcomes)
            assert client.upstream().dials <= 12


@pytest.mark.slow
@timed
async def test_tcp_syn_swallowed():
    """An upstream that swallows SYNs: all queries fail within 2 s, with at most 2 dials."""
    hole = BlackHole()
    async with Client(hole.port, force_tcp=True) as client:
        outcomes = await many(client, 20)
        assert {outcome.failure for outcome in outcomes} == {Failure.REFUSED_CONNECT}
        assert outcomes[0].detail == f"dial tcp 127.0.0.1:{hole.port}: i/o timeout"
        assert client.durations()[-1] < 2
        assert client.upstream().dials <= 2
        await client.ask()
        assert client.outcomes[-1][2] < 0.05
    hole.close()


@pytest.mark.slow
@timed
async def test_tcp_upstream_comes_back():
    """An upstream that was away for 2 s is asked again soon after it is back, without any query dialling for it."""
    async with nameserver() as server, Client(server.port, force_tcp=True) as client:
        await many(client, 10)
        await server.stop()
        away = await paced(client, 50, 2)
        assert all(outcome.failure for outcome in away)
        assert client.upstream().healthcheck_failures >= 3
        await server.start()
        begun = time.monotonic()
        while (await client.ask()).wire is None:
            await asyncio.sleep(0.01)
            assert time.monotonic() - begun < 0.8
        assert all(outcome.wire for outcome in await many(client, 100))


async def test_tcp_idle_connection_expires():
    """A connection without queries is closed after `expire`."""
    async with nameserver() as server, Client(server.port, force_tcp=True, expire_s=0.2) as client:
        await client.ask()
        assert server.open >= 1
        await until(lambda: server.open == 0)
        assert client.upstream().open_connections == 0


@pytest.mark.slow
async def test_tcp_old_connections_are_replaced_without_loss():
    """Connections older than their limit give way to new ones while queries go on; none is asked twice."""
    async with nameserver() as server, Client(server.port, force_tcp=True, max_age_s=0.3) as client:
        await paced(client, 300, 1.5)
        assert client.all_right()
        assert len(server.connections) >= 5
        assert server.most_open <= 4
        assert server.tcp_queries == 450


@pytest.mark.parametrize("wrong, queries", [(1, 2), (9, 2)])
async def test_tcp_wrong_question_is_asked_again_once(wrong, queries):
    """An answer with the right id and another question may be the late one to an id that is used again: one repetition,
    then MALFORMED.
    """
    left = iter([True] * wrong)

    def reply(query: bytes, _: bool) -> bytes:
        return answer(query[:13] + b"X" + query[14:] if next(left, False) else query)

    server = Nameserver(reply=reply)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        outcome = await client.ask()
        assert server.queries == queries
        assert client.upstream().wrong_questions == min(wrong, 2)
        if wrong == 1:
            assert client.all_right()
        else:
            assert outcome.failure is Failure.MALFORMED
            assert outcome.detail == "dns: answer is for another question"


async def test_tcp_question_in_other_case_is_right():
    """The echoed name is compared without case."""
    server = Nameserver(reply=lambda query, _: answer(query).replace(b"www", b"WwW"))
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        assert (await client.ask()).wire


@pytest.mark.parametrize("over_tcp", [True, False])
async def test_unparsable_answer_is_asked_again_once(over_tcp):
    """Garbage for an answer: one repetition, then MALFORMED; by UDP garbage is ignored, or truncation."""
    server = Nameserver(reply=lambda query, _: answer(query)[:-7])
    async with nameserver(server), Client(server.port) as client:
        outcome = await client.ask(over_tcp=over_tcp)
        if over_tcp:
            assert outcome.failure is Failure.MALFORMED
            assert server.queries == 2
        else:
            assert outcome.wire
            assert outcome.wire[2] & 2
            assert server.queries == 1


async def test_tcp_nonsense_frames_end_the_connection_not_the_pool():
    """A frame too short for a header makes the stream unreadable: the connection is dropped, with few repetitions."""
    server = Nameserver(reply=lambda *_: b"\0\0\0")
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        outcome = await client.ask()
        assert outcome.wire is None
        assert server.queries <= 3


async def test_tcp_upstream_that_accepts_and_closes_is_not_stormed():
    """An upstream that closes without answering is treated as one that refuses."""
    server = Nameserver(close_after_queries=1, reply=lambda *_: None)
    async with nameserver(server), Client(server.port, force_tcp=True) as client:
        outcome = await client.ask()
        assert outcome.wire is None
        assert outcome.detail == "EOF"
        assert len(server.connections) <= 3


@pytest.mark.slow
@timed
async def test_tcp_silent_upstream_fails_within_the_limit():
    """An upstream that never answers: the failure comes after 4 s, before a stub resolver gives up, in few queries."""
    server = Nameserver(reply=lambda *_: None)
    async with nameserver(server), Client(server.port, force_tcp=True, max_fails=0) as client:
        outcome = await client.ask()
        assert outcome.failure is Failure.TIMEOUT
        assert outcome.detail.endswith(f"->127.0.0.1:{server.port}: i/o timeout")
        assert outcome.detail.startswith("read tcp 127.0.0.1:")
        assert 3.5 < client.durations()[0] < 4.5
        assert server.queries <= 4


async def test_ipv6():
    """An IPv6 upstream is asked by both transports, and stands in brackets in errors."""
    try:
        async with nameserver(Nameserver(address="::1")) as server:
            async with Client(server.port, address="::1") as client:
                for over_tcp in (True, False):
                    assert (await client.ask(over_tcp=over_tcp)).wire
            assert (server.tcp_queries, server.udp_queries) == (1, 1)
            port = server.port
    except OSError:
        pytest.skip("no IPv6 loopback here")
    async with Client(port, address="::1", force_tcp=True) as client:
        assert (await client.ask()).detail == f"dial tcp [::1]:{port}: connect: connection refused"
