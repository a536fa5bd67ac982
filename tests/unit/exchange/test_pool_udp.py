"""pool.py over UDP, against a nameserver on loopback."""

import pytest

from tests.fakes.nameserver import Nameserver, answer, closed_port, nameserver
from tests.unit.exchange.pools import Client, many, timed


async def test_udp_each_query_has_its_own_port_and_id():
    """UDP queries come from different random ports with different random ids."""
    async with nameserver() as server, Client(server.port) as client:
        await many(client, 100)
        assert client.all_right()
        assert len(set(server.udp_ports)) == 100
        assert len({query[:2] for query in server.seen}) > 95


@pytest.mark.slow
async def test_udp_many_queries_share_sockets_when_there_are_too_many():
    """1,500 queries at once need at most MAX_UDP_SOCKETS descriptors."""
    server = Nameserver(delay_s=0.02)
    async with nameserver(server), Client(server.port) as client:
        await many(client, 1500)
        assert client.all_right()
        assert len(set(server.udp_ports)) <= 1100


@pytest.mark.parametrize(
    "forge",
    [
        lambda query: bytes([query[0] ^ 1]) + answer(query)[1:],
        lambda query: answer(query[:13] + b"X" + query[14:]),
        lambda query: query[:2],
        lambda query: query,
    ],
    ids=["wrong id", "wrong question", "two bytes", "the query itself"],
)
@timed
async def test_udp_wrong_answers_are_ignored(forge):
    """Datagrams that do not match are ignored, and the right answer after them is taken."""
    server = Nameserver(reply=lambda query, _: [forge(query), forge(query), answer(query)])
    async with nameserver(server), Client(server.port) as client:
        outcome = await client.ask()
        assert outcome.wire
        assert client.all_right()
        assert client.durations()[0] < 0.2
        counts = client.upstream()
        assert counts.unknown_ids + counts.wrong_questions == 2


async def test_udp_truncated_is_passed_to_a_udp_client():
    """Without prefer_udp the client's transport is used and its TC is passed on."""
    server = Nameserver(reply=lambda query, by_tcp: answer(query, flags=0x8580 if by_tcp else 0x8780))
    async with nameserver(server), Client(server.port) as client:
        outcome = await client.ask()
        assert outcome.wire
        assert outcome.wire[2] & 2
        outcome = await client.ask(over_tcp=True)
        assert outcome.wire
        assert not outcome.wire[2] & 2
        assert (server.udp_queries, server.tcp_queries) == (1, 1)


@pytest.mark.parametrize("cut", [False, True])
async def test_udp_truncated_is_asked_again_by_tcp(cut):
    """With prefer_udp a truncated answer, marked or not, is asked for again by TCP; TCP clients begin with UDP too."""

    def reply(query: bytes, by_tcp: bool) -> bytes:
        if by_tcp:
            return answer(query)
        return answer(query)[:-16] if cut else answer(query, flags=0x8780)

    server = Nameserver(reply=reply)
    async with nameserver(server), Client(server.port, prefer_udp=True) as client:
        for over_tcp in (False, True):
            outcome = await client.ask(over_tcp=over_tcp)
            assert outcome.wire
            assert not outcome.wire[2] & 2
            assert outcome.wire[7] == 1
        assert (server.udp_queries, server.tcp_queries) == (2, 2)


@timed
async def test_udp_refused_goes_to_the_next_upstream_at_once():
    """ICMP port unreachable is as good as a refused dial."""
    with closed_port() as port:
        async with nameserver() as server, Client(port, server.port, policy="sequential") as client:
            outcome = await client.ask()
            assert outcome.upstream == f"127.0.0.1:{server.port}"
            assert client.durations()[0] < 0.1


async def test_udp_refused_text():
    """The failure of a lone upstream carries CoreDNS's words."""
    with closed_port() as port:
        async with Client(port) as client:
            outcome = await client.ask()
            assert outcome.detail.startswith("read udp 127.0.0.1:")
            assert outcome.detail.endswith(f"->127.0.0.1:{port}: read: connection refused")


@pytest.mark.slow
@timed
async def test_udp_lost_datagram_is_sent_again():
    """A datagram without answer is sent again within a second, from another port."""
    drops = iter([True])
    server = Nameserver(reply=lambda query, _: None if next(drops, False) else answer(query))
    async with nameserver(server), Client(server.port) as client:
        assert (await client.ask()).wire
        assert client.durations()[0] < 1.1
        assert len(set(server.udp_ports)) == 2
