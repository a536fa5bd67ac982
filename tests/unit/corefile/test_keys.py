"""Zones as keys of a block."""

from __future__ import annotations

import pytest

from shardns.corefile import Token, zone_keys, zones_of
from shardns.errors import ConfigError, Position

AT = Position("Corefile", 1, 1)


def keys(text):
    """What a key stands for, as (zone, port)."""
    return [(key.zone, key.port) for key in zone_keys(Token(text, AT))]


@pytest.mark.parametrize(
    "text, wanted",
    [
        (".", [(".", 0)]),
        (".:53", [(".", 53)]),
        ("Cluster.Local:1053", [("cluster.local.", 1053)]),
        ("dns://example.org.", [("example.org.", 0)]),
        ("dns://.:53", [(".", 53)]),
        ("in-addr.arpa:53", [("in-addr.arpa.", 53)]),
        ("10.0.0.0/8", [("10.in-addr.arpa.", 0)]),
        ("192.0.2.0/24:53", [("2.0.192.in-addr.arpa.", 53)]),
        ("192.0.2.77/24", [("2.0.192.in-addr.arpa.", 0)]),
        ("192.0.2.1/32", [("1.2.0.192.in-addr.arpa.", 0)]),
        ("0.0.0.0/0", [("in-addr.arpa.", 0)]),
        ("10.0.0.0/15", [("0.10.in-addr.arpa.", 0), ("1.10.in-addr.arpa.", 0)]),
        ("2001:db8::/32", [("8.b.d.0.1.0.0.2.ip6.arpa.", 0)]),
        ("2001:db8::/31:53", [("8.b.d.0.1.0.0.2.ip6.arpa.", 53), ("9.b.d.0.1.0.0.2.ip6.arpa.", 53)]),
        ("::/0", [("ip6.arpa.", 0)]),
        ("0/25.2.0.192.in-addr.arpa", [("0/25.2.0.192.in-addr.arpa.", 0)]),
        ("10.0.0.0/33", [("10.0.0.0/33.", 0)]),
    ],
)
def test_keys(text, wanted):
    """Schemes, ports and address ranges are taken apart."""
    assert keys(text) == wanted


def test_uneven_range():
    """A range off the label borders stands for every zone on the next border."""
    found = keys("192.0.2.128/25:53")
    assert len(found) == 128
    assert found[0] == ("128.2.0.192.in-addr.arpa.", 53)
    assert found[-1] == ("255.2.0.192.in-addr.arpa.", 53)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("tls://.:853", "tls:// is not served"),
        ("https://example.org", "https:// is not served"),
        ("ftp://example.org", "unknown scheme ftp://"),
        ("example.org:", "a port is expected after the last colon"),
        ("example.org:0", "not a port"),
        ("example.org:65536", "not a port"),
        ("example.org:domain", "not a zone"),
        ("2001:db8::g", "not a zone"),
        ("a..b", "not a zone"),
        ("x" * 64, "not a zone"),
        ("x." * 200, "zone is too long"),
        ("b\u00fccher.example.org", "a zone must be ASCII"),
        ("example.org{", "a zone has no braces.*put a space before the brace"),
        ("{{{", "a zone has no braces"),
        ("}", "a zone has no braces"),
    ],
)
def test_refused(text, wanted):
    """What cannot be served is refused with the reason."""
    with pytest.raises(ConfigError, match=wanted):
        keys(text)


def test_idna_hint():
    """The hint says how queries spell a name outside ASCII."""
    with pytest.raises(ConfigError, match=r"queries carry xn--bcher-kva\.example\.org"):
        keys("b\u00fccher.example.org")


def test_arguments():
    """In a directive a zone has neither scheme nor port."""
    assert zones_of(Token("10.0.0.0/15", AT)) == ("0.10.in-addr.arpa.", "1.10.in-addr.arpa.")
    for text in ("dns://.", "example.org:53"):
        with pytest.raises(ConfigError):
            zones_of(Token(text, AT))
