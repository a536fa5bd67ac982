"""OPT, sizes and truncation as clients see them (RFC 6891, RFC 2181 s.9, RFC 7766)."""

import dns.edns
import dns.message
import dns.query
import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask, flags, rcode
from tests.peers.dig import dig
from tests.peers.script import Say

WEB = "web.default.svc.cluster.local"
BIG = "big.default.svc.cluster.local"
LONG = "long.default.svc.cluster.local"
AS_CLIENT = program.STOCK.replace(" {\n        force_tcp\n    }", "")


def test_opt_only_when_asked(served):
    """A client without OPT gets none; one with OPT gets version 0, its own size and its DO."""
    for _ in range(2):
        assert dig(WEB, "+noedns", port=served.port).edns is None
        plain = dig(WEB, "+bufsize=1400", "+nocookie", port=served.port).edns
        assert plain is not None
        assert (plain.version, plain.size, plain.flags) == (0, 1400, frozenset())
        signed = dig(WEB, "+dnssec", "+bufsize=4096", "+nocookie", port=served.port).edns
        assert signed is not None
        assert (signed.version, signed.size, signed.flags) == (0, 4096, frozenset({"do"}))


def test_opt_of_upstream_stays_upstream(served):
    """unbound's OPT does not reach a client that sent none, whoever asked for the name first."""
    name = "2.10.96.10.in-addr.arpa"
    assert dig(name, "PTR", port=served.port).edns is not None
    assert dig(name, "PTR", "+noedns", port=served.port).edns is None


@pytest.mark.parametrize("tcp", ["+notcp", "+tcp"])
@pytest.mark.parametrize("version", [1, 100, 255])
def test_badvers(served, version, tcp):
    """Another version of EDNS is answered BADVERS, with an OPT of version 0 and no records."""
    answer = dig(WEB, f"+edns={version}", "+noednsnegotiation", tcp, port=served.port)
    assert (answer.status, answer.answer) == ("BADVERS", ())
    assert answer.edns is not None
    assert answer.edns.version == 0


def test_options_are_no_matter(served):
    """Cookie, NSID, padding, client subnet and options nobody knows change nothing and are not sent back."""
    options: list[dns.edns.Option] = [
        dns.edns.GenericOption(dns.edns.OptionType.make(code), b"\1\2\3\4\5\6\7\10")
        for code in (3, 8, 10, 12, 15, 65001)
    ]
    for _ in range(2):
        query = dns.message.make_query(WEB, "A", use_edns=0, options=options)
        answer = dns.query.udp(query, "127.0.0.1", port=served.port, timeout=3)
        assert answer.answer[0][0].to_text() == "10.96.10.1"
        assert answer.options == ()


@pytest.mark.parametrize("size", [512, 700, 1232])
def test_truncated_by_udp_whole_by_tcp(served, size):
    """A reply is no larger than the client takes, whole records with TC; by TCP it is whole."""
    for _ in range(2):
        cut = dig(BIG, f"+bufsize={size}", "+ignore", "+nocookie", port=served.port)
        assert cut.size <= size
        assert "tc" in cut.flags
        assert 0 < len(cut.answer) < 100
        assert size - cut.size < 16 + 11
        whole = dig(BIG, f"+bufsize={size}", port=served.port)
        assert (len(whole.answer), whole.by_tcp) == (100, True)
        assert "tc" not in whole.flags
    assert len(dig(BIG, "+tcp", "+noedns", port=served.port).answer) == 100


def test_without_edns_512_octets(served):
    """A client without OPT takes 512 octets, one that offers less is taken to take 512 (RFC 6891 s.6.2.5)."""
    for extra in (b"", wire.opt(0), wire.opt(100)):
        reply = wire.send(served.port, wire.query(BIG, extra=extra))
        assert reply is not None
        assert 480 < len(reply) <= 512
        assert reply[2] & 2
        assert (reply[11] == 1) == bool(extra)


def test_one_large_record(served):
    """A record that does not fit leaves an empty answer with TC; whoever has room gets it by UDP."""
    assert flags(ask(LONG, "TXT", port=served.port)) >= {"TC"}
    assert ask(LONG, "TXT", port=served.port).answer == []
    room = ask(LONG, "TXT", port=served.port, edns=True, payload=4096)
    assert "TC" not in flags(room)
    assert len(room.answer[0][0].strings) == 6


def test_udp_sizes_have_an_end(scripted):
    """Whatever a client offers, a UDP reply is at most 4,096 octets."""
    records = "\n".join(f"a.example.org. 30 IN A 10.1.{n // 250}.{n % 250 + 1}" for n in range(1000))
    made, _ = scripted({"a.example.org.": Say(records)})
    for _ in range(2):
        cut = ask("a.example.org", port=made.port, edns=True, payload=65535)
        assert "TC" in flags(cut)
        assert 4000 < len(cut.to_wire()) <= 4096


def test_additional_records_are_cut_without_tc(scripted):
    """Additional records that do not fit are left out, and TC stays clear: nothing was asked for that is missing."""
    extra = "\n".join(f"ns{n}.example.org. 30 IN A 192.0.2.{n}" for n in range(1, 60))
    made, _ = scripted({"a.example.org.": Say("a.example.org. 30 IN A 192.0.2.1", "", extra)})
    for _ in range(2):
        answer = ask("a.example.org", port=made.port)
        assert "TC" not in flags(answer)
        assert len(answer.answer) == 1
        assert 0 < len(answer.additional) < 59


def test_truncated_upstream_answer(scripted):
    """With neither force_tcp nor prefer_udp an upstream's TC reaches the client, unkept; TCP brings the whole."""
    says = [Say(tc=True), Say(tc=True), Say("a.example.org. 30 IN A 192.0.2.1")]
    made, script = scripted({"a.example.org.": says}, AS_CLIENT)
    for _ in range(2):
        answer = ask("a.example.org", port=made.port)
        assert flags(answer) >= {"TC"}
        assert answer.answer == []
    assert ask("a.example.org", port=made.port, tcp=True).answer
    assert script.asked["a.example.org. A"] == 3


def test_prefer_udp_asks_again_by_tcp(launch, kube_dns):
    """With prefer_udp an answer that unbound truncates is fetched by TCP, and cut to each client's own size."""
    made = launch(program.STOCK.replace("force_tcp", "prefer_udp"), upstream=f"127.0.0.1:{kube_dns.port}")
    assert len(ask(BIG, port=made.port, edns=True, payload=4096).answer[0]) == 100
    assert "TC" in flags(ask(BIG, port=made.port))
    assert made.scrape().total("coredns_proxy_request_duration_seconds_count", rcode="NOERROR") >= 1


@pytest.mark.parametrize("count", [1000, 4000])
def test_answers_of_64_kib(scripted, count):
    """An answer of up to 65,535 octets comes whole by TCP, first and cached; by UDP it is cut with TC."""
    records = "\n".join(f"a.example.org. 30 IN A 10.1.{n // 250}.{n % 250 + 1}" for n in range(count))
    made, script = scripted({"a.example.org.": Say(records)})
    for _ in range(2):
        answer = ask("a.example.org", port=made.port, tcp=True, timeout_s=8)
        assert (rcode(answer), len(answer.answer[0])) == ("NOERROR", count)
    assert "TC" in flags(ask("a.example.org", port=made.port, edns=True, payload=65535))
    assert script.asked["a.example.org. A"] <= 2


def test_queries_of_64_kib(launch):
    """A query padded to 65,535 octets is a query like any other."""
    with fake.nameserver() as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        bare = wire.query("a.example.org", extra=wire.opt())
        room = 65535 - len(bare) - 4
        padded = wire.query("a.example.org", extra=wire.opt(options=b"\0\14" + room.to_bytes(2) + bytes(room)))
        assert len(padded) == 65535
        with wire.stream(made.port) as client:
            client.send(padded, padded)
            for _ in range(2):
                reply = client.receive()
                assert wire.rcode(reply) == 0
                assert fake.address_of(wire.name("a.example.org")) in reply
        assert server.queries == 1
