"""Records out of zone-file text, held against dnspython's reading of the same text."""

from __future__ import annotations

import re

import dns.exception
import dns.message
import dns.rdata
import dns.zonefile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.dns import answer, names, records
from shardns.dns.codes import Type

QUERY = dns.message.make_query("www.example.org", "A").to_wire()


def read(text):
    """The record as an independent implementation reads our bytes."""
    message = dns.message.from_wire(answer.reply(QUERY, answer.Answer([records.from_text(text)])))
    (rrset,) = message.answer
    (rdata,) = rrset
    return rrset, rdata


DATA = [
    ("A", "192.0.2.1"),
    ("AAAA", "2001:db8::1"),
    ("NS", "ns.example.org."),
    ("CNAME", "web.example.org."),
    ("DNAME", "example.net."),
    ("PTR", "a\\.b.example.org."),
    ("SOA", "ns.example.org. hm.example.org. 1 2 3 4 5"),
    ("MX", "10 mail.example.org."),
    ("TXT", '"a b" c "say \\"hi\\"" \\065\\"'),
    ("TXT", '""'),
    ("SPF", "v=spf1"),
    ("HINFO", "cpu os"),
    ("RP", "a. b."),
    ("AFSDB", "1 a."),
    ("KX", "1 a."),
    ("SRV", "1 2 3 web.example.org."),
    ("NAPTR", '1 2 "s" "x+y" "!^.*$!sip:a@b!" .'),
    ("DS", "1 8 1 " + "aabb " * 10),
    ("CDS", "1 8 2 " + "ab" * 32),
    ("SSHFP", "1 1 " + "ab" * 20),
    ("TLSA", "3 1 1 " + "ab" * 32),
    ("SMIMEA", "3 1 1 " + "ab" * 32),
    ("DNSKEY", "257 3 8 AQPS kg=="),
    ("CDNSKEY", "257 3 8 AQPSkg=="),
    ("OPENPGPKEY", "AQPSkg=="),
    ("URI", '10 1 "https://example.org/"'),
    ("CAA", '0 issue "ca.example.org; policy=x"'),
    ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"),
    ("HTTPS", '1 web.example.org. mandatory=port,alpn port=1 alpn="h2" no-default-alpn key65333=x'),
    ("SVCB", "0 web.example.org."),
    ("SVCB", "1 . ech=AAb+DQACYWI="),
    ("TYPE65280", "\\# 3 aa bbcc"),
    ("A", "\\# 4 c0000201"),
]


@pytest.mark.parametrize("rtype, data", DATA)
def test_data(rtype, data):
    """Every type's data is what dnspython makes of it."""
    rrset, rdata = read(f"www.example.org. 30 IN {rtype} {data}")
    wanted = dns.rdata.from_text("IN", rtype, data)
    assert rrset.ttl == 30
    assert rdata.to_digestable() == wanted.to_digestable()
    assert rdata.rdtype == wanted.rdtype


@pytest.mark.parametrize(
    "head, ttl, rclass",
    [
        ("A", 3600, 1),
        ("IN A", 3600, 1),
        ("60 A", 60, 1),
        ("60 IN A", 60, 1),
        ("IN 60 A", 60, 1),
        ("1h30m in a", 5400, 1),
        ("1W CH A", 604800, 3),
        ("0 TYPE1", 0, 1),
        ("CLASS7 TYPE1", 3600, 7),
    ],
)
def test_head(head, ttl, rclass):
    """TTL and class may be left out, come in either order, in any case; a TTL may have units."""
    wire = records.from_text(f"a.example.org {head} \\# 4 c0000201")
    assert wire == answer.record(names.to_wire("a.example.org"), Type.A, rclass, ttl, bytes([192, 0, 2, 1]))


@pytest.mark.parametrize(
    "text",
    [
        "a.example.org. 60 A 192.0.2.1 ; why",
        "  a.example.org.\t60   A 192.0.2.1  ",
        "\n; first\na.example.org 60 IN A 192.0.2.1\n\n; last",
        "a.example.org. 60 IN A (\n192.0.2.1 ; inside\n)",
        "(a.example.org.) 60 (A) 192.0.2.1",
    ],
)
def test_layout(text):
    """Space, comments and parentheses do not count."""
    assert records.from_text(text) == records.from_text("a.example.org. 60 IN A 192.0.2.1")


def test_root():
    """The root is written as a dot or as @."""
    assert records.from_text("@ NS .") == answer.record(b"\0", Type.NS, 1, 3600, b"\0")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "no record"),
        ("; nothing", "no record"),
        ("a.", "record without a type"),
        ("a. 60 IN", "record without a type"),
        ("a. 60 60 A 192.0.2.1", "'60' is no record type"),
        ("a. IN CH A 192.0.2.1", "'CH' is no record type"),
        ("a. FOO x", "'FOO' is no record type"),
        ("a. ANY x", "'ANY' is no record type"),
        ("a. OPT \\# 0", "'OPT' is no record type"),
        ('a. "A" 192.0.2.1', "'A' is no record type"),
        ("a. 99999999999 A 192.0.2.1", "TTL 99999999999 is above 4294967295"),
        ("a..b A 192.0.2.1", "name has an empty label"),
        ('"a" A 192.0.2.1', "'a' is no name"),
        ("a. A", "data is cut short"),
        ("a. A 999.0.0.1", "'999.0.0.1' is no IPv4 address"),
        ("a. A ::1", "'::1' is no IPv4 address"),
        ("a. AAAA 192.0.2.1", "'192.0.2.1' is no IPv6 address"),
        ("a. AAAA fe80::1%eth0", "'fe80::1%eth0' is no IPv6 address"),
        ("a. A 192.0.2.1 192.0.2.2", "'192.0.2.2' is more than the type has"),
        ("a. HINFO a b c", "'c' is more than the type has"),
        ("a. MX x mail.", "'x' is no number of 16 bits"),
        ("a. MX 65536 mail.", "'65536' is no number of 16 bits"),
        ("a. MX 10", "data is cut short"),
        ('a. CNAME "b"', "'b' is no name"),
        ("a. TXT", "data is cut short"),
        (f"a. TXT {'x' * 256}", "string of 256 octets, 255 is the limit"),
        ("a. TXT x\\", "text ends in a backslash"),
        ("a. TXT \\256", "escape \\256 is above \\255"),
        ('a. TXT "x', "quote is not closed"),
        ("a. A (192.0.2.1", "opening ( is not closed"),
        ("a. A 192.0.2.1)", "closing ) without an opening one"),
        ("a. A 192.0.2.1\nb. A 192.0.2.1", "more than one record"),
        ("a. SOA a. b. 1 2 3 4 x", "'x' is no time"),
        ("a. DS 1 8 2 abc", "'abc' is not hexadecimal"),
        ("a. DNSKEY 1 3 8 ab!", "'ab!' is not base64"),
        ("a. A \\# 5 c0000201", "4 octets where 5 are announced"),
        ("a. A \\#", "data is cut short"),
        ("a. LOC 52 22 23.000 N 4 53 32.000 E -2.00m", "data of type LOC must be written as \\# LENGTH HEX (RFC 3597)"),
        ("a. HTTPS 1", "data is cut short"),
        ("a. HTTPS 1 . foo=1", "'foo' is no parameter of a service"),
        ("a. HTTPS 1 . port=1 port=2", "parameter port is given again"),
        ("a. HTTPS 1 . alpn", "alpn needs a value"),
        ("a. HTTPS 1 . no-default-alpn=x", "no-default-alpn has no value"),
    ],
)
def test_errors(text, reason):
    """What is no record says why."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        records.from_text(text)


@given(st.text(alphabet='aA1.0 \n\t"\\();:#@=xINTX', max_size=60))
def test_any_text(text):
    """Any text is a record that dnspython can read, or a ValueError."""
    try:
        records.from_text(f"a. {text}")
    except ValueError:
        return
    read(f"a. {text}")
