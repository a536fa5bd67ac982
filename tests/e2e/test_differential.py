"""Random queries through shardns, each reply held against what the nameserver itself says to the same question.

DIFFERENTIAL_QUERIES in the environment makes it so many per nameserver, DIFFERENTIAL_SEED other ones.
"""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import time

import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from tests.e2e import shardns as program
from tests.peers import nameservers, wire
from tests.peers.asking import Asker, Asking, Life, differences, parsed

QUERIES = int(os.environ.get("DIFFERENTIAL_QUERIES", "600"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "20261123"))
MOST_S, LEAST_S = 30, 5  # of `cache 30`; what no record says anything about is kept for the least
PATIENCE_S = 8
LONG = ".".join(["x" * 63] * 3 + ["y" * 49])  # 255 octets with its zone
DEEP = ".".join("abcdefghij" * 11)

FIXED = f"""
example.org. 300 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 60
example.org. 300 IN NS ns.example.org.
example.org. 300 IN MX 10 mx.example.org.
example.org. 300 IN CAA 0 issue "ca.example.net"
ns.example.org. 300 IN A 192.0.2.53
mx.example.org. 300 IN AAAA 2001:db8::25
www.example.org. 300 IN A 192.0.2.1
www.example.org. 20 IN AAAA 2001:db8::1
www.example.org. 300 IN HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.1"
_http._tcp.example.org. 300 IN SRV 0 50 80 www.example.org.
e164.example.org. 300 IN NAPTR 100 50 "s" "http" "" _http._tcp.example.org.
host.example.org. 300 IN HINFO "a cpu" "an os"
host.example.org. 300 IN SSHFP 4 2 {"ab" * 32}
host.example.org. 300 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
host.example.org. 300 IN TYPE65280 \\# 4 0a000001
ptr.example.org. 300 IN PTR www.example.org.
zero.example.org. 0 IN A 192.0.2.2
one.example.org. 1 IN A 192.0.2.3
most.example.org. 86400 IN A 192.0.2.4
text.example.org. 300 IN TXT "{"t" * 255}" "{"u" * 255}" "{"v" * 255}" "{"w" * 255}" "{"x" * 255}" "{"y" * 255}"
empty.example.org. 300 IN TXT ""
{LONG}.example.org. 300 IN A 192.0.2.5
{DEEP}.example.org. 300 IN A 192.0.2.6
"""
ONLY_AUTHORITATIVE = """
. 300 IN SOA a.root.example. hostmaster.example. 1 7200 1800 86400 60
. 300 IN NS a.root.example.
a.root.example. 300 IN A 192.0.2.54
delegated. 300 IN NS ns.delegated.
ns.delegated. 300 IN A 192.0.2.55
a\\.dot.example.org. 300 IN A 192.0.2.7
\\000\\255.example.org. 300 IN A 192.0.2.8
sp\\032ace.example.org. 300 IN A 192.0.2.9
first.example.org. 300 IN CNAME second.example.org.
second.example.org. 300 IN CNAME THIRD.example.org.
third.example.org. 300 IN CNAME www.example.org.
ring.example.org. 300 IN CNAME ring2.example.org.
ring2.example.org. 300 IN CNAME ring.example.org.
dangling.example.org. 300 IN CNAME nowhere.example.org.
away.example.org. 300 IN CNAME www.delegated.
*.wild.example.org. 300 IN TXT "any"
*.alias.example.org. 300 IN CNAME www.example.org.
old.example.org. 300 IN DNAME example.org.
deep.empty-non-terminal.example.org. 300 IN A 192.0.2.10
sub.example.org. 300 IN NS ns.sub.example.org.
ns.sub.example.org. 300 IN A 192.0.2.56
"""
SETS = {
    **{
        f"set{count}.example.org.": ("A", [f"10.{count % 251}.0.{n}" for n in range(count)])
        for count in (7, 30, 90, 250)
    },
    "texts.example.org.": ("TXT", [f'"{n} {"." * 200}"' for n in range(20)]),
    "mxs.example.org.": ("MX", [f"{n} mx{n}.example.org." for n in range(20)]),
    **{f"mx{n}.example.org.": ("A", [f"192.0.2.{n}", f"198.51.100.{n}"]) for n in range(20)},
}
RECORDS = FIXED + "".join(f"{owner} 300 IN {rtype} {data}\n" for owner, (rtype, all_) in SETS.items() for data in all_)

COREFILE = program.STOCK + "example.net {\n bind 127.0.0.1\n cache 30\n forward . UPSTREAM\n}\n"


class Front:
    """A shardns, the nameserver behind it, and what the one must hold of the other's answers."""

    def __init__(self, made: program.Shardns, server: nameservers.Nameserver) -> None:
        self.made, self.server = made, server
        self._dice = random.Random(SEED)
        self._answers: dict[bytes, bytes] = {}
        self._idents: set[bytes] = set()
        self._kept: dict[object, tuple[float, float, int]] = {}  # since when, at the earliest and the latest; seconds
        self.connect()

    def connect(self) -> None:
        """Nothing; the clients are new ones."""
        self._origin = wire.Stream(socket.create_connection((self.server.host, self.server.port), timeout=PATIENCE_S))
        self._datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
        for sock in self._datagrams:
            sock.settimeout(PATIENCE_S)
            sock.connect((self.made.host, self.made.port))
        address = self.made.host, self.made.port
        self._streams = [wire.Stream(socket.create_connection(address, timeout=PATIENCE_S)) for _ in range(2)]

    def close(self) -> None:
        """Nothing; no client is left."""
        for sock in (*self._datagrams, *(stream.sock for stream in self._streams), self._origin.sock):
            sock.close()

    def origin(self, asking: Asking) -> bytes:
        """What the nameserver itself says to this question."""
        query = asking.upstream()
        if query not in self._answers:
            self._origin.send(query)
            self._answers[query] = self._origin.receive()
        return self._answers[query]

    def is_kept(self, asking: Asking) -> bool:
        """Whether the answer is in the table for a while yet."""
        kept = self._kept.get(asking.key)
        return kept is not None and time.monotonic() - kept[0] < kept[2] - 3

    def check(self, asking: Asking) -> None:
        """Nothing; the query was answered rightly."""
        theirs, tcp = self.origin(asking), self._dice.random() < 0.3
        ident = self._dice.getrandbits(16)
        began = time.monotonic()
        reply = self._exchange(asking.wire(ident), tcp=tcp)
        ended = time.monotonic()
        lives = self._lives(asking, theirs, began, ended)
        found = [differences(asking, reply, theirs, ident=ident, tcp=tcp, life=life) for life in lives]
        fitting = [life.is_hit for life, differs in zip(lives, found, strict=True) if not differs]
        if not fitting:
            wires = "\n".join(f"{message.hex():.1000}" for message in (reply, theirs))
            pytest.fail(f"{asking}, {'TCP' if tcp else 'UDP'}: {found}\n{wires}")
        life_s, is_storable = life_of(theirs)
        if False in fitting and is_storable and asking.flags & wire.RD and not asking.version:
            first = self._kept[asking.key][0] if True in fitting else began
            self._kept[asking.key] = (first, ended, life_s)

    def _exchange(self, query: bytes, *, tcp: bool) -> bytes:
        """The reply."""
        if tcp:
            stream = self._dice.choice(self._streams)
            stream.send(query)
            return stream.receive()
        sock = self._dice.choice(self._datagrams)
        sock.send(query)
        reply = sock.recv(65535)
        while (
            reply[:2] != query[:2]
        ):  # a query that was open when the upstream process was killed may be answered twice
            assert reply[:2] in self._idents
            reply = sock.recv(65535)
        self._idents.add(query[:2])
        return reply

    def _lives(self, asking: Asking, theirs: bytes, began: float, ended: float) -> list[Life]:
        """What the answer may be: from the table, from the nameserver; both when its time was up just then."""
        if asking.version:
            return [Life(False, 0, 0)]
        life_s, _ = life_of(theirs)
        lives = []
        first, last, _ = self._kept.get(asking.key, (began, began, 0))
        if asking.key in self._kept and began - last < life_s:
            youngest, oldest = max(0.0, began - last), ended - first
            lives.append(Life(True, max(1, life_s - math.ceil(oldest)), life_s - int(youngest)))
        if asking.key not in self._kept or ended - first >= life_s - 0.1:
            lives.append(Life(False, life_s, life_s))
        return lives


def life_of(message: bytes) -> tuple[int, bool]:
    """Seconds that this answer lives in the cache, and whether it is stored at all (CoreDNS 1.13.2, plugin/cache)."""
    answer = parsed(message)
    authority = {one.rdtype for one in answer.authority}
    has_soa = dns.rdatatype.SOA in authority
    if answer.rcode() in (dns.rcode.SERVFAIL, dns.rcode.NOTIMP):
        return LEAST_S, True
    if answer.rcode() != dns.rcode.NOERROR and not (answer.rcode() == dns.rcode.NXDOMAIN and has_soa):
        return LEAST_S, False
    everything = [one for section in answer.sections[1:] for one in section]
    if not everything or (not answer.answer and not has_soa and dns.rdatatype.NS in authority):
        return LEAST_S, True
    ttls = [one.ttl for one in everything]
    ttls += [one[0].minimum for one in answer.authority if one.rdtype == dns.rdatatype.SOA]
    return min(max(min(ttls), LEAST_S), MOST_S), True


def names_of(text: str) -> list[bytes]:
    """The owners of records, in wire form."""
    owners = {line.split()[0].replace("*", "star") for line in text.splitlines() if line.strip()}
    return [dns.name.from_text(owner).to_wire() or b"" for owner in sorted(owners)]


@pytest.fixture(params=["knot, signed", "unbound"])
def front(request, tmp_path):
    """A shardns in front of each nameserver; whoever answers, nothing is known at the start."""
    classes = [3, 4, 254, 255]
    if request.param == "unbound":
        text, classes = RECORDS, [1]  # it would go and ask the root servers for another class
        server = nameservers.unbound(text, tmp_path, extra="  rrset-roundrobin: no")
    else:
        text = RECORDS + ONLY_AUTHORITATIVE
        server = nameservers.knot(text, tmp_path, is_signed=True)
    with server as behind, program.shardns(tmp_path, COREFILE, upstream=f"{behind.host}:{behind.port}") as made:
        tested = Front(made, behind)
        yield tested, Asker(SEED, names_of(text), classes=classes)
        tested.close()


def test_as_the_nameserver_says(front):
    """Every reply is the nameserver's: its records, code and flags, with the TTLs, the OPT and the size that are due.

    So it is for first and cached answers, by UDP and TCP, after a reload, after the upstream process was killed, and
    once the nameserver itself is silent.
    """
    tested, asker = front
    askings = [asker.draw() for _ in range(QUERIES)]
    dice = random.Random(SEED)
    for asking in askings + dice.choices(askings, k=QUERIES):
        tested.check(asking)
    tested.made.reload(COREFILE.replace("cache 30\n forward", "cache 20\n forward"))
    tested.close()
    tested.connect()
    for asking in dice.choices(askings, k=QUERIES // 2) + [asker.draw() for _ in range(QUERIES // 4)]:
        tested.check(asking)
    for _ in range(3):
        os.kill(tested.made.pids()["upstream"], signal.SIGKILL)
        for asking in dice.choices(askings, k=QUERIES // 8) + [asker.draw() for _ in range(QUERIES // 8)]:
            tested.check(asking)
    os.kill(tested.server.process.pid, signal.SIGSTOP)
    kept = 0
    for asking in askings:
        if tested.is_kept(asking):
            tested.check(asking)
            kept += 1
    assert kept > QUERIES // 10
    os.kill(tested.server.process.pid, signal.SIGCONT)
