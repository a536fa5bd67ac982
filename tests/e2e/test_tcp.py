"""TCP clients of every kind: in a hurry, slow, silent, many (RFC 7766)."""

import socket
import struct
import time

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask
from tests.peers.process import wait_until


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A shardns and the fake behind it."""
    with fake.nameserver() as server:
        home = tmp_path_factory.mktemp("tcp")
        with program.shardns(home, upstream=f"127.0.0.1:{server.port}") as made:
            yield made, server


@pytest.fixture
def slow(both):
    """The fake, of which the test may ask for delay; quick again afterwards."""
    _, server = both
    yield server
    server.delay_s, server.respond = 0.0, fake.respond


def _is_right(reply, name):
    """Whether the reply holds the name's own address."""
    return reply.endswith(fake.address_of(wire.name(name)))


def test_pipelined(both):
    """Two hundred queries sent in one write, hits and misses mixed, are all answered, each with its own answer."""
    made, _ = both
    names = {n: f"p{n % 120}.example.org" for n in range(200)}
    with wire.stream(made.port) as client:
        client.send(*(wire.query(name, ident=n) for n, name in names.items()))
        for _ in range(200):
            reply = client.receive()
            assert _is_right(reply, names.pop(int.from_bytes(reply[:2], "big")))
    assert not names


def test_out_of_order(both, slow):
    """A slow miss does not hold up the queries behind it: their answers come first."""
    made, _ = both
    ask("quick.example.org", port=made.port)
    slow.delay_s = 0.5
    with wire.stream(made.port) as client:
        client.send(wire.query("slow.example.org", ident=1))
        client.send(wire.query("quick.example.org", ident=2))
        began = time.monotonic()
        assert client.receive()[:2] == b"\0\2"
        assert time.monotonic() - began < 0.4
        assert _is_right(client.receive(), "slow.example.org")


def test_two_frames_in_one_segment_and_a_half(both):
    """Frames may be cut anywhere: two and a half in one write, the rest later."""
    made, _ = both
    data = b"".join(wire.frame(wire.query(f"f{n}.example.org", ident=n)) for n in range(3))
    with wire.stream(made.port) as client:
        client.sock.sendall(data[:-17])
        assert {client.receive()[:2], client.receive()[:2]} == {b"\0\0", b"\0\1"}
        client.sock.sendall(data[-17:])
        assert client.receive()[:2] == b"\0\2"


def test_one_octet_at_a_time(both):
    """A client that writes octet by octet is answered."""
    made, _ = both
    with wire.stream(made.port) as client:
        for octet in wire.frame(wire.query("octets.example.org")):
            client.sock.sendall(bytes([octet]))
            time.sleep(0.002)
        assert _is_right(client.receive(), "octets.example.org")


def test_length_in_two_writes(both):
    """The two octets of the length may come apart."""
    made, _ = both
    data = wire.frame(wire.query("length.example.org"))
    with wire.stream(made.port) as client:
        for part in (data[:1], data[1:2], data[2:]):
            client.sock.sendall(part)
            time.sleep(0.02)
        assert _is_right(client.receive(), "length.example.org")


def test_client_that_shuts_down_its_side(both, slow):
    """A client that closes its sending side after its queries still gets every answer, misses too; then the end."""
    made, _ = both
    slow.delay_s = 0.2
    with wire.stream(made.port) as client:
        client.send(wire.query("half.example.org", ident=1), wire.query("half2.example.org", ident=2))
        client.sock.shutdown(socket.SHUT_WR)
        assert {client.receive()[:2], client.receive()[:2]} == {b"\0\1", b"\0\2"}
        assert client.is_closed(3)


def test_client_that_leaves(both, slow):
    """A client that resets its connection with a query under way harms nobody; the answer is kept for the next."""
    made, _ = both
    slow.delay_s = 0.2
    with wire.stream(made.port) as client:
        client.send(wire.query("gone.example.org"))
        time.sleep(0.05)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.3)
    before = slow.queries
    assert ask("gone.example.org", port=made.port).answer
    assert slow.queries == before


def test_many_connections(both):
    """Three hundred clients at once are served, and counted."""
    made, _ = both
    clients = [socket.create_connection(("127.0.0.1", made.port), timeout=5) for _ in range(300)]
    try:
        streams = [wire.Stream(client) for client in clients]
        for n, client in enumerate(streams):
            client.send(wire.query(f"many{n}.example.org", ident=n))
        for n, client in enumerate(streams):
            assert _is_right(client.receive(), f"many{n}.example.org")
        assert made.scrape().total("shardns_worker_tcp_open") >= 300
    finally:
        for sock in clients:
            sock.close()
    wait_until(lambda: made.scrape().total("shardns_worker_tcp_open") < 300, what="connections to be counted out")


def test_time_outs(both):
    """Closed are: after 3 s a connection without a first query or with half a frame, after 10 s one without a query."""
    made, _ = both
    query = wire.frame(wire.query("whole.example.org"))
    with wire.stream(made.port) as silent, wire.stream(made.port) as half, wire.stream(made.port) as idle:
        half.sock.sendall(query + query[:9])
        idle.sock.sendall(query)
        for client in (half, idle):
            assert _is_right(client.receive(), "whole.example.org")
        began = time.monotonic()
        for client, least_s, most_s in ((silent, 2, 5.5), (half, 2, 6), (idle, 8.5, 13)):
            assert client.is_closed(14)
            assert least_s < time.monotonic() - began < most_s


def test_client_that_does_not_read(both):
    """A client that asks and never reads is closed in the end; meanwhile the others are served without delay."""
    made, _ = both
    query = wire.query("a.example.org")
    ask("a.example.org", port=made.port)
    with socket.socket() as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.connect(("127.0.0.1", made.port))
        rude.settimeout(0.5)
        try:
            for _ in range(400):
                rude.sendall(wire.frame(query) * 1000)
        except (TimeoutError, ConnectionError):
            pass
        began = time.monotonic()
        for _ in range(20):
            assert ask("a.example.org", port=made.port, tcp=True).answer
        assert time.monotonic() - began < 2
