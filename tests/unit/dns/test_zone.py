"""shardns.dns.zone against dnspython, which reads every answer it gives."""

import struct

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from shardns.dns.zone import Zone
from shardns.errors import Malformed
from tests.peers.client import flags, rcode, texts

TEXT = """
example.org. 300 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 30
www.example.org. 60 IN A 192.0.2.1
www.example.org. 60 IN A 192.0.2.2
alias.example.org. 20 IN CNAME www.example.org.
away.example.org. 20 IN CNAME www.example.net.
loop.example.org. 20 IN CNAME loop.example.org.
_http._tcp.example.org. 60 IN SRV 1 2 80 www.example.org.
sub.example.org. 300 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 600
deep.a.b.sub.example.org. 60 IN TXT "deep"
example.com. 5 IN SOA ns.example.com. hostmaster.example.com. 1 2 3 4 600
"""
ZONE = Zone(TEXT, synthetic=["example.com."])
SOA = "example.org. 30 SOA ns.example.org. hostmaster.example.org. 1 2 3 4 30"


def answer(name, rtype="A", *, over_tcp=False, zone=ZONE, **options):
    """Dnspython's reading of the zone's answer."""
    query = dns.message.make_query(name, rtype, **options)
    reply = dns.message.from_wire(zone.answer(query.to_wire(), over_tcp=over_tcp))
    assert query.is_response(reply)
    return reply


@pytest.mark.parametrize(
    "name, rtype, wanted_rcode, wanted",
    [
        ("www.example.org.", "A", "NOERROR", ["www.example.org. 60 A 192.0.2.1", "www.example.org. 60 A 192.0.2.2"]),
        ("alias.example.org.", "CNAME", "NOERROR", ["alias.example.org. 20 CNAME www.example.org."]),
        (
            "alias.example.org.",
            "A",
            "NOERROR",
            [
                "alias.example.org. 20 CNAME www.example.org.",
                "www.example.org. 60 A 192.0.2.1",
                "www.example.org. 60 A 192.0.2.2",
            ],
        ),
        ("away.example.org.", "A", "NOERROR", ["away.example.org. 20 CNAME www.example.net."]),
        ("www.example.org.", "AAAA", "NOERROR", []),
        ("a.b.sub.example.org.", "TXT", "NOERROR", []),
        ("missing.example.org.", "A", "NXDOMAIN", []),
        ("x.www.example.org.", "A", "NXDOMAIN", []),
        ("www.example.net.", "A", "REFUSED", []),
    ],
)
def test_answer(name, rtype, wanted_rcode, wanted):
    """An answer has the records of the name and of what its CNAMEs lead to, and the rcode of the last name."""
    reply = answer(name, rtype)
    assert (rcode(reply), texts(reply)) == (wanted_rcode, wanted)


@pytest.mark.parametrize(
    "name, rtype, wanted",
    [
        ("missing.example.org.", "A", SOA),
        ("www.example.org.", "MX", SOA),
        (
            "missing.sub.example.org.",
            "A",
            "sub.example.org. 300 SOA ns.example.org. hostmaster.example.org. 1 2 3 4 600",
        ),
    ],
)
def test_denial(name, rtype, wanted):
    """NXDOMAIN and NODATA carry the nearest zone's SOA; its TTL is the smaller of its own and its minimum."""
    reply = answer(name, rtype)
    assert texts(reply, "authority") == [wanted]
    assert flags(reply) == {"QR", "AA", "RD"}


def test_case_is_kept():
    """The question and its first owner come back in the client's own case; the lookup does not mind it."""
    reply = answer("wWw.ExAmple.ORG.")
    assert str(reply.question[0].name) == "wWw.ExAmple.ORG."
    assert str(reply.answer[0].name) == "wWw.ExAmple.ORG."


def test_cname_loop_ends():
    """A CNAME that leads to itself is answered and left at that."""
    assert len(answer("loop.example.org.").answer) == 1


def test_srv_targets():
    """An SRV answer brings its targets' addresses along."""
    reply = answer("_http._tcp.example.org.", "SRV")
    assert texts(reply, "additional") == ["www.example.org. 60 A 192.0.2.1", "www.example.org. 60 A 192.0.2.2"]


def test_synthetic():
    """Every name of a synthetic domain has one address per family, always the same, and nothing else."""
    first, again, other = answer("one.example.com."), answer("ONE.example.com."), answer("two.example.com.")
    assert first.answer[0][0] == again.answer[0][0]
    assert first.answer[0][0] != other.answer[0][0]
    assert str(first.answer[0][0]).startswith("198.1")
    assert str(answer("one.example.com.", "AAAA").answer[0][0]).startswith("2001:db8:")
    nothing = answer("one.example.com.", "MX")
    assert (rcode(nothing), nothing.answer, len(nothing.authority)) == ("NOERROR", [], 1)


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({"use_edns": -1}, (-1, 0, set())),
        ({"use_edns": 0, "payload": 4096}, (0, 1232, set())),
        ({"want_dnssec": True}, (0, 1232, {"DO"})),
    ],
)
def test_opt(options, wanted):
    """An OPT comes back only to one that was sent, with DO as it was."""
    reply = answer("www.example.org.", **options)
    assert (reply.edns, reply.payload, set(dns.flags.edns_to_text(reply.ednsflags).split())) == wanted


@pytest.mark.parametrize(
    "options, over_tcp, truncated",
    [
        ({"use_edns": -1}, False, True),
        ({"use_edns": 0, "payload": 512}, False, True),
        ({"use_edns": 0, "payload": 1232}, False, False),
        ({"use_edns": -1}, True, False),
    ],
)
def test_truncation(options, over_tcp, truncated):
    """An answer larger than what the client takes by UDP comes empty with TC; TCP brings all of it."""
    large = Zone(TEXT + "\n".join(f"many.example.org. 60 IN A 192.0.2.{n}" for n in range(40)))
    query = dns.message.make_query("many.example.org.", "A", **options)
    wire = large.answer(query.to_wire(), over_tcp=over_tcp)
    reply = dns.message.from_wire(wire)
    assert bool(reply.flags & dns.flags.TC) is truncated
    assert bool(reply.answer) is not truncated
    assert over_tcp or len(wire) <= max(512, options.get("payload", 0))


QUERY = dns.message.make_query("www.example.org.", "A", use_edns=0).to_wire()


@pytest.mark.parametrize(
    "change, wanted",
    [
        (lambda wire: wire[:2] + b"\x28" + wire[3:], "NOTIMP"),
        (lambda wire: wire[:4] + b"\x00\x02" + wire[6:], "FORMERR"),
        (lambda wire: wire[:4] + b"\x00" * 8, "FORMERR"),
        (lambda wire: wire[:20], "FORMERR"),
        (lambda wire: wire.replace(b"org\x00\x00\x01\x00\x01", b"org\x00\x00\x01\x00\x03"), "REFUSED"),
        (lambda wire: wire[:-5] + b"\x01" + wire[-4:], "BADVERS"),
    ],
    ids=["update", "two questions", "no question", "cut short", "class CH", "EDNS 1"],
)
def test_errors(change, wanted):
    """What is no plain question is answered with the rcode that says why, under the query's id."""
    wire = ZONE.answer(change(QUERY), over_tcp=False)
    assert wire[:2] == QUERY[:2]
    header_rcode = struct.unpack_from("!H", wire, 2)[0] & 15
    opt_rcode = wire[-6] << 4 if wanted == "BADVERS" else 0
    assert dns.rcode.Rcode(opt_rcode + header_rcode).name in {wanted, "BADSIG" if wanted == "BADVERS" else wanted}


@pytest.mark.parametrize("wire", [b"", QUERY[:11], QUERY[:2] + b"\x80" + QUERY[3:]], ids=["empty", "short", "response"])
def test_silence(wire):
    """Less than a header and anything that is a response raise Malformed: there is nobody to answer."""
    with pytest.raises(Malformed):
        ZONE.answer(wire, over_tcp=False)


def test_unreadable_text():
    """Text that is no zone file is a ValueError."""
    with pytest.raises(ValueError, match="unreadable zone"):
        Zone("www.example.org. 60 IN A nonsense")
