"""Which nameserver is asked, how, and what a client gets when it is not well."""

import contextlib
import functools
import socket
import threading
import time

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask, rcode, texts
from tests.peers.process import wait_until
from tests.peers.script import Say, Script

PLAIN = program.STOCK.replace(" {\n        force_tcp\n    }", "")


def _forward(*lines, to="UPSTREAM", cache="cache 30"):
    """The stock Corefile with these lines in its forward block."""
    old = "forward . UPSTREAM {\n        force_tcp\n    }"
    assert old in program.STOCK
    return program.STOCK.replace(old, f"forward . {to} {{\n" + "\n".join(lines) + "\n}").replace("cache 30", cache)


@pytest.fixture
def fakes():
    """Makes fakes that are gone when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda **ways: stack.enter_context(fake.nameserver(**ways))


def _at(server):
    """Its address as a Corefile names it."""
    return f"{server.host}:{server.port}"


@pytest.mark.parametrize(
    "corefile, client_tcp, wanted",
    [
        (PLAIN, False, "udp"),
        (PLAIN, True, "tcp"),
        (program.STOCK, False, "tcp"),
        (program.STOCK, True, "tcp"),
        (_forward("prefer_udp"), False, "udp"),
        (_forward("prefer_udp"), True, "udp"),
    ],
)
def test_transport(launch, fakes, corefile, client_tcp, wanted):
    """force_tcp asks by TCP, prefer_udp by UDP; with neither the nameserver is asked as the client asks."""
    server = fakes()
    made = launch(corefile, upstream=_at(server))
    assert texts(ask("a.example.org", port=made.port, tcp=client_tcp)) == [
        f"a.example.org. 30 A {fake.address_text('a.example.org')}"
    ]
    assert (server.udp, server.tcp) == ((1, 0) if wanted == "udp" else (0, 1))


def test_udp_ports_and_ids_differ(launch):
    """Queries by UDP leave from many ports, under many ids: neither can be guessed (RFC 5452)."""
    seen: set[int] = set()
    script = Script({"*": Say(rcode="NXDOMAIN", authority="example.org. 30 IN SOA n. h. 1 2 3 4 30")})
    with fake.nameserver(respond=script) as server:
        made = launch(PLAIN, upstream=_at(server))
        for n in range(40):
            ask(f"n{n}.example.org", port=made.port)
        ids = [query.id for query in script.queries]
        seen |= set(ids)
        assert len(seen) >= 38
        assert sorted(ids) != list(range(min(ids), min(ids) + 40))


def test_query_as_sent_upstream(scripted):
    """An upstream query has the name in lower case, RD, and OPT of 1,232 octets with DO where the client had them."""
    made, script = scripted({}, PLAIN)
    ask("A.Example.ORG", port=made.port, do=True, payload=4096)
    ask("b.example.org", port=made.port)
    first, second = script.queries
    assert first.question[0].name.to_text() == "a.example.org."
    assert (first.edns, first.payload, bool(first.ednsflags & 0x8000), first.options) == (0, 1232, True, ())
    assert (second.edns, bool(second.flags & wire.RD)) == (-1, True)


@pytest.mark.parametrize("policy", ["random", "round_robin", "sequential"])
def test_policies(launch, fakes, policy):
    """sequential asks the first that is well, the others spread over all."""
    servers = [fakes() for _ in range(3)]
    made = launch(_forward("prefer_udp", f"policy {policy}", cache=""), upstream=" ".join(map(_at, servers)))
    for n in range(60):
        ask(f"n{n}.example.org", port=made.port)
    counts = [server.queries for server in servers]
    if policy == "sequential":
        assert counts == [60, 0, 0]
    elif policy == "round_robin":
        assert counts == [20, 20, 20]
    else:
        assert min(counts) > 5
        assert sum(counts) == 60


def test_except_and_several_forwards(launch, fakes):
    """Names that a forward excepts go to the next; those that none takes are SERVFAIL."""
    inner, outer = fakes(), fakes()
    text = program.STOCK.replace(
        "forward . UPSTREAM {\n        force_tcp\n    }",
        "forward example.org UPSTREAM {\n except sub.example.org other.example.org\n}\n"
        "forward example.com OTHER\nforward sub.example.org OTHER",
    )
    made = launch(text, upstream=_at(inner), places={"OTHER": _at(outer)})
    for name in ("a.example.org", "a.sub.example.org", "example.com"):
        assert rcode(ask(name, port=made.port)) == "NOERROR"
    for name in ("a.other.example.org", "example.net"):
        assert rcode(ask(name, port=made.port)) == "SERVFAIL"
    assert sorted(inner.names) == [wire.name("a.example.org")]
    assert sorted(outer.names) == sorted([wire.name("a.sub.example.org"), wire.name("example.com")])


def test_max_concurrent(launch, fakes):
    """Over max_concurrent a client is REFUSED at once, and it is counted; the others are answered."""
    server = fakes(delay_s=0.5)
    made = launch(_forward("force_tcp", "max_concurrent 5"), upstream=_at(server))
    found: list[str] = []

    def one(n):
        found.append(rcode(ask(f"n{n}.example.org", port=made.port)))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["NOERROR"] * 5 + ["REFUSED"] * 7
    assert made.scrape().total("coredns_forward_max_concurrent_rejects_total") == 7
    assert rcode(ask("after.example.org", port=made.port)) == "NOERROR"


def test_failfast(launch, port):
    """With every nameserver down failfast answers SERVFAIL without a dial, and says so in the log."""
    made = launch(
        _forward("force_tcp", "max_fails 1", "failfast_all_unhealthy_upstreams"), upstream=f"127.0.0.1:{port}"
    )
    for n in range(4):
        assert rcode(ask(f"n{n}.example.org", port=made.port)) == "SERVFAIL"
        time.sleep(0.7)
    made.wait_plain("no healthy proxies")
    dials = made.scrape().total("shardns_upstream_dials_total")
    assert rcode(ask("last.example.org", port=made.port)) == "SERVFAIL"
    assert made.scrape().total("shardns_upstream_dials_total") - dials <= 1


def test_down_and_back(launch, port):
    """A nameserver that comes back is used again within seconds, by UDP as by TCP."""
    made = launch(PLAIN.replace("cache 30", "cache {\n servfail 0\n}"), upstream=f"127.0.0.1:{port}")
    for tcp in (False, True):
        assert rcode(ask("a.example.org", port=made.port, tcp=tcp, timeout_s=6)) == "SERVFAIL"
    with fake.nameserver(port=port):
        for tcp in (False, True):
            again = functools.partial(ask, "a.example.org", port=made.port, tcp=tcp, timeout_s=6)
            wait_until(lambda again=again: rcode(again()) == "NOERROR", within_s=8, what="its use")  # type: ignore[misc]


@pytest.mark.parametrize("corefile", [program.STOCK, PLAIN])
def test_the_other_takes_over(launch, fakes, port, corefile):
    """With one of two nameservers dead every query is answered by the other."""
    server = fakes()
    made = launch(
        corefile.replace("force_tcp", "force_tcp\npolicy round_robin"), upstream=f"127.0.0.1:{port} {_at(server)}"
    )
    for n in range(30):
        assert rcode(ask(f"n{n}.example.org", port=made.port, timeout_s=6)) == "NOERROR"
    assert server.queries >= 30


def test_health_checks(launch, fakes):
    """A nameserver that failed is asked for NS of the given domain, without RD if so set, until it answers."""
    script = Script({"*": Say(is_silent=True), "check.example.net. NS": Say(rcode="REFUSED")})
    other = fakes()
    with fake.nameserver(respond=script) as server:
        lines = ("prefer_udp", "policy sequential", "health_check 100ms no_rec domain check.example.net")
        made = launch(_forward(*lines), upstream=f"{_at(server)} {_at(other)}")
        assert rcode(ask("a.example.org", port=made.port, timeout_s=6)) == "NOERROR"
        wait_until(lambda: script.asked["check.example.net. NS"] > 0, what="a health check")
        checks = [query for query in script.queries if query.question[0].name.to_text() == "check.example.net."]
        assert not checks[0].flags & wire.RD


def test_unreadable_answers(launch):
    """An answer that cannot be read is none: SERVFAIL, after a few tries, not thousands."""
    asked = []

    def junk(query: bytes) -> bytes:
        asked.append(query)
        return query[:2] + b"\x81\x80\0\1\0\5\0\0\0\0" + query[12:] + b"\xc0"

    with fake.nameserver(respond=junk) as server:
        made = launch(upstream=_at(server))
        assert rcode(ask("a.example.org", port=made.port, timeout_s=8)) == "SERVFAIL"
        assert len(asked) < 10


def test_answers_of_strangers(launch):
    """By UDP an answer from another port, with another id or another question is passed over: the right one counts."""
    lie = fake.respond(wire.query("a.example.org"))
    assert lie is not None
    lie = lie[:-4] + b"\xc0\0\2\x42"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(server.family, server.type) as other:
        for sock in (server, other):
            sock.bind(("127.0.0.1", 0))

        def serve():
            query, client = server.recvfrom(512)
            other.sendto(query[:2] + lie[2:], client)
            server.sendto((int.from_bytes(query[:2]) ^ 1).to_bytes(2) + lie[2:], client)
            question = fake.respond(query.replace(b"\1a\7", b"\1b\7"))
            assert question is not None
            server.sendto(question, client)
            time.sleep(0.05)
            server.sendto(fake.respond(query) or b"", client)

        thread = threading.Thread(target=serve)
        made = launch(PLAIN, upstream=f"127.0.0.1:{server.getsockname()[1]}")
        thread.start()
        answer = ask("a.example.org", port=made.port)
        thread.join()
        assert answer.answer[0][0].to_text() == fake.address_text("a.example.org")
        assert ask("a.example.org", port=made.port).answer == answer.answer


def test_answer_in_other_case(scripted):
    """An upstream that answers in another case has answered."""
    made, _ = scripted({"a.example.org.": Say("A.EXAMPLE.org. 30 IN A 192.0.2.1", question="A.EXAMPLE.org A")}, PLAIN)
    assert ask("a.example.org", port=made.port).answer


def test_resolv_conf(launch, fakes, tmp_path):
    """forward takes its nameservers from a file like resolv.conf; a port 53 is meant there."""
    server = fakes(host="127.0.0.2", port=53)
    (tmp_path / "resolv.conf").write_text("search example.org\nnameserver 127.0.0.2\noptions ndots:5\n")
    made = launch(_forward("prefer_udp", to=str(tmp_path / "resolv.conf")))
    assert rcode(ask("a.example.org", port=made.port)) == "NOERROR"
    assert server.queries == 1


def test_connection_is_closed_when_idle(launch, fakes):
    """A TCP connection that nobody needs for the time of expire is closed."""
    server = fakes()
    made = launch(_forward("force_tcp", "expire 1s"), upstream=_at(server))
    ask("a.example.org", port=made.port)
    assert server.open_now
    wait_until(lambda: not server.open_now, within_s=4, what="the connection to be closed")
    assert rcode(ask("b.example.org", port=made.port)) == "NOERROR"
