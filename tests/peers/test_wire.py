"""Bare messages, scripted answers and entered namespaces are what they say."""

import socket
import subprocess

import dns.message
import dns.rdatatype
import pytest

from tests.peers import fake, netns, wire
from tests.peers.client import ask, flags, rcode, texts
from tests.peers.script import SOA, Say, Script


def test_query_is_read_by_dnspython():
    """A query made here means to dnspython what was meant."""
    packet = wire.query("Www.Example.org", wire.AAAA, ident=7, flags=wire.RD | wire.CD, extra=wire.opt(4000, do=True))
    message = dns.message.from_wire(packet)
    assert (message.id, message.question[0].to_text()) == (7, "Www.Example.org. IN AAAA")
    assert (message.payload, message.ednsflags) == (4000, 0x8000)
    assert flags(message) == {"RD", "CD"}


def test_send_and_stream():
    """Answers come back by UDP and TCP; silence is None."""
    with fake.nameserver() as server:
        answer = wire.send(server.port, wire.query("a.example.org"))
        assert answer is not None
        assert wire.rcode(answer) == 0
        with wire.stream(server.port) as client:
            client.send(wire.query("a.example.org", ident=1), wire.query("b.example.org", ident=2))
            assert [client.receive()[:2], client.receive()[:2]] == [b"\0\1", b"\0\2"]
            assert not client.is_closed(0.05)
        assert wire.send(server.port, answer, timeout_s=0.1) is None


def test_script():
    """Answers are said in turn, the last again and again; what is not in the script is REFUSED."""
    name = "a.example.org."
    script = Script({f"{name} A": [Say(f"{name} 30 IN A 192.0.2.1"), Say(rcode="NXDOMAIN", authority=SOA)]})
    with fake.nameserver(respond=script) as server:
        assert texts(ask(name, port=server.port)) == [f"{name} 30 A 192.0.2.1"]
        assert [rcode(ask(name, port=server.port)) for _ in range(2)] == ["NXDOMAIN", "NXDOMAIN"]
        assert rcode(ask(name, "MX", port=server.port)) == "REFUSED"
        assert script.asked[f"{name} A"] == 3


@pytest.mark.netns
def test_entered(new_namespace):
    """A socket and a process made in an entered namespace are there; dials are counted there; the thread comes back."""
    outside = _links()
    with netns.entered(new_namespace("pod")):
        assert _links() == ["lo"]
        dials = netns.counter("Tcp", "ActiveOpens")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", 9)) != 0
        assert netns.counter("Tcp", "ActiveOpens") == dials + 1
        with fake.nameserver() as server:
            assert ask("a.example.org", port=server.port).answer
    assert _links() == outside


def _links():
    """The network links that a process started here sees."""
    lines = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines]
