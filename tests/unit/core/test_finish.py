"""finish.c: asks taken, answers stored, clients replied to on the worker's own socket."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import pytest

from shardns.core import ffi, lib
from tests.unit.core.test_answer import SOA, A, answer, query
from tests.unit.core.world import SECOND_NS, World


def test_a_miss_is_answered_on_the_workers_socket(world: World) -> None:
    """The reply comes from the socket that the query came to, and the ask's place is free again."""
    asked = query()
    world.put_ask(asked, worker=1)
    (taken,) = world.take()
    assert world.accept(taken, answer(asked, A)) == lib.SHD_KIND_SUCCESS
    world.reply(taken)
    wire, sender = world.client.recvfrom(4096)
    assert sender == world.sockets[1].getsockname()
    assert dns.message.from_wire(wire).id == asked.id
    assert world.open_asks(1) == 0
    assert world.own.rows[3].cache_misses == 1


def test_the_same_question_is_the_same_flight(world: World) -> None:
    """Asks of both workers for one name, whatever its case and id, have one flight; DO, RD and type make others."""
    for worker in (0, 1):
        world.put_ask(query("www.example.org."), worker)
        world.put_ask(query("WWW.example.ORG."), worker)
    recursive_off = query()
    recursive_off.flags &= ~dns.flags.RD
    for other in (query(want_dnssec=True), query(qtype="AAAA"), recursive_off):
        world.put_ask(other)
    flights = [bytes(ffi.buffer(taken.flight)) for taken in world.take()]
    assert len(flights) == 7
    assert len(set(flights)) == 4


def test_the_upstream_query(world: World) -> None:
    """Upstream is asked for the folded name with id 0, RD, AD; OPT only if the client sent one."""
    world.put_ask(query("WwW.example.org."))
    world.put_ask(query("do.example.org.", want_dnssec=True, payload=4096))
    plain, dnssec = (dns.message.from_wire(bytes(ffi.buffer(t.query, t.query_len))) for t in world.take())
    assert str(plain.question[0].name) == "www.example.org."
    assert (plain.id, plain.edns) == (0, -1)
    assert plain.flags & (dns.flags.RD | dns.flags.AD) == dns.flags.RD | dns.flags.AD
    assert (dnssec.edns, dnssec.payload, dnssec.ednsflags & dns.flags.DO) == (0, 1232, dns.flags.DO)


def test_an_ask_is_open_until_the_reply_left(world: World) -> None:
    """Replying fills the batch; only the flush sends it and frees the place."""
    world.put_ask(query())
    (taken,) = world.take()
    world.accept(taken, answer(query(), A))
    lib.shd_finish_reply(world.finish, [taken.waiter], 1, lib.SHD_FROM_UPSTREAM, lib.SHD_BY_CACHE, world.now_ns)
    assert world.open_asks() == 1
    lib.shd_finish_flush(world.finish)
    assert world.open_asks() == 0


def test_a_successor_finds_every_open_ask(world: World) -> None:
    """An upstream process that starts takes the asks its killed predecessor had taken and not answered."""
    for i in range(100):
        world.put_ask(query(f"n{i}.example.org."), worker=i % 2)
    assert len(world.take()) == 100
    assert world.take() == []
    ffi.memmove(world.finish.in_hand, bytes(lib.SHD_SLOTS_MAX * lib.SHD_ASKS), lib.SHD_SLOTS_MAX * lib.SHD_ASKS)
    ffi.memmove(world.finish.scans, bytes(4 * 128), 4 * 128)
    assert len(world.take()) == 100


def test_what_was_stored_meanwhile_is_answered_at_once(world: World) -> None:
    """An ask whose answer came while it was on its way needs no second upstream query."""
    world.store(query(), answer(query(), A))
    world.put_ask(query())
    assert world.take() == []
    assert world.received().answer[0].ttl == 60
    assert world.open_asks() == 0


def test_an_old_ask_is_dropped(world: World) -> None:
    """An ask that nobody can be waiting for any more is forgotten, so that it cannot do harm for ever."""
    world.put_ask(query())
    world.now_ns += 11 * SECOND_NS
    assert world.take() == []
    assert world.open_asks() == 0


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (answer(query(), A), True),
        (answer(query(), rcode=3, authority=(SOA,)), True),
        (answer(query(), authority=(SOA,)), True),
        (answer(query(), rcode=2), True),
        (answer(query(), rcode=4), True),
        (answer(query()), True),
        (answer(query(), rcode=3), False),
        (answer(query(), rcode=5), False),
        (answer(query(), rcode=1), False),
    ],
    ids=["answer", "nxdomain", "nodata", "servfail", "notimp", "empty", "nxdomain-no-soa", "refused", "formerr"],
)
def test_what_is_kept(world: World, reply: dns.message.Message, kept: bool) -> None:
    """The client gets every answer; only what may be cached is a hit afterwards."""
    world.put_ask(query())
    (taken,) = world.take()
    world.accept(taken, reply)
    world.reply(taken)
    assert world.received().rcode() == reply.rcode()
    assert (world.answer(query())[0].action == lib.SHD_REPLY) == kept


def test_truncated_answers_are_passed_on_and_not_kept(world: World) -> None:
    """TC reaches the client, which comes again by TCP; the table never holds a cut answer."""
    reply = answer(query())
    reply.flags |= dns.flags.TC
    world.put_ask(query())
    (taken,) = world.take()
    world.accept(taken, reply)
    world.reply(taken)
    assert world.received().flags & dns.flags.TC
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_another_question_is_no_answer(world: World) -> None:
    """An answer to another name is refused, and the ask stays open."""
    world.put_ask(query())
    (taken,) = world.take()
    other = query("evil.example.org.")
    assert world.accept(taken, answer(other, "evil.example.org. 60 IN A 192.0.2.66")) == lib.SHD_EMISMATCH
    assert world.open_asks() == 1


def test_a_query_without_rd_stores_nothing(world: World) -> None:
    """What an upstream says to RD=0 may be a referral: it is for that client alone."""
    asked = query()
    asked.flags &= ~dns.flags.RD
    world.put_ask(asked)
    (taken,) = world.take()
    world.accept(taken, answer(asked, A))
    world.reply(taken)
    assert not world.received().flags & dns.flags.RD
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_stores_says_what_may_be_kept(world: World) -> None:
    """`disable denial` for a name keeps its denials out of the table."""
    world.put_ask(query())
    (taken,) = world.take()
    world.accept(taken, answer(query(), rcode=3, authority=(SOA,)), stores=lib.SHD_STORE_SUCCESS)
    world.reply(taken)
    assert world.answer(query())[0].action == lib.SHD_ASK


def test_a_failure_hides_no_living_answer(make_world: Callable[..., World]) -> None:
    """A prefetch answered SERVFAIL leaves the entry in place; so does a refresh while it may be served stale."""
    world = make_world(
        stale_mode=lib.SHD_STALE_IMMEDIATE, stale_s=100, prefetch_hits=1, prefetch_gap_s=60, prefetch_percent=90
    )
    world.store(query(), answer(query(), A))
    world.now_ns += 50 * SECOND_NS
    assert world.answer(query())[0].ask_kind == lib.SHD_ASK_PREFETCH
    world.put_ask(query(), kind=lib.SHD_ASK_PREFETCH)
    (taken,) = world.take()
    world.accept(taken, answer(query(), rcode=2))
    world.reply(taken)
    assert world.answer(query())[0].rcode == 0
    world.now_ns += 20 * SECOND_NS
    assert world.answer(query())[0].rcode == 0
    world.put_ask(query(), kind=lib.SHD_ASK_REFRESH)
    (taken,) = world.take()
    world.accept(taken, answer(query(), rcode=2))
    world.reply(taken)
    assert world.answer(query())[0].rcode == 0
    world.now_ns += 100 * SECOND_NS
    world.put_ask(query())
    (taken,) = world.take()
    world.accept(taken, answer(query(), rcode=2))
    world.reply(taken)
    assert world.answer(query())[0].rcode == dns.rcode.SERVFAIL


def test_a_refresh_that_is_no_longer_due_is_dropped(make_world: Callable[..., World]) -> None:
    """Ten workers' refreshes of one entry are one flight; those that come after it landed are none."""
    world = make_world(stale_mode=lib.SHD_STALE_IMMEDIATE, stale_s=100)
    world.store(query(), answer(query(), A))
    world.now_ns += 70 * SECOND_NS
    world.put_ask(query(), kind=lib.SHD_ASK_REFRESH)
    (taken,) = world.take()
    world.accept(taken, answer(query(), A))
    world.reply(taken)
    world.put_ask(query(), worker=1, kind=lib.SHD_ASK_REFRESH)
    assert world.take() == []
    assert world.open_asks(0) == world.open_asks(1) == 0


def test_recall(make_world: Callable[..., World]) -> None:
    """The stored answer is fresh, then stale for as long as the block says, then nothing."""
    stale = make_world(stale_mode=lib.SHD_STALE_VERIFY, stale_s=100)
    stale.store(query(), answer(query(), A))
    stale.put_ask(query("other.example.org."))
    (taken,) = stale.take()
    flight = bytes(ffi.buffer(taken.flight)).replace(b"\x05other", b"\x03www") + bytes(2)

    def found() -> int:
        return int(lib.shd_finish_recall(stale.finish, flight, 0, stale.now_ns))

    assert found() == 1
    stale.now_ns += 60 * SECOND_NS
    assert found() == 2
    stale.now_ns += 100 * SECOND_NS
    assert found() == 0


def test_found_fresh_is_never_shown_as_stale(world: World) -> None:
    """An answer whose last second ends between the look into the table and the reply shows TTL 1."""
    world.put_ask(query())
    world.put_ask(query(), worker=1)
    first, second = world.take()
    world.accept(first, answer(query(), A))
    world.reply(first)
    world.received()
    world.now_ns += 60 * SECOND_NS - 1
    assert lib.shd_finish_recall(world.finish, second.flight, 0, world.now_ns) == 1
    world.now_ns += 1
    world.reply(second, how=lib.SHD_FROM_TABLE)
    assert world.received().answer[0].ttl == 1


def test_errors_are_counted_with_their_rcode(world: World) -> None:
    """A flight without an answer is SERVFAIL to every client, by no plugin."""
    world.put_ask(query())
    (taken,) = world.take()
    lib.shd_finish_error(world.finish, [taken.waiter], 1, dns.rcode.SERVFAIL, lib.SHD_BY_NONE, world.now_ns)
    lib.shd_finish_flush(world.finish)
    assert world.received().rcode() == dns.rcode.SERVFAIL
    assert world.own.rows[3].responses[dns.rcode.SERVFAIL][lib.SHD_BY_NONE] == 1


def test_truncation_to_the_clients_size(world: World) -> None:
    """A large answer is cut for a client without EDNS and whole for one that takes it."""
    records = tuple(f"www.example.org. 60 IN A 192.0.2.{i}" for i in range(1, 60))
    world.put_ask(query())
    world.put_ask(query(use_edns=0, payload=4096))
    first, second = world.take()
    assert bytes(ffi.buffer(first.flight)) == bytes(ffi.buffer(second.flight))
    world.accept(first, answer(query(), *records))
    world.reply(first, second)
    replies = [world.received(), world.received()]
    assert [bool(reply.flags & dns.flags.TC) for reply in replies] == [True, False]
    assert len(replies[0].to_wire()) <= 512
    assert len(replies[1].answer[0]) == 59
