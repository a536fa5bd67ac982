"""Queries and pages, asked of peers on loopback."""

import contextlib
import http.server
import socket
import threading
import time

import pytest

from shardns.dns import codes
from supervisor.doctor import asking
from supervisor.doctor.asking import Query
from tests.peers import fake


def soon(seconds=5.0):
    """A moment to come."""
    return time.monotonic() + seconds


def test_many_at_once():
    """Each query goes out from a port of its own, by either protocol, and gets its own answer."""
    with fake.nameserver() as server:
        queries = [
            Query("127.0.0.1", server.port, protocol, asking.query(f"n{n}.example.org", codes.Type.A))
            for protocol in ("udp", "tcp")
            for n in range(20)
        ]
        replies = asking.ask(queries, soon())
        assert (server.udp, server.tcp, server.connections) == (20, 20, 20)
    for n, reply in enumerate(replies):
        assert (reply.rcode, reply.error) == ("NOERROR", "")
        assert reply.wire.endswith(fake.address_of(_wire(f"n{n % 20}.example.org")))
        assert 0 < reply.took_s < 5


def _wire(name):
    """A name in wire format."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def test_answers_of_all_kinds():
    """An rcode is told as text, also one without records."""
    with fake.nameserver() as server:
        queries = [
            Query("127.0.0.1", server.port, "udp", asking.query(name, codes.Type.A))
            for name in ("nx.example.org", "servfail.example.org")
        ]
        assert [reply.rcode for reply in asking.ask(queries, soon())] == ["NXDOMAIN", "SERVFAIL"]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_refused(protocol):
    """A port where nobody listens is told at once, by UDP as well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = time.monotonic()
    (reply,) = asking.ask([Query("127.0.0.1", port, protocol, asking.query(".", codes.Type.NS))], soon())
    assert (reply.rcode, reply.error) == ("", "Connection refused")
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_silence_is_bounded(protocol):
    """Who never answers is given up at the moment that was said, and the others' answers are there."""
    with fake.nameserver(respond=lambda _: None) as silent, fake.nameserver() as server:
        wire = asking.query("example.org", codes.Type.A)
        begin = time.monotonic()
        first, second = asking.ask(
            [Query("127.0.0.1", port, protocol, wire) for port in (silent.port, server.port)], soon(0.2)
        )
        assert time.monotonic() - begin < 2
    assert (first.rcode, first.error) == ("", asking.TIMED_OUT)
    assert second.rcode == "NOERROR"


def test_a_lost_datagram(monkeypatch):
    """A datagram that is lost is sent once more."""
    monkeypatch.setattr(asking, "RESEND_S", 0.05)
    seen = []

    def respond(query):
        seen.append(query)
        return fake.respond(query) if len(seen) > 1 else None

    with fake.nameserver(respond=respond) as server:
        wire = asking.query("example.org", codes.Type.A)
        (reply,) = asking.ask([Query("127.0.0.1", server.port, "udp", wire)], soon())
    assert reply.rcode == "NOERROR"
    assert seen == [wire, wire]


def test_others_answers_are_passed_over():
    """An answer with another id, or a query sent back, is not taken for the answer."""
    with fake.nameserver(respond=lambda query: query) as echo:
        wire = asking.query("example.org", codes.Type.A)
        (reply,) = asking.ask([Query("127.0.0.1", echo.port, "udp", wire)], soon(0.2))
    assert reply.error == asking.TIMED_OUT


def test_a_connection_closed():
    """A peer that closes without an answer is said to."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close():
            client, _ = server.accept()
            with client:
                client.recv(100)

        thread = threading.Thread(target=close)
        thread.start()
        wire = asking.query("example.org", codes.Type.A)
        (reply,) = asking.ask([Query("127.0.0.1", server.getsockname()[1], "tcp", wire)], soon())
        thread.join()
    assert "closed without an answer" in reply.error


def test_unreachable():
    """What the kernel refuses to send is an error of that query alone."""
    (reply,) = asking.ask([Query("255.255.255.255", 53, "udp", b"x" * 12)], soon())
    assert reply.error == "Permission denied"


def test_probe():
    """A probe is a query of EDNS version 1, which every nameserver has to answer by itself (RFC 6891 s.6.1.3)."""
    wire = asking.probe()
    assert wire[-11:-8] == b"\0\0\x29"
    assert wire[-5] == 1


class Handler(http.server.BaseHTTPRequestHandler):
    """503 for /health, 200 for the rest."""

    def do_GET(self):
        self.send_response(503 if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(b"worker 0: silent\n" * 1000)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def pages():
    """A server of pages; gives its port."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_get():
    """A page's status and the beginning of its body; a wildcard address is reached over loopback."""
    with pages() as port:
        page = asking.get(f"127.0.0.1:{port}", "/health", 5)
        assert (page.status, page.body.splitlines()[0]) == (503, "worker 0: silent")
        assert len(page.body) <= 4096
        assert asking.get(f":{port}", "/metrics", 5).status == 200
    assert asking.get(f"127.0.0.1:{port}", "/", 5).body == "Connection refused"


def test_get_is_bounded():
    """A server that says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        page = asking.get(f"127.0.0.1:{server.getsockname()[1]}", "/", 0.1)
    assert (page.status, page.body) == (0, asking.TIMED_OUT)
