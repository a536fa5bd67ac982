"""What is kept, for how long, and what is served when its time is up, as clients and the nameserver behind see it."""

import os
import signal
import time

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask, flags, rcode, texts
from tests.peers.process import wait_until
from tests.peers.script import SOA, Say, Script

NAME = "a.example.org."
ONE, TWO = Say(f"{NAME} 30 IN A 192.0.2.1"), Say(f"{NAME} 30 IN A 192.0.2.2")
FAILS = Say(rcode="SERVFAIL")


def _with_cache(*lines, args=""):
    """The stock Corefile with these lines in its cache block."""
    return program.STOCK.replace("cache 30", "cache " + args + " {\n" + "\n".join(lines) + "\n}")


def _addresses(answer):
    """The addresses of an answer."""
    return [line.split()[-1] for line in texts(answer)]


KEPT = [
    ("an answer", ONE, 1),
    ("an NXDOMAIN with SOA", Say(rcode="NXDOMAIN", authority=SOA), 1),
    ("a NODATA with SOA", Say(authority=SOA), 1),
    ("a SERVFAIL", FAILS, 1),
    ("a NOTIMP", Say(rcode="NOTIMP"), 1),
    ("an answer of TTL 0", Say(f"{NAME} 0 IN A 192.0.2.1"), 1),
    ("an NXDOMAIN without SOA", Say(rcode="NXDOMAIN"), 3),
    ("a REFUSED", Say(rcode="REFUSED"), 3),
    ("a FORMERR", Say(rcode="FORMERR"), 3),
    ("a YXDOMAIN", Say(rcode="YXDOMAIN"), 3),
    ("a referral", Say(authority="example.org. 30 IN NS ns.example.org.", aa=False), 1),
    ("an empty answer without SOA, for 5 s as in CoreDNS", Say(), 1),
]


@pytest.mark.parametrize("say, asked", [case[1:] for case in KEPT], ids=[case[0] for case in KEPT])
def test_what_is_kept(scripted_once, say, asked):
    """Three queries for one name are one upstream query if the answer may be kept, else three; all get the same."""
    made, script = scripted_once
    name = f"case{len(script.says)}.example.org."
    script.says[name] = Say(say.answer.replace(NAME, name), say.authority, rcode=say.rcode, aa=say.aa)
    answers = [ask(name, port=made.port, timeout_s=6) for _ in range(3)]
    assert [rcode(answer) for answer in answers] == [say.rcode] * 3
    assert len({tuple(_addresses(answer)) for answer in answers}) == 1
    assert script.asked[f"{name} A"] == asked


@pytest.fixture(scope="module")
def scripted_once(tmp_path_factory):
    """One shardns in front of one script, to which tests add names of their own."""
    script = Script({})
    with fake.nameserver(respond=script) as server:
        home = tmp_path_factory.mktemp("scripted")
        with program.shardns(home, _with_cache("success 1024 30"), upstream=f"127.0.0.1:{server.port}") as made:
            yield made, script


def test_transfers_are_not_kept(scripted):
    """AXFR is asked anew each time."""
    made, script = scripted({NAME: ONE})
    for _ in range(2):
        ask(NAME, "AXFR", port=made.port, tcp=True)
    assert script.asked[f"{NAME} AXFR"] == 2


def test_without_rd_nothing_is_kept(scripted):
    """A query without RD is passed on without it, its answer is not kept; a kept one serves it."""
    made, script = scripted({NAME: ONE})
    for _ in range(2):
        wire.send(made.port, wire.query(NAME, flags=0))
    assert [query.flags & wire.RD for query in script.queries] == [0, 0]
    ask(NAME, port=made.port)
    wire.send(made.port, wire.query(NAME, flags=0))
    assert len(script.queries) == 3


@pytest.mark.parametrize(
    "cache, say, wanted_s",
    [
        (["success 1024 30"], Say(f"{NAME} 300 IN A 192.0.2.1"), 30),
        (["success 1024 30"], Say(f"{NAME} 20 IN A 192.0.2.1"), 20),
        (["success 1024 30"], Say(f"{NAME} 1 IN A 192.0.2.1"), 5),
        (["success 1024 30 10"], Say(f"{NAME} 1 IN A 192.0.2.1"), 10),
        (["success 1024 30"], Say(f"{NAME} 25 IN A 192.0.2.1", "example.org. 12 IN NS ns.example.org."), 12),
        (["denial 1024 20"], Say(authority=SOA), 20),
        (["denial 1024 90"], Say(authority=SOA), 30),
        (["denial 1024 90"], Say(rcode="NXDOMAIN", authority=SOA.replace(" 60 ", " 11 ")), 11),
    ],
)
def test_how_long(scripted, cache, say, wanted_s):
    """An answer is kept for its smallest TTL, a denial for min(SOA TTL, MINIMUM), both within the block's limits."""
    made, _ = scripted({NAME: say}, _with_cache(*cache))
    ask(NAME, port=made.port)
    answer = ask(NAME, port=made.port)
    assert {rrset.ttl for rrset in (*answer.answer, *answer.authority)} <= {wanted_s, wanted_s - 1}


def test_expires(scripted):
    """When its time is up an entry is asked for again."""
    made, script = scripted({NAME: [ONE, TWO]}, _with_cache("success 1024 1"))
    assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.1"]
    assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.1"]
    time.sleep(1.05)
    assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.2"]
    assert script.asked[f"{NAME} A"] == 2


def test_servfail_time(scripted):
    """A SERVFAIL is kept for as long as servfail says, and with servfail 0 not at all."""
    made, script = scripted({NAME: FAILS}, _with_cache("servfail 1s"))
    for _ in range(2):
        assert rcode(ask(NAME, port=made.port, timeout_s=6)) == "SERVFAIL"
    first = script.asked[f"{NAME} A"]
    time.sleep(1.1)
    ask(NAME, port=made.port, timeout_s=6)
    assert script.asked[f"{NAME} A"] > first
    made, script = scripted({NAME: [FAILS] * 2 + [ONE]}, _with_cache("servfail 0"))
    assert [rcode(ask(NAME, port=made.port, timeout_s=6)) for _ in range(3)] == ["SERVFAIL", "SERVFAIL", "NOERROR"]


def test_stale_at_once(scripted):
    """serve_stale: an old entry goes out at once with TTL 0; one refresh fetches the new one, served from then on."""
    made, script = scripted({NAME: [ONE, TWO]}, _with_cache("success 1024 1", "serve_stale 1h immediate"))
    ask(NAME, port=made.port)
    time.sleep(1.1)
    stale = ask(NAME, port=made.port)
    assert (_addresses(stale), stale.answer[0].ttl) == (["192.0.2.1"], 0)
    wait_until(lambda: _addresses(ask(NAME, port=made.port)) == ["192.0.2.2"], what="the fresh answer")
    assert script.asked[f"{NAME} A"] == 2
    assert made.scrape().total("coredns_cache_served_stale_total") >= 1


def test_stale_outlives_failures(scripted):
    """While the nameserver fails the stale answer is served, and nothing hides it; when it is well, the new one."""
    script_of = {NAME: [ONE, FAILS, FAILS]}
    made, script = scripted(script_of, _with_cache("success 1024 1", "serve_stale 1h"))
    ask(NAME, port=made.port)
    for _ in range(3):
        time.sleep(1.1)
        assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.1"]
    script.says[NAME] = TWO
    wait_until(lambda: _addresses(ask(NAME, port=made.port)) == ["192.0.2.2"], what="the fresh answer")


def test_stale_ends(scripted):
    """Past its time a stale entry is not served any more."""
    made, _ = scripted({NAME: [ONE, FAILS]}, _with_cache("success 1024 1", "serve_stale 1s", "servfail 0"))
    ask(NAME, port=made.port)
    time.sleep(2.1)
    assert rcode(ask(NAME, port=made.port, timeout_s=6)) == "SERVFAIL"


def test_stale_verified(scripted):
    """serve_stale verify: the new answer if there is one in time; the old one if the nameserver fails."""
    verify = _with_cache("success 1024 1", "serve_stale 1h verify")
    made, script = scripted({NAME: [ONE, TWO, FAILS]}, verify)
    ask(NAME, port=made.port)
    time.sleep(1.1)
    assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.2"]
    time.sleep(1.1)
    stale = ask(NAME, port=made.port, timeout_s=6)
    assert (_addresses(stale), stale.answer[0].ttl) == (["192.0.2.2"], 0)
    script.says[NAME] = Say(is_silent=True)
    began = time.monotonic()
    assert _addresses(ask(NAME, port=made.port, timeout_s=6)) == ["192.0.2.2"]
    assert time.monotonic() - began < 4


def test_stale_verified_with_a_limit(scripted):
    """verify with a time: a slow nameserver costs the client no more than that."""
    made, script = scripted({NAME: ONE}, _with_cache("success 1024 1", "serve_stale 1h verify 100ms"))
    ask(NAME, port=made.port)
    time.sleep(1.1)
    script.says[NAME] = Say(is_silent=True)
    began = time.monotonic()
    assert _addresses(ask(NAME, port=made.port)) == ["192.0.2.1"]
    assert 0.08 < time.monotonic() - began < 1


def test_prefetch(scripted):
    """A name asked for often is fetched ahead of its end, once: its clients never wait, the TTL begins anew."""
    made, script = scripted({NAME: [ONE, TWO]}, _with_cache("success 1024 2 1", "prefetch 3 1m 50%"))
    until = time.monotonic() + 1.9
    while time.monotonic() < until:
        ask(NAME, port=made.port)
        time.sleep(0.05)
    wait_until(lambda: _addresses(ask(NAME, port=made.port)) == ["192.0.2.2"], what="what was fetched ahead")
    assert script.asked[f"{NAME} A"] in (2, 3)
    page = made.scrape()
    assert page.total("coredns_cache_prefetch_total") >= 1
    assert page.total("coredns_cache_misses_total") == 1


def test_no_prefetch_for_the_rare(scripted):
    """A name asked for less often is not fetched ahead."""
    made, script = scripted({NAME: [ONE, TWO]}, _with_cache("success 1024 2 1", "prefetch 100 1m 90%"))
    for _ in range(15):
        ask(NAME, port=made.port)
        time.sleep(0.1)
    assert script.asked[f"{NAME} A"] == 1


def test_keepttl(scripted):
    """With keepttl a hit shows the TTL as it was stored."""
    made, _ = scripted({NAME: ONE}, _with_cache("keepttl"))
    ask(NAME, port=made.port)
    time.sleep(1.1)
    assert ask(NAME, port=made.port).answer[0].ttl == 30


def test_disable(scripted):
    """disable keeps no answers, or no denials, of its zones; of others it does."""
    made, script = scripted(
        {"a.example.org.": ONE, "a.example.net.": Say("a.example.net. 30 IN A 192.0.2.1")},
        _with_cache("disable success example.org", "disable denial example.net"),
    )
    for name in ("a.example.org.", "a.example.net.", "nx.example.org.", "nx.example.net."):
        for _ in range(2):
            ask(name, port=made.port)
    assert {name: script.asked[f"{name} A"] for name in ("a.example.org.", "a.example.net.")} == {
        "a.example.org.": 2,
        "a.example.net.": 1,
    }
    assert (script.asked["nx.example.org. A"], script.asked["nx.example.net. A"]) == (1, 2)


def test_zones_of_cache(scripted):
    """cache ZONES keeps names of those zones only."""
    made, script = scripted({}, program.STOCK.replace("cache 30", "cache 30 example.org"))
    for name in ("nx.example.org.", "nx.example.net."):
        for _ in range(2):
            ask(name, port=made.port)
    assert (script.asked["nx.example.org. A"], script.asked["nx.example.net. A"]) == (1, 2)


def test_without_cache(scripted):
    """A block without cache asks every time and leaves flags and TTLs as they came."""
    says = Say(f"{NAME} 30 IN A 192.0.2.1", "example.org. 300 IN NS ns.example.org.", aa=False)
    made, script = scripted({NAME: says}, program.STOCK.replace("cache 30", ""))
    for _ in range(2):
        answer = ask(NAME, port=made.port)
        assert (answer.answer[0].ttl, answer.authority[0].ttl) == (30, 300)
        assert "AA" not in flags(answer)
    assert script.asked[f"{NAME} A"] == 2


def test_types_and_blocks_are_apart(scripted):
    """Each type is an entry of its own; a NODATA for one hides no other."""
    made, _ = scripted(
        {f"{NAME} A": ONE, f"{NAME} AAAA": Say(authority=SOA), f"{NAME} TXT": Say(f"{NAME} 30 IN TXT x")}
    )
    for _ in range(2):
        assert len(ask(NAME, port=made.port).answer) == 1
        assert len(ask(NAME, "AAAA", port=made.port).answer) == 0
        assert len(ask(NAME, "TXT", port=made.port).answer) == 1


def test_all_workers_share_one_cache(scripted):
    """What one worker's client caused to be stored, every worker serves: 64 sockets, one upstream query."""
    made, script = scripted({NAME: ONE}, workers=2)
    for _ in range(64):
        assert ask(NAME, port=made.port).answer
    assert script.asked[f"{NAME} A"] == 1
    assert made.scrape().total("coredns_cache_hits_total", type="success") == 63


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_is_warm(launch, number):
    """A shardns that is started again with the same table answers what the one before it knew, also after SIGKILL."""
    name = f"shardns-test-{os.getpid()}-warm"
    with fake.nameserver() as server:
        try:
            made = launch(upstream=f"127.0.0.1:{server.port}", shm_name=name)
            ask(NAME, port=made.port)
            made.stop(number, code=-9 if number is signal.SIGKILL else 0)
            made = launch(upstream=f"127.0.0.1:{server.port}", shm_name=name)
            assert _addresses(ask(NAME, port=made.port)) == [fake.address_text(NAME)]
            assert server.queries == 1
            made.stop()
        finally:
            program.SHM.joinpath(name).unlink(missing_ok=True)
