"""Messages: what is built can be read, and what cannot be read is Malformed."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.dns import codes, message, names
from shardns.errors import Malformed

WWW = names.to_wire("www.example.org.")


@pytest.mark.parametrize("rd", [False, True])
@pytest.mark.parametrize("cd", [False, True])
@pytest.mark.parametrize(("do", "size", "announced"), [(False, 0, -1), (True, 0, 1232), (False, 512, 512)])
def test_query(rd: bool, cd: bool, do: bool, size: int, announced: int) -> None:
    """An independent reader sees the question, the flags and the OPT that were asked for."""
    wire = message.query(WWW, codes.Type.AAAA, id=4711, rd=rd, cd=cd, ad=True, do=do, udp_size=size)
    seen = dns.message.from_wire(wire)
    assert (seen.id, seen.question[0].to_text()) == (4711, "www.example.org. IN AAAA")
    assert bool(seen.flags & dns.flags.RD) is rd
    assert bool(seen.flags & dns.flags.CD) is cd
    assert seen.flags & dns.flags.AD
    assert (seen.edns >= 0) is (announced > 0)
    if announced > 0:
        assert seen.payload == announced
        assert bool(seen.ednsflags & dns.flags.DO) is do


def test_error_keeps_the_question() -> None:
    """Id, RD, CD and the question's own letters come back; AD and the answer bits do not."""
    asked = message.query(names.to_wire("WwW.example.org."), 1, id=7, cd=True, ad=True)
    seen = dns.message.from_wire(message.error(asked, codes.Rcode.REFUSED))
    assert (seen.id, seen.rcode()) == (7, dns.rcode.REFUSED)
    assert seen.flags & ~0xF == dns.flags.QR | dns.flags.RD | dns.flags.CD
    assert str(seen.question[0].name) == "WwW.example.org."


def test_error_with_opt() -> None:
    """An OPT is answered with an OPT, which carries extended codes."""
    asked = message.query(WWW, 1, id=7, do=True)
    seen = dns.message.from_wire(message.error(asked, codes.Rcode.BADVERS))
    assert seen.rcode() == dns.rcode.BADVERS
    assert seen.edns == 0
    assert seen.ednsflags & dns.flags.DO


def test_extended_code_without_opt() -> None:
    """Without an OPT there is no room for a code above 15."""
    seen = message.parse(message.error(message.query(WWW, 1, id=7), codes.Rcode.BADVERS))
    assert seen.rcode == codes.Rcode.SERVFAIL


@pytest.mark.parametrize("cut", [12, 20, 30])
def test_error_without_question(cut: int) -> None:
    """A question that is cut off is left out of the answer."""
    reply = message.error(message.query(WWW, 1, id=7)[:cut], codes.Rcode.FORMERR)
    assert len(reply) == 12
    assert reply[4:6] == b"\0\0"


def test_error_needs_a_header() -> None:
    """Less than twelve bytes cannot be answered."""
    with pytest.raises(Malformed):
        message.error(b"\0" * 11, codes.Rcode.FORMERR)


def test_response_and_parse() -> None:
    """Zone lines go in, records come out."""
    asked = message.query(WWW, 1, id=9, udp_size=4096)
    wire = message.response(
        asked,
        answer=["www.example.org. 30 IN A 192.0.2.1"],
        authority=["example.org. 60 IN NS ns.example.org."],
        additional=["ns.example.org. 60 IN AAAA 2001:db8::1"],
        aa=True,
    )
    seen = message.parse(wire)
    assert seen.id == 9
    assert seen.flags & message.AA
    assert seen.questions == (message.Question("www.example.org.", 1, 1),)
    assert seen.answer == (message.Record("www.example.org.", 1, 1, 30, "192.0.2.1"),)
    assert seen.authority[0].data == "ns.example.org."
    assert seen.additional[0].data == "2001:db8::1"
    assert (message.parse(asked).opt_size, message.parse(asked).do) == (4096, False)
    assert message.parse(message.query(WWW, 1, id=9)).opt_size == 0


def test_unreadable() -> None:
    """Broken queries are the peer's fault, broken records the caller's."""
    with pytest.raises(Malformed):
        message.response(b"\0\0")
    with pytest.raises(ValueError, match="unreadable record"):
        message.response(message.query(WWW, 1, id=1), answer=["www.example.org. 30 IN A nonsense"])


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda tail: message.query(WWW, 1, id=1, do=True) + tail))
def test_any_bytes(wire: bytes) -> None:
    """Any bytes are answered or Malformed; they never raise anything else."""
    for act in (message.parse, lambda w: message.error(w, codes.Rcode.FORMERR)):
        with contextlib.suppress(Malformed):
            act(wire)
