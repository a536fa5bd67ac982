"""supervisor.cli.standin as clients see it: dig and dnspython, by UDP and TCP."""

import contextlib
import os
import socket
import struct
import subprocess
import sys

import dns.message
import pytest

from supervisor.cli import standin
from tests.peers.client import ask, rcode, texts
from tests.peers.dig import dig


@pytest.fixture(scope="module")
def port():
    """One stand-in for the whole file."""
    with standin.serve() as (_, free):
        yield free


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    "name, rtype, wanted",
    [
        ("kubernetes.default.svc.cluster.local", "A", ["10.96.0.1"]),
        ("kube-dns.kube-system.svc.cluster.local", "A", ["10.96.0.10"]),
        ("web.default.svc.cluster.local", "AAAA", ["fd00:10:96::a01"]),
        ("db.default.svc.cluster.local", "A", ["10.244.1.10", "10.244.2.10", "10.244.3.10"]),
        ("db-1.db.default.svc.cluster.local", "A", ["10.244.2.10"]),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", ["0 100 80 web.default.svc.cluster.local."]),
        ("shop.default.svc.cluster.local", "A", ["192.0.2.80", "www.example.org."]),
        ("1.10.96.10.in-addr.arpa", "PTR", ["web.default.svc.cluster.local."]),
        ("10.3.244.10.in-addr.arpa", "PTR", ["db-2.db.default.svc.cluster.local."]),
        ("www.example.org", "AAAA", ["2001:db8::80"]),
    ],
)
def test_dig(port, name, rtype, wanted, tcp):
    """Dig gets the cluster's records, authoritative, by UDP and by TCP alike."""
    answer = dig(name, rtype, "+tcp" if tcp else "+notcp", port=port)
    assert (answer.status, answer.data(), answer.by_tcp) == ("NOERROR", wanted, tcp)
    assert {"qr", "aa", "rd"} <= answer.flags


@pytest.mark.parametrize(
    "name, rtype, wanted_rcode",
    [("missing.default.svc.cluster.local", "A", "NXDOMAIN"), ("api.default.svc.cluster.local", "AAAA", "NOERROR")],
)
def test_denial(port, name, rtype, wanted_rcode):
    """NXDOMAIN and NODATA come with the zone's SOA: TTL 30, minimum 30."""
    answer = ask(name, rtype, port=port)
    soa = "cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
    assert (rcode(answer), texts(answer), texts(answer, "authority")) == (wanted_rcode, [], [soa])


@pytest.mark.parametrize(
    "name, rtype, count", [("big.default.svc.cluster.local", "A", 100), ("long.default.svc.cluster.local", "TXT", 1)]
)
def test_large(port, name, rtype, count):
    """A set above 1,232 bytes comes truncated by UDP, whatever size the client announces, and whole by TCP."""
    assert {"tc"} <= dig(name, rtype, "+ignore", "+bufsize=4096", port=port).flags
    whole = dig(name, rtype, port=port)
    assert (whole.by_tcp, len(whole.answer)) == (True, count)
    assert whole.size > 1232


def test_every_record_is_served(port):
    """Each record of the zone text is in the answer to its name and type, over one TCP connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client, client.makefile("rb") as stream:
        for line in standin.records().splitlines():
            owner, _, _, rtype, data = line.split(maxsplit=4)
            query = dns.message.make_query(owner, rtype).to_wire()
            client.sendall(struct.pack("!H", len(query)) + query)
            answer = dns.message.from_wire(stream.read(struct.unpack("!H", stream.read(2))[0]))
            assert any(data.rstrip(".") in text for text in texts(answer)), line


def test_garbage_is_survived(port):
    """Bytes that are no query get FORMERR or silence, and the next client is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for wire in (
            b"",
            b"\x00",
            os.urandom(40),
            b"\xff" * 600,
            b"\x00\x01\x00\x00\x00\x01" + b"\x00" * 6 + b"\xc0\x0c",
        ):
            client.sendto(wire, ("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"\x00\x04abcd")
        assert client.recv(10) == b""
    assert rcode(ask("web.default.svc.cluster.local", port=port)) == "NOERROR"


def test_port_taken():
    """A port that is taken is an OSError that names it, not a stand-in nobody reaches."""
    with standin.serve() as (host, port):
        second = standin.serve(host, port)
        with pytest.raises(OSError, match=f"cannot listen on {host} port {port}: Address already in use"), second:
            pass


def test_connections_are_bounded():
    """The connection above the limit is closed; those held are answered."""
    with standin.serve() as (host, port), contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, port))) for _ in range(standin.MAX_CLIENTS)]
        for client in held:
            client.settimeout(5)
            _exchange(client)
        with socket.create_connection((host, port), timeout=5) as refused:
            assert refused.recv(1) == b""
        _exchange(held[0])


def test_ends_with_its_parent():
    """The process ends when its standard input does, so it never outlives whoever started it."""
    command = [sys.executable, "-m", "supervisor.cli.standin", "127.0.0.1", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"ready ")
        child.stdin.close()
        assert child.wait(5) == 0


def _exchange(client):
    """Nothing; one query is answered on the connection."""
    query = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()
    client.sendall(struct.pack("!H", len(query)) + query)
    head = client.recv(2)
    assert len(head) == 2
    assert len(client.recv(4096)) == struct.unpack("!H", head)[0]
