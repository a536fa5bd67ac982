"""hosts: what a Corefile may say, and what names, addresses and reverse names get."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.reversename
import pytest

from shardns.dns import names
from shardns.dns.answer import Answer, Question, Refusal, reply
from shardns.plugins import hosts
from shardns.plugins.hosts.table import Table, address_of, address_of_reverse
from tests.unit.plugins.setups import Setup, config, errors

FILE = """\
# a hosts file
192.0.2.1 a.example.org b.example.org   # behind a name
192.0.2.2\tA.Example.org. alias
2001:db8::1 a.example.org
::ffff:192.0.2.3 mapped.example.org
fe80::1%eth0 link.example.org
192.0.2.1 a.example.org
192.0.2.4 outside.example.net
010.0.0.1 zeros.example.org
nonsense a.example.org
192.0.2.5
192.0.2.6 bad..example.org good.example.org
""".splitlines()
NODATA: list[str] = []


def ask(name, rtype="A", rclass="IN", **fields):
    """What a block of example.org says: records, SERVFAIL, or None for the next plugin."""
    made = hosts.Config(**{"zones": ("example.org.",), **fields})
    query = dns.message.make_query(name, rtype, rclass)
    query.id = 0
    said = made.answer((made.table(FILE), made.table(made.inline)), Question.of(query.to_wire()))
    if said is None:
        return None
    if isinstance(said, Refusal):
        return f"SERVFAIL{said.error}"
    answer = dns.message.from_wire(reply(query.to_wire(), said))
    assert query.is_response(answer)
    assert dns.flags.to_text(answer.flags) == "QR AA RD"
    return [f"{rrset.ttl} {rdata}" for rrset in answer.answer for rdata in rrset]


@pytest.mark.parametrize(
    "name, rtype, wanted",
    [
        ("a.example.org", "A", ["3600 192.0.2.1", "3600 192.0.2.2"]),
        ("A.EXAMPLE.ORG", "A", ["3600 192.0.2.1", "3600 192.0.2.2"]),
        ("a.example.org", "AAAA", ["3600 2001:db8::1"]),
        ("b.example.org", "AAAA", NODATA),
        ("a.example.org", "MX", NODATA),
        ("a.example.org", "ANY", NODATA),
        ("mapped.example.org", "A", ["3600 192.0.2.3"]),
        ("mapped.example.org", "AAAA", NODATA),
        ("link.example.org", "AAAA", ["3600 fe80::1"]),
        ("good.example.org", "A", ["3600 192.0.2.6"]),
        ("zeros.example.org", "A", "SERVFAIL"),
        ("missing.example.org", "A", "SERVFAIL"),
        ("missing.example.org", "TXT", "SERVFAIL"),
        ("alias", "A", None),
        ("outside.example.net", "A", None),
        ("a.example.org", "PTR", None),
    ],
)
def test_names(name, rtype, wanted):
    """Addresses add up; a name without that type is NODATA, no name at all SERVFAIL; other zones are not ours."""
    assert ask(name, rtype) == wanted


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("1.2.0.192.in-addr.arpa", ["3600 a.example.org.", "3600 b.example.org."]),
        ("3.2.0.192.in-addr.arpa", ["3600 mapped.example.org."]),
        ("4.2.0.192.in-addr.arpa", None),
        ("9.2.0.192.in-addr.arpa", None),
        ("2.0.192.in-addr.arpa", None),
        ("missing.example.org", None),
    ],
)
def test_reverse(name, wanted):
    """Reverse names need not lie in the zones; what is not found goes on."""
    assert ask(name, "PTR") == wanted


def test_nothing_is_said_twice():
    """An address that the file lists twice for a name is one record."""
    made = hosts.Config()
    said = made.answer((made.table(FILE),), Question.of(dns.message.make_query("a.example.org", "A").to_wire()))
    assert isinstance(said, Answer)
    assert len(said.answer) == 2


def test_no_reverse():
    """no_reverse leaves addresses without names."""
    assert ask("1.2.0.192.in-addr.arpa", "PTR", reverse=False) is None
    assert ask("b.example.org", reverse=False) == ["3600 192.0.2.1"]


@pytest.mark.parametrize(
    "zones, wanted", [((".",), None), (("example.org.",), None), (("sub.example.org.",), "SERVFAIL"), ((), "SERVFAIL")]
)
def test_fallthrough(zones, wanted):
    """A name that is not there goes on below the zones of fallthrough; one that is there never does."""
    assert ask("missing.example.org", fallthrough=zones) == wanted
    assert ask("a.example.org", "MX", fallthrough=zones) == NODATA


def test_inline_comes_after_the_file():
    """Lines of the Corefile add to the file's."""
    inline = ("192.0.2.9 b.example.org only.example.org",)
    assert ask("b.example.org", inline=inline, ttl_s=5) == ["5 192.0.2.1", "5 192.0.2.9"]
    assert ask("only.example.org", inline=inline) == ["3600 192.0.2.9"]


def test_other_classes_go_on():
    """A question of class CH is none for us, ANY is."""
    assert ask("a.example.org", rclass="CH") is None
    assert ask("1.2.0.192.in-addr.arpa", "PTR", rclass="CH") is None
    assert ask("b.example.org", rclass="ANY") == ["3600 192.0.2.1"]


def test_entries():
    """Every address of a name and every name of an address is an entry, repeated ones too."""
    assert Table(FILE, ("example.org.",), reverse=True).entries == 16
    assert Table(FILE, ("example.org.",), reverse=False).entries == 8
    assert Table(FILE, (".",), reverse=False).entries == 10


def test_more_than_a_message_holds():
    """A name with more addresses than fit a message gets as many as do, with TC."""
    table = Table((f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} x" for n in range(5000)), (".",), reverse=False)
    query = dns.message.make_query("x", "A")
    said = hosts.Config().answer((table,), Question.of(query.to_wire()))
    assert isinstance(said, Answer)
    wire = reply(query.to_wire(), said)
    assert 65000 < len(wire) <= 65535
    assert dns.message.from_wire(wire).flags & dns.flags.TC


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("192.0.2.1", bytes([192, 0, 2, 1])),
        ("::", bytes(16)),
        ("fe80::1%eth0", b"\xfe\x80" + bytes(13) + b"\1"),
        ("::ffff:192.0.2.1", bytes([192, 0, 2, 1])),
        ("192.0.2.01", None),
        ("192.0.2", None),
        ("", None),
    ],
)
def test_address_of(text, wanted):
    """As Go's net.ParseIP: no leading zeros, IPv4 in IPv6 is IPv4; a zone is left out."""
    assert address_of(text) == wanted


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "::"])
def test_address_of_reverse(text):
    """A reverse name stands for its address."""
    name = dns.reversename.from_address(text).to_text()
    assert address_of_reverse(name) == address_of(text)


@pytest.mark.parametrize(
    "name",
    [
        "in-addr.arpa.",
        "1.in-addr.arpa.",
        "1.2.3.4.5.in-addr.arpa.",
        "1.2.3.256.in-addr.arpa.",
        "a.b.c.d.in-addr.arpa.",
        "1.ip6.arpa.",
        f"{'0.' * 31}g.ip6.arpa.",
        f"{'0.' * 31}00.ip6.arpa.",
        "1.2.3.4.in-addr.arpa.example.org.",
    ],
)
def test_no_reverse_name(name):
    """Anything else stands for none."""
    assert address_of_reverse(name) is None


# ---- Corefile


def test_defaults():
    """/etc/hosts, the block's zones, no fallthrough."""
    assert config("hosts", zones=("example.org.",)) == hosts.Config("/etc/hosts", ("example.org.",))


def test_everything():
    """Options and entries in one body; Config keeps them in the file's own format."""
    text = (
        "hosts /etc/resolv.conf example.org 192.0.2.0/24 {\n 192.0.2.1 a.example.org b.example.org # why\n ttl 60\n"
        " 2001:db8::1 a.example.org\n no_reverse\n reload 1m\n fallthrough example.org\n}"
    )
    assert config(text) == hosts.Config(
        path="/etc/resolv.conf",
        zones=("example.org.", "2.0.192.in-addr.arpa."),
        inline=("192.0.2.1 a.example.org b.example.org", "2001:db8::1 a.example.org"),
        ttl_s=60,
        reverse=False,
        reload_s=60,
        fallthrough=("example.org.",),
    )
    assert config("hosts {\n fallthrough\n reload 0s\n}") == hosts.Config(reload_s=0, fallthrough=(".",))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("hosts\nhosts", "2:1: hosts: can be used only once per server block"),
        ("hosts {\n ttl\n}", "2:2: hosts: ttl needs 1 argument, has 0"),
        ("hosts {\n ttl x\n}", "2:6: hosts: ttl: 'x' is not a whole number"),
        ("hosts {\n ttl 0\n}", '2:6: hosts: ttl must be at least 1: got "0"'),
        ("hosts {\n ttl 65536\n}", '2:6: hosts: ttl must be at most 65535: got "65536"'),
        ("hosts {\n reload x\n}", "2:9: hosts: reload: "),
        ("hosts {\n reload -1s\n}", '2:9: hosts: reload must not be negative: got "-1s"'),
        ("hosts {\n no_reverse x\n}", '2:13: hosts: no_reverse takes no argument: got "x"'),
        ("hosts {\n fallthrough\n 192.0.2.1 a\n}", '3:2: hosts: unknown property: got "192.0.2.1"'),
        ("hosts {\n 192.0.2.1 a {\n x\n}\n}", '3:2: hosts: an entry takes no braces: got "192.0.2.1"'),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    (found,) = errors(text)
    assert found.startswith(wanted)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("hosts /etc/none", 'hosts: file does not exist: got "/etc/none"'),
        ("hosts {\n tttl 5\n}", 'hosts: neither an address nor an option: no effect: got "tttl"'),
        ("hosts {\n 192.0.2.1\n}", 'hosts: address without a name: no effect: got "192.0.2.1"'),
        ("hosts {\n 192.0.2.1 a..b\n}", 'hosts: name has an empty label: no effect: got "a..b"'),
        ("hosts /etc/resolv.conf example.org {\n 192.0.2.1 a\n}", 'hosts: name is outside the zones: got "a"'),
        ("hosts {\n ttl 5\n ttl 6\n}", "hosts: ttl is given again"),
    ],
)
def test_warnings(text, wanted):
    """What CoreDNS ignores without a word gets a warning."""
    assert Setup(text).warned == [wanted]


def test_names_are_looked_up_as_they_come():
    """A name with an escaped dot is one label."""
    table = Table(["192.0.2.1 a\\.b.example.org"], (".",), reverse=False)
    assert names.to_wire("a\\.b.example.org") in table
    assert names.to_wire("a.b.example.org") not in table
