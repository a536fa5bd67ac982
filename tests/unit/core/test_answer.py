"""answer.c: what a worker says to a query, on a table that the real writer filled."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from shardns.core import lib
from tests.unit.core.world import SECOND_NS, World


def query(name: str = "www.example.org.", qtype: str = "A", **options: object) -> dns.message.QueryMessage:
    """A query; options as in dns.message.make_query."""
    return dns.message.make_query(name, qtype, **options)  # type: ignore[arg-type]


def answer(
    asked: dns.message.Message, *records: str, rcode: int = 0, authority: tuple[str, ...] = ()
) -> dns.message.Message:
    """The answer to asked: records as zone text, one space between fields."""
    made = dns.message.make_response(asked)
    made.set_rcode(dns.rcode.Rcode(rcode))
    made.flags |= dns.flags.RA
    for section, texts in ((made.answer, records), (made.authority, authority)):
        for text in texts:
            name, ttl, cls, kind, rdata = text.split(" ", 4)
            section.append(dns.rrset.from_text(name, int(ttl), cls, kind, rdata))
    return made


SOA = "example.org. 300 IN SOA ns.example.org. root.example.org. 1 2 3 4 30"
A = "www.example.org. 60 IN A 192.0.2.1"


def test_a_miss_is_an_ask(world: World) -> None:
    """A name that is not in the table goes to the upstream process, in the row of its zone."""
    verdict, _ = world.answer(query())
    assert (verdict.action, verdict.row, verdict.block) == (lib.SHD_ASK, 3, 0)


def test_a_hit_is_answered(world: World) -> None:
    """A stored answer comes back with the client's id and case, AA set, its TTL aged."""
    world.store(query(), answer(query(), A))
    world.now_ns += 10 * SECOND_NS
    asked = query("wWw.EXAMPLE.org.")
    verdict, wire = world.answer(asked)
    reply = dns.message.from_wire(wire)
    assert verdict.action == lib.SHD_REPLY
    assert reply.id == asked.id
    assert str(reply.question[0].name) == "wWw.EXAMPLE.org."
    assert reply.flags & dns.flags.AA
    assert reply.answer[0].ttl == 50
    assert world.slots[0].rows[0][3].cache_hits[0] == 1


def test_the_last_second_shows_one(world: World) -> None:
    """A fresh answer never shows TTL 0."""
    world.store(query(), answer(query(), A))
    world.now_ns += 60 * SECOND_NS - 1
    _, wire = world.answer(query())
    assert dns.message.from_wire(wire).answer[0].ttl == 1


def test_an_expired_answer_is_a_miss(world: World) -> None:
    """Without serve_stale an expired entry is asked for anew."""
    world.store(query(), answer(query(), A))
    world.now_ns += 60 * SECOND_NS
    verdict, _ = world.answer(query())
    assert verdict.action == lib.SHD_ASK


def test_no_zone_is_refused(world: World) -> None:
    """A name of no server block gets REFUSED, counted in the listener's dropped row."""
    verdict, wire = world.answer(query("www.example.net."))
    assert dns.message.from_wire(wire).rcode() == dns.rcode.REFUSED
    assert (verdict.row, verdict.block) == (9, -1)


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x12\x34\x01\x00" + bytes(8), dns.rcode.FORMERR),
        (query().to_wire()[:2] + b"\x28\x00" + query().to_wire()[4:], dns.rcode.NOTIMP),
        (query(use_edns=0).to_wire()[:-6] + b"\x00\x01\x00\x00\x00\x00", dns.rcode.BADVERS),
    ],
)
def test_a_malformed_query_gets_its_error(world: World, packet: bytes, rcode: int) -> None:
    """What is no proper query is answered at once and counted, not asked."""
    verdict, wire = world.answer(packet)
    assert verdict.action == lib.SHD_REPLY
    assert verdict.rcode == rcode
    assert wire[:2] == packet[:2]
    assert world.slots[0].process.packets_malformed == 1


@pytest.mark.parametrize("packet", [b"", b"\x00" * 11, answer(query(), A).to_wire()])
def test_silence(world: World, packet: bytes) -> None:
    """What may not be answered is dropped and counted."""
    verdict, _ = world.answer(packet)
    assert verdict.action == lib.SHD_DROP
    assert world.slots[0].process.packets_dropped == 1


def test_do_and_cd_are_apart(make_world: Callable[..., World]) -> None:
    """An answer to a plain query is not given to one with DO or CD."""
    world = make_world()
    world.store(query(), answer(query(), A))
    assert world.answer(query(want_dnssec=True))[0].action == lib.SHD_ASK
    asked = query()
    asked.flags |= dns.flags.CD
    assert world.answer(asked)[0].action == lib.SHD_ASK


def test_stale_immediate_answers_and_refreshes_once(make_world: Callable[..., World]) -> None:
    """A stale entry is served with TTL 0; one refresh a second is asked for however many clients come."""
    world = make_world(stale_mode=lib.SHD_STALE_IMMEDIATE, stale_s=100)
    world.store(query(), answer(query(), A))
    world.now_ns += 61 * SECOND_NS
    kinds = []
    for _ in range(10):
        verdict, wire = world.answer(query())
        assert dns.message.from_wire(wire).answer[0].ttl == 0
        kinds.append(verdict.ask_kind)
    assert kinds == [lib.SHD_ASK_REFRESH] + [0] * 9
    world.now_ns += SECOND_NS
    assert world.answer(query())[0].ask_kind == lib.SHD_ASK_REFRESH
    world.now_ns += 100 * SECOND_NS
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_stale_verify_asks_first(make_world: Callable[..., World]) -> None:
    """With verify a stale entry is the upstream process's business."""
    world = make_world(stale_mode=lib.SHD_STALE_VERIFY, stale_s=100)
    world.store(query(), answer(query(), A))
    world.now_ns += 61 * SECOND_NS
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_prefetch_in_the_last_tenth(make_world: Callable[..., World]) -> None:
    """A hit in the last tenth of the TTL asks for a prefetch; earlier ones do not."""
    world = make_world(prefetch_hits=2, prefetch_gap_s=60, prefetch_percent=10)
    world.store(query(), answer(query(), A))
    world.now_ns += 53 * SECOND_NS
    assert world.answer(query())[0].ask_kind == 0
    world.now_ns += 2 * SECOND_NS
    assert world.answer(query())[0].ask_kind == lib.SHD_ASK_PREFETCH


def test_keep_ttl(make_world: Callable[..., World]) -> None:
    """With keepttl a hit shows the TTL as it was stored."""
    world = make_world(keep_ttl=1)
    world.store(query(), answer(query(), A))
    world.now_ns += 30 * SECOND_NS
    assert dns.message.from_wire(world.answer(query())[1]).answer[0].ttl == 60


def test_a_block_without_cache_asks_always(make_world: Callable[..., World]) -> None:
    """Without `cache` nothing is stored and every query is an ask."""
    world = make_world(has_cache=0)
    world.store(query(), answer(query(), A))
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_a_denial_is_a_hit_of_its_own_kind(world: World) -> None:
    """NXDOMAIN with SOA is kept for min(SOA TTL, MINIMUM) and counted as denial."""
    assert world.store(query(), answer(query(), rcode=3, authority=(SOA,))) == lib.SHD_KIND_DENIAL
    world.now_ns += 29 * SECOND_NS
    verdict, wire = world.answer(query())
    assert verdict.rcode == dns.rcode.NXDOMAIN
    assert dns.message.from_wire(wire).authority[0].ttl == 1
    assert world.slots[0].rows[0][3].cache_hits[1] == 1
    world.now_ns += SECOND_NS
    assert world.answer(query())[0].action == lib.SHD_ASK
