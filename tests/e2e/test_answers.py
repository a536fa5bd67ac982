"""Answers as clients see them, hits and misses alike, in front of unbound and knot, as dig and dnspython read them."""

import random
import time

import dns.flags
import dns.message
import dns.query
import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask, flags, rcode, texts
from tests.peers.dig import dig
from tests.peers.script import Say, Script

WEB = "web.default.svc.cluster.local"
BY_UDP = program.STOCK.replace("force_tcp", "prefer_udp")


@pytest.fixture(scope="module", params=["unbound by TCP", "unbound by UDP", "knot by TCP"])
def front(request, kube_dns, knot, tmp_path_factory):
    """A shardns and the nameserver behind it."""
    server = knot if "knot" in request.param else kube_dns
    text = BY_UDP if "UDP" in request.param else program.STOCK
    home = tmp_path_factory.mktemp("front")
    with program.shardns(home, text, upstream=f"{server.host}:{server.port}") as made:
        yield made, server


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    "name, rtype, wanted",
    [
        (WEB, "A", "NOERROR"),
        (WEB, "AAAA", "NOERROR"),
        (WEB, "MX", "NOERROR"),
        ("db.default.svc.cluster.local", "A", "NOERROR"),
        ("_sql._tcp.db.default.svc.cluster.local", "SRV", "NOERROR"),
        ("1.10.96.10.in-addr.arpa", "PTR", "NOERROR"),
        ("dns-version.cluster.local", "TXT", "NOERROR"),
        ("long.default.svc.cluster.local", "TXT", "NOERROR"),
        ("missing.default.svc.cluster.local", "A", "NXDOMAIN"),
        ("cluster.local", "SOA", "NOERROR"),
        ("www.example.org", "AAAA", "NOERROR"),
        (WEB, "TYPE65280", "NOERROR"),
        ("www.example.net", "A", "REFUSED"),
    ],
)
def test_as_upstream_says(front, name, rtype, wanted, tcp):
    """First and cached answer hold the records and the code that the nameserver behind gives, with TTLs no higher."""
    served, server = front
    theirs = ask(name, rtype, port=server.port, tcp=True, edns=True, payload=4096)
    for _ in range(2):
        ours = ask(name, rtype, port=served.port, tcp=tcp, edns=True, payload=4096)
        assert rcode(ours) == rcode(theirs) == wanted
        for section in ("answer", "authority"):
            assert _untimed(texts(ours, section)) == _untimed(texts(theirs, section))
            assert all(0 < rrset.ttl <= 300 for rrset in getattr(ours, section))


def _untimed(lines):
    """The records without their TTLs."""
    return [[word for n, word in enumerate(line.split()) if n != 1] for line in lines]


def test_hit_is_authoritative(front):
    """A reply from the cache has AA, as node-cache's have, and RD and QR; what the nameserver says of RA stays."""
    served, server = front
    theirs = ask("api.default.svc.cluster.local", port=server.port)
    for _ in range(3):
        ours = ask("api.default.svc.cluster.local", port=served.port)
        assert {"QR", "RD", "AA"} <= flags(ours)
        assert ("RA" in flags(ours)) == ("RA" in flags(theirs))
        assert not {"TC", "AD", "CD"} & flags(ours)


def test_aa_of_a_miss_is_the_upstreams(scripted):
    """The first answer has AA as the nameserver gave it; the same from the cache has it always."""
    made, _ = scripted({"a.example.org.": Say("a.example.org. 30 IN A 192.0.2.1", aa=False)})
    assert ["AA" in flags(ask("a.example.org", port=made.port)) for _ in range(3)] == [False, True, True]


def test_names_keep_the_clients_case(served):
    """A client that mixes the case of its question gets it back so (0x20), from one entry for all spellings."""
    for spelling in ("db-0.db.default.svc.cluster.local", "DB-0.dB.Default.svc.CLUSTER.local", "dB-0.Db.deFault.svc.x"):
        name = spelling.replace(".x", ".cluster.LOCAL")
        reply = wire.send(served.port, wire.query(name))
        assert reply is not None
        assert reply[12:].startswith(wire.question(name))
    answer = ask("DB-0.DB.default.SVC.cluster.local", port=served.port)
    assert answer.question[0].name.to_text() == "DB-0.DB.default.SVC.cluster.local."
    assert answer.answer[0].name.to_text().lower() == "db-0.db.default.svc.cluster.local."


def test_ids_and_flags_are_echoed(served):
    """Every id comes back, and RD and CD as they were sent; nothing else of the query's flags does."""
    dice = random.Random(1)
    for sent in (0, wire.RD, wire.CD, wire.RD | wire.CD, wire.RD | wire.AA | wire.RA | 0x0040):
        ident = dice.getrandbits(16)
        reply = wire.send(served.port, wire.query(WEB, ident=ident, flags=sent))
        assert reply is not None
        got = int.from_bytes(reply[2:4], "big")
        assert int.from_bytes(reply[:2], "big") == ident
        assert got & (wire.RD | wire.CD) == sent & (wire.RD | wire.CD)
        assert not got & 0x0040
        assert not got & wire.TC


def test_ttl_ages_by_the_second(served):
    """All records show one TTL; it is a second less after each second."""
    name = "_dns._udp.kube-dns.kube-system.svc.cluster.local"
    ask(name, "SRV", port=served.port)
    began = time.monotonic()
    first = ask(name, "SRV", port=served.port)
    assert first.answer[0].ttl in (29, 30)
    time.sleep(2.1)
    later = ask(name, "SRV", port=served.port)
    passed = time.monotonic() - began
    assert int(passed) <= first.answer[0].ttl - later.answer[0].ttl <= int(passed) + 1


def test_one_ttl_never_below_one(scripted):
    """Every section shows the smallest TTL of the message; in its last second that is 1, not 0."""
    with_three = Say(
        "a.example.org. 2 IN A 192.0.2.1", "example.org. 300 IN NS ns.example.org.", "ns.example.org. 60 IN A 192.0.2.2"
    )
    text = program.STOCK.replace("cache 30", "cache {\n success 1024 30 1\n }")
    made, script = scripted({"a.example.org.": with_three}, text)
    until = time.monotonic() + 1.95
    seen = set()
    while time.monotonic() < until:
        answer = ask("a.example.org", port=made.port)
        ttls = {rrset.ttl for rrset in (*answer.answer, *answer.authority, *answer.additional)}
        assert len(ttls) == 1
        seen |= ttls
        time.sleep(0.1)
    assert script.asked["a.example.org. A"] == 1
    assert seen == {2, 1}


@pytest.mark.parametrize("asks_for, wanted", [("ad", True), ("do", True), ("", False)])
def test_ad(scripted, asks_for, wanted):
    """A validating nameserver's AD reaches clients that ask for it, by AD or DO, and no others (RFC 6840 s.5.8)."""
    made, _ = scripted({"a.example.org.": Say("a.example.org. 30 IN A 192.0.2.1", ad=True)})
    for _ in range(2):
        query = dns.message.make_query("a.example.org", "A", want_dnssec=asks_for == "do")
        if asks_for == "ad":
            query.flags |= dns.flags.AD
        answer = dns.query.udp(query, "127.0.0.1", port=made.port, timeout=3)
        assert ("AD" in flags(answer)) == wanted


def test_do_and_cd_are_apart(scripted):
    """Answers to plain, DO and CD queries are entries of their own, and each is asked for as the client asked."""
    says = {"a.example.org.": [Say(f"a.example.org. 30 IN A 192.0.2.{n}") for n in range(1, 6)]}
    made, script = scripted(says)
    seen: dict[str, set[str]] = {}
    for _ in range(2):
        for kind in ("plain", "do", "cd", "do cd"):
            query = dns.message.make_query("a.example.org", "A", want_dnssec="do" in kind)
            if "cd" in kind:
                query.flags |= dns.flags.CD
            answer = dns.query.udp(query, "127.0.0.1", port=made.port, timeout=3)
            assert ("CD" in flags(answer)) == ("cd" in kind)
            seen.setdefault(kind, set()).add(answer.answer[0][0].to_text())
    assert sorted(map(tuple, seen.values())) == [(f"192.0.2.{n}",) for n in range(1, 5)]
    asked = [(bool(q.ednsflags & dns.flags.DO), bool(q.flags & dns.flags.CD)) for q in script.queries]
    assert asked == [(False, False), (True, False), (False, True), (True, True)]


def test_refused_without_a_zone(launch, kube_dns):
    """A name that no server block serves is REFUSED, with its question, and counted under the zone dropped."""
    text = program.STOCK.replace(". {\n    bind", "cluster.local {\n    bind", 1)
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    assert dig(WEB, port=made.port).data() == ["10.96.10.1"]
    refused = dig("www.example.org", port=made.port)
    assert (refused.status, refused.question, refused.answer) == ("REFUSED", "www.example.org. IN A", ())
    assert made.scrape().total("coredns_dns_requests_total", zone="dropped") == 1


def test_longest_zone_wins(launch, kube_dns, knot):
    """A name goes to the block with the longest zone it is under; DS at a zone's own apex goes to the block above."""
    text = """
    . {
        bind 127.0.0.1
        forward . UPSTREAM
    }
    example.org, sub.example.org {
        bind 127.0.0.1
        forward . OTHER
    }"""
    below = Script({"*": Say("x. 5 IN TXT below")})
    above = Script({"*": Say("x. 5 IN TXT above")})
    with fake.nameserver(respond=above) as one, fake.nameserver(respond=below) as two:
        made = launch(text, upstream=f"127.0.0.1:{one.port}", places={"OTHER": f"127.0.0.1:{two.port}"})
        cases = [("a.example.com", "A"), ("a.example.org", "A"), ("a.sub.example.org", "A"), ("xexample.org", "A")]
        cases += [("example.org", "DS"), ("a.example.org", "DS"), ("sub.example.org", "DS")]
        for name, rtype in cases:
            ask(name, rtype, port=made.port)
        assert sorted(above.asked) == ["a.example.com. A", "example.org. DS", "xexample.org. A"]
        assert sorted(below.asked) == [
            "a.example.org. A",
            "a.example.org. DS",
            "a.sub.example.org. A",
            "sub.example.org. DS",
        ]


def test_reverse_zone_by_cidr(launch, kube_dns):
    """A server block whose key is a network serves its reverse zone."""
    text = program.STOCK.replace(". {\n    bind", "10.96.0.0/16 {\n    bind", 1)
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    assert dig("-x", "10.96.10.1", port=made.port).data() == ["web.default.svc.cluster.local."]
    assert dig("-x", "10.244.1.10", port=made.port).status == "REFUSED"


@pytest.mark.parametrize("rclass", ["CH", "CLASS4711"])
def test_other_classes(launch, rclass):
    """A question of another class is passed on, and its answer is never given for IN."""
    script = Script({"*": Say("version.bind. 30 CH TXT x")})
    with fake.nameserver(respond=script) as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        dig("version.bind", rclass, "TXT", port=made.port)
        assert len(script.queries) == 1
        dig("version.bind", "IN", "TXT", port=made.port)
        assert len(script.queries) == 2


def test_names_of_every_octet(launch):
    """A name may hold any octet: dots, spaces, zeros, high bits; it is asked for and answered as it is."""
    label = bytes(range(1, 60)).replace(b"A", b"")
    odd = bytes([len(label)]) + label + b"\x03\x00.\xff" + wire.name("example.org")
    query = wire.HEADER.pack(7, wire.RD, 1, 0, 0, 0) + odd + b"\0\1\0\1"
    with fake.nameserver() as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        for _ in range(2):
            reply = wire.send(made.port, query)
            assert reply is not None
            assert reply[12 : 12 + len(odd)] == odd
            assert reply[-4:] == fake.address_of(odd)
        assert server.queries == 1


def test_cname_chain_is_whole(served, kube_dns):
    """A CNAME and what it leads to come as the nameserver sent them."""
    theirs = dig("shop.default.svc.cluster.local", port=kube_dns.port)
    for _ in range(2):
        ours = dig("shop.default.svc.cluster.local", port=served.port)
        assert ours.data() == theirs.data()
