"""Answers of our own as messages, and records out of answers."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from shardns.dns import answer, codes, names
from shardns.dns.answer import OWNER, Answer, Question
from shardns.errors import Malformed

A = answer.record(OWNER, codes.Type.A, codes.Class.IN, 30, bytes([192, 0, 2, 1]))
SOA = answer.record(
    b"\7example\3org\0", codes.Type.SOA, 1, 60, names.to_wire("ns.example.org") + names.to_wire("hm.") + bytes(20)
)


def query(name="www.example.org", rtype="A", **ways):
    """A query of an independent implementation."""
    return dns.message.make_query(name, rtype, **ways)


def test_question():
    """Name in lower case, type and class, with and without EDNS."""
    for wire in (query("WWW.example.org", "TXT").to_wire(), query("WWW.example.org", "TXT", use_edns=0).to_wire()):
        question = Question.of(wire)
        assert (question.name, question.qtype, question.qclass) == ("www.example.org.", 16, 1)


def test_question_cut():
    """A question that ends early is malformed."""
    with pytest.raises(Malformed):
        Question.of(query().to_wire()[:-1])


@pytest.mark.parametrize("edns", [-1, 0])
def test_about(edns):
    """The same query for another name keeps header, type, class and EDNS."""
    wire = query(use_edns=edns, want_dnssec=edns == 0).to_wire()
    other = dns.message.from_wire(Question.of(wire).about(names.to_wire("a.example.net")))
    assert other.question[0].to_text() == "a.example.net. IN A"
    assert (other.id, other.flags, other.edns, other.ednsflags) == (*query_fields(wire),)


def query_fields(wire):
    """What must not change."""
    made = dns.message.from_wire(wire)
    return made.id, made.flags, made.edns, made.ednsflags


@pytest.mark.parametrize("rd", [True, False])
def test_reply(rd):
    """AA and the client's RD; every section; id 0."""
    asked = query()
    asked.id = 0
    asked.flags = dns.flags.RD if rd else 0
    wire = answer.reply(asked.to_wire(), Answer([A], [SOA], [A, A], codes.Rcode.NXDOMAIN))
    read = dns.message.from_wire(wire)
    assert asked.is_response(read)
    assert dns.flags.to_text(read.flags) == ("QR AA RD" if rd else "QR AA")
    assert read.rcode() == dns.rcode.NXDOMAIN
    assert [rrset.to_text() for rrset in read.answer] == ["www.example.org. 30 IN A 192.0.2.1"]
    assert [rrset.name.to_text() for rrset in read.authority] == ["example.org."]
    assert wire[6:12] == bytes([0, 1, 0, 1, 0, 2])


def test_reply_with_a_large_rcode():
    """An rcode above 15 needs an OPT."""
    read = dns.message.from_wire(answer.reply(query().to_wire(), Answer(rcode=codes.Rcode.BADCOOKIE)))
    assert read.rcode() == dns.rcode.BADCOOKIE


def test_reply_too_large():
    """What does not fit is left out, and TC says so."""
    wire = answer.reply(query().to_wire(), Answer([A] * 5000))
    assert len(wire) <= 65535
    assert dns.message.from_wire(wire).flags & dns.flags.TC


@pytest.mark.parametrize(
    "text",
    [
        "A 192.0.2.1",
        "CNAME web.example.org.",
        "MX 10 mail.example.org.",
        "SOA ns.example.org. hm.example.org. 1 2 3 4 5",
        "SRV 1 2 3 web.example.org.",
        'TXT "a b" c',
        "AFSDB 1 web.example.org.",
        "RP web.example.org. txt.example.org.",
        "HTTPS 1 web.example.org. alpn=h2",
        "NAPTR 1 2 a b c web.example.org.",
        "TYPE65280 \\# 3 c00c00",
    ],
)
def test_records_of(text):
    """Records of an answer come back whole, names written out, whoever compressed them."""
    rtype, _, data = text.partition(" ")
    asked = query(rtype=rtype)
    response = dns.message.make_response(asked)
    rrset = dns.rrset.from_text("www.example.org.", 30, "IN", rtype, data)
    response.answer.append(rrset)
    response.answer.append(dns.rrset.from_text("other.example.org.", 30, "IN", rtype, data))
    found = answer.records_of(response.to_wire())
    again = dns.message.from_wire(answer.reply(asked.to_wire(), Answer(found)))
    assert again.answer == response.answer
    assert found[0].startswith(names.to_wire("www.example.org"))


def test_records_of_rubbish():
    """Every message that is cut short is malformed."""
    response = dns.message.make_response(query(rtype="MX"))
    response.answer.append(dns.rrset.from_text("www.example.org.", 30, "IN", "MX", "10 mail.example.org."))
    wire = response.to_wire()
    for length in range(len(wire)):
        with pytest.raises(Malformed):
            answer.records_of(wire[:length])
    grown = wire.replace(b"\0\1\0\0\0\x1e\0\x09", b"\0\1\0\0\0\x1e\0\x03")
    assert grown != wire
    with pytest.raises(Malformed):
        answer.records_of(grown)


def test_target_of():
    """Only a CNAME has one."""
    target = names.to_wire("web.example.org")
    assert answer.target_of(answer.record(OWNER, codes.Type.CNAME, 1, 30, target)) == target
    assert answer.target_of(answer.record(target, codes.Type.CNAME, 1, 30, target)) == target
    assert answer.target_of(A) is None
