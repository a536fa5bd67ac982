"""The fake nameserver and the load do what they say: tests of shardns rest on them."""

import socket
import struct
import time

import dns.message
import pytest

from tests.peers import fake, load
from tests.peers.client import ask, rcode, texts
from tests.peers.process import wait_until


def test_answers():
    """A name's address follows from the name; the prefixes nx, ttlN- and servfail do what they say."""
    with fake.nameserver() as server:
        assert texts(ask("a.example.org", port=server.port)) == [
            f"a.example.org. 300 A {fake.address_text('a.example.org')}"
        ]
        assert ask("ttl7-a.example.org", port=server.port, tcp=True).answer[0].ttl == 7
        assert rcode(ask("nx.example.org", port=server.port)) == "NXDOMAIN"
        assert rcode(ask("servfail.example.org", port=server.port)) == "SERVFAIL"
        nodata = ask("a.example.org", "AAAA", port=server.port)
        assert (rcode(nodata), len(nodata.authority)) == ("NOERROR", 1)
        assert (server.udp, server.tcp, server.connections) == (4, 1, 1)
        assert server.names[b"\x01a\x07example\x03org\x00"] == 2


def _asked(client):
    """Nothing; one query is sent on a TCP connection."""
    query = dns.message.make_query("a.example.org", "A").to_wire()
    client.sendall(struct.pack("!H", len(query)) + query)


def test_mute():
    """A muted connection stays open and says nothing; a new one is answered."""
    with fake.nameserver() as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(5)
        _asked(client)
        assert client.recv(4096)
        assert server.mute() == 1
        client.settimeout(0.1)
        _asked(client)
        with pytest.raises(TimeoutError):
            client.recv(4096)
        assert ask("a.example.org", port=server.port, tcp=True).answer


def test_close_after_and_delay():
    """A connection is closed at its age; an answer comes after the delay."""
    with fake.nameserver(close_after_s=0.15, delay_s=0.03) as server:
        began = time.monotonic()
        ask("a.example.org", port=server.port)
        assert time.monotonic() - began >= 0.03
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.settimeout(5)
            assert client.recv(1) == b""
        wait_until(lambda: not server.open_now)


def test_syn_is_swallowed():
    """A dial to that port neither succeeds nor fails within a second."""
    with fake.swallowing_syn() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.3)


def test_load_counts_right_answers():
    """Every answered query of a healthy server is counted, with its latency."""
    with fake.nameserver() as server:
        done = load.run(server.port, rate=500, seconds=0.4)
        assert (done.sent, done.answered, done.wrong, done.lost) == (200, 200, 0, 0)
        assert server.queries == len(server.names) == 200
        assert 0 < done.p50_ms <= done.p99_ms <= done.max_ms


def test_load_sees_lost_and_wrong():
    """A query without answer is lost; an answer with another name's address is wrong."""
    with fake.nameserver() as server:

        def some(query: bytes) -> bytes | None:
            answer = fake.respond(query)
            if answer is None or query[13:15] == b"n1":
                return None
            return answer[:-4] + b"\x7f\0\0\1" if query[13:15] == b"n2" else answer

        server.respond = some
        running = load.start(server.port, rate=500, seconds=0.2, hot=10, wait_s=0.3)
        done = load.result(running)
        assert (done.sent, done.answered, done.wrong, done.lost) == (100, 80, 10, 10)
        assert "n2" in done.first_wrong
