"""template: what a Corefile may say, how a text is filled in, and what a block says to a question."""

from __future__ import annotations

import re

import dns.message
import dns.rcode
import pytest

from shardns.dns.answer import Answer, Question, Refusal, reply
from shardns.metrics import LocalCounts
from shardns.plugins import template
from shardns.plugins.template.engine import Engine
from shardns.plugins.template.text import Match, UnfilledError, parse
from tests.unit.plugins.setups import Setup, config, errors

SERVER = "dns://127.0.0.1:53"
QUESTION = Question("a.example.org.", 1, 1, b"")
MATCH = Match(QUESTION, "example.org.", "IN", "A", "^(a)(?P<rest>[.].*)", ["a.", "a", ".x"], {"rest": ".x", "none": ""})


class Block:
    """The templates of a block of the root."""

    def __init__(self, text: str, zones: tuple[str, ...] = (".",)) -> None:
        self.counts = LocalCounts()
        self.engine = Engine(config(text, zones=zones).stanzas, self.counts)

    def ask(self, name: str, rtype: str = "A", rclass: str = "IN") -> list[str] | str | None:
        """Rcode and records; SERVFAIL and why; None for the next plugin."""
        query = dns.message.make_query(name, rtype, rclass)
        query.id = 0
        said = self.engine.answer(Question.of(query.to_wire()), SERVER)
        if said is None:
            return None
        if isinstance(said, Refusal):
            return f"SERVFAIL {said.error}".strip()
        message = dns.message.from_wire(reply(query.to_wire(), said))
        assert query.is_response(message)
        sections = zip(("", "authority: ", "additional: "), message.sections[1:], strict=True)
        found = [f"{word}{rrset}" for word, section in sections for rrset in section]
        return [dns.rcode.to_text(message.rcode()), *found]


def one(lines: str, head: str = "ANY ANY") -> str:
    """A template of these lines."""
    return f"template {head} {{\n{lines}\n}}\n"


# ---- texts


@pytest.mark.parametrize(
    "source, wanted",
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ .Name }}", "a.example.org."),
        ("{{.Name}} {{.Zone}} {{.Class}} {{.Type}}", "a.example.org. example.org. IN A"),
        ("{{ .Question.Name }} {{ .Question.Qtype }} {{ .Question.Qclass }}", "a.example.org. 1 1"),
        ("{{ .Regex }}", "^(a)(?P<rest>[.].*)"),
        ("x{{ .Group.rest }}y", "x.xy"),
        ("x{{ .Group.none }}y", "xy"),
        ("{{ .Group.other }}", "<no value>"),
        ('{{ index .Group "rest" }}{{ index .Group `rest` }}', ".x.x"),
        ('{{ index .Group "other" }}', ""),
        ('{{ index .Group "1" }}{{ index .Group "9" }}', "a"),
        ("{{ index .Match 0 }}|{{ index .Match 1 }}|{{ (index .Match 2) }}", "a.|a|.x"),
        ("a {{- .Type -}} b", "aAb"),
        ("a {{ .Type -}} b {{- .Type }} c", "a AbA c"),
        ("a{{/* why */}}b {{- /* why */ -}} c", "abc"),
        ("{ { } }} {", "{ { } }} {"),
    ],
)
def test_fill(source, wanted):
    """Text stays, fields and captures are filled in, markers trim, as Go's text/template does it."""
    assert parse(source).fill(MATCH) == wanted


def test_fill_out_of_range():
    """A capture that the expression has not, ends it."""
    with pytest.raises(UnfilledError, match="index out of range: 3"):
        parse("{{ index .Match 3 }}").fill(MATCH)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("{{ .Remote }}", ".Remote differs from client to client, and the answer is shared"),
        ("{{ .Message.Id }}", ".Message.Id differs from client to client, and the answer is shared"),
        ('{{ .Meta "x" }}', ".Meta needs the plugin metadata, which is not in this version"),
        ("{{ .Foo }}", ".Foo is no field of a question"),
        ("{{ .Name.Foo }}", ".Name.Foo is no field of a question"),
        ("{{ .Group.a.b }}", ".Group.a.b is no field of a question"),
        ("{{ .Match }}", ".Match alone is not in this version, index .Match 1 is"),
        ("{{ .Group }}", ".Group alone is not in this version, .Group.name is"),
        ("{{ .Question }}", ".Question alone is not in this version, .Question.Name is"),
        ("{{ .Group.1 }}", ".Group.1 is no field of a question"),
        ("{{ index .Match }}", "{{ index .Match }} is not in this version: fields, .Group.name and index only"),
        ('{{ index .Match "a" }}', "index .Match takes a number"),
        ("{{ index .Group 1 }}", "index .Group takes a string"),
        ("{{ .Name | printf }}", ".Name is no field of a question"),
        ("{{ parseInt 1 }}", "{{ parseInt 1 }} is not in this version: fields, .Group.name and index only"),
        ("{{ if .Name }}x{{ end }}", "{{ if .Name }} is not in this version: fields, .Group.name and index only"),
        ("{{ $x := 1 }}", "{{ $x := 1 }} is not in this version: fields, .Group.name and index only"),
        ('{{ "x" }}', '{{ "x" }} is not in this version: fields, .Group.name and index only'),
        ("{{ }}", "missing value for command"),
        ("{{ .Name", "unclosed action"),
        ("{{ .Name }", "unclosed action"),
    ],
)
def test_refused(source, reason):
    """Everything else is refused by its name."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        parse(source)


# ---- answers


@pytest.mark.parametrize(
    "head, name, rtype, rclass, is_ours",
    [
        ("ANY ANY", "a", "TXT", "CH", True),
        ("IN A", "a", "A", "IN", True),
        ("IN A", "a", "AAAA", "IN", False),
        ("IN A", "a", "ANY", "IN", True),
        ("IN A", "a", "A", "CH", False),
        ("IN A", "a", "A", "ANY", True),
        ("IN TYPE65280", "a", "TYPE65280", "IN", True),
        ("IN A example.org", "A.Example.ORG", "A", "IN", True),
        ("IN A example.org", "example.org", "A", "IN", True),
        ("IN A example.org", "anexample.org", "A", "IN", False),
        ("IN PTR 192.0.2.0/24", "1.2.0.192.in-addr.arpa", "PTR", "IN", True),
    ],
)
def test_whose(head, name, rtype, rclass, is_ours):
    """Class, type and zone must fit; else the next plugin is asked."""
    assert Block(one("rcode NXDOMAIN", head)).ask(name, rtype, rclass) == (["NXDOMAIN"] if is_ours else None)


@pytest.mark.parametrize(
    "lines, wanted",
    [
        ("", ["NOERROR"]),
        ("rcode REFUSED", ["REFUSED"]),
        ("rcode refused", ["REFUSED"]),
        ('rcode SERVFAIL\nanswer "a. A 192.0.2.1"', "SERVFAIL"),
        ("match ^b", "SERVFAIL"),
        ("match ^b\nfallthrough", None),
        ("match ^b\nfallthrough example.org", None),
        ("match ^b\nfallthrough example.net", "SERVFAIL"),
        ("match ^b ^a", ["NOERROR"]),
        ("match ^b\nmatch ^a", ["NOERROR"]),
        ('match "^a[.]example[.]org[.]$"', ["NOERROR"]),
    ],
)
def test_match(lines, wanted):
    """The first expression that is found counts; none at all is SERVFAIL, or goes on."""
    assert Block(one(lines)).ask("A.example.org") == wanted


def test_records():
    """Records of all sections, in order; constant ones and such as are filled in."""
    text = one(
        'match "^(?P<host>[a-z]+)-([0-9]+)[.]"\n'
        'answer "{{ .Name }} 60 IN A 192.0.2.{{ index .Match 2 }}" "{{ .Name }} 60 A 192.0.2.9"\n'
        'answer "{{ .Name }} 60 IN TXT {{ .Group.host }}"\n'
        'additional "b. 5 A 192.0.2.1"\n'
        'authority "{{ .Zone }} 60 {{ .Class }} SOA ns. hm. (1 60 60 60 60)"\n',
        "ANY ANY example.org",
    )
    assert Block(text).ask("web-7.example.org") == [
        "NOERROR",
        "web-7.example.org. 60 IN A 192.0.2.7\nweb-7.example.org. 60 IN A 192.0.2.9",
        'web-7.example.org. 60 IN TXT "web"',
        "authority: example.org. 60 IN SOA ns. hm. 1 60 60 60 60",
        "additional: b. 5 IN A 192.0.2.1",
    ]


def test_the_first_template_that_fits_answers():
    """Those behind it are not asked; those in front that do not fit are passed by."""
    text = (
        one("rcode NXDOMAIN", "IN AAAA")
        + one("match ^b\nrcode NXDOMAIN\nfallthrough", "IN A")
        + one("rcode REFUSED", "IN ANY example.org")
        + one("", "IN A")
    )
    block = Block(text)
    assert block.ask("a.example.org", "AAAA") == ["NXDOMAIN"]
    assert block.ask("b.example.org") == ["NXDOMAIN"]
    assert block.ask("a.example.org") == ["REFUSED"]
    assert block.ask("a.example.net") == ["NOERROR"]
    assert block.ask("a.example.net", "MX") is None


def test_a_template_that_refuses_ends_it():
    """Without fallthrough those behind it are not asked either."""
    assert Block(one("match ^b") + one("")).ask("a") == "SERVFAIL"


def test_the_longest_zone_is_the_zone():
    """.Zone is the most specific of a template's zones."""
    block = Block(one('answer "{{ .Name }} TXT {{ .Zone }}"', "ANY ANY org example.org net"))
    assert block.ask("a.example.org", "TXT") == ["NOERROR", 'a.example.org. 3600 IN TXT "example.org."']
    assert dict(block.counts.template_matches) == {(SERVER, "example.org.", "IN", "TXT"): 1}


@pytest.mark.parametrize(
    "rtype, rclass, wanted",
    [
        ("A", "IN", ("IN", "A")),
        ("ANY", "ANY", ("ANY", "ANY")),
        ("TYPE65280", "CLASS77", ("", "")),
        ("MX", "CH", ("CH", "MX")),
    ],
)
def test_matches_are_counted(rtype, rclass, wanted):
    """By server, zone, class and type; what has no name is counted as empty, so clients cannot make labels."""
    block = Block(one(""))
    block.ask("a", rtype, rclass)
    assert dict(block.counts.template_matches) == {(SERVER, ".", *wanted): 1}


def test_any_takes_the_words_of_the_template():
    """A question for ANY shows the template's own class and type."""
    block = Block(one('answer "{{ .Name }} {{ .Class }} {{ .Type }} 192.0.2.1"', "IN A"))
    assert block.ask("a", "ANY", "ANY") == ["NOERROR", "a. 3600 IN A 192.0.2.1"]


def test_a_record_that_is_none():
    """SERVFAIL, a reason for the errors plugin, and a count with section and text."""
    block = Block(one('match "^([^.]*)[.]"\nadditional "{{ .Name }} A 192.0.2.{{ index .Match 1 }}"', "IN A"))
    assert block.ask("7") == ["NOERROR", "additional: 7. 3600 IN A 192.0.2.7"]
    wanted = "SERVFAIL template: additional 'x. A 192.0.2.x': '192.0.2.x' is no IPv4 address"
    assert block.ask("x") == wanted
    labels = (SERVER, ".", "IN", "A", "additional", "{{ .Name }} A 192.0.2.{{ index .Match 1 }}")
    assert dict(block.counts.template_rr_failures) == {labels: 1}
    assert not block.counts.template_failures


def test_a_text_that_cannot_be_filled_in():
    """The same, with a count of its own: another expression has the capture, this one not."""
    block = Block(one('match ^(a)\nmatch ^b\nanswer "{{ .Name }} TXT {{ index .Match 1 }}"'))
    assert block.ask("a", "TXT") == ["NOERROR", 'a. 3600 IN TXT "a"']
    said = block.ask("b", "TXT")
    assert isinstance(said, str)
    assert said.endswith("error calling index: index out of range: 1")
    labels = (SERVER, ".", "IN", "TXT", "answer", "{{ .Name }} TXT {{ index .Match 1 }}")
    assert dict(block.counts.template_failures) == {labels: 1}


@pytest.mark.parametrize("rtype, wanted", [("A", True), ("AAAA", True), ("CNAME", False), ("ANY", False)])
def test_cnames_are_followed_for_addresses(rtype, wanted):
    """Only then are their targets looked up."""
    block = Block(one('answer "{{ .Name }} CNAME b."'))
    query = dns.message.make_query("a", rtype)
    said = block.engine.answer(Question.of(query.to_wire()), SERVER)
    assert isinstance(said, Answer)
    assert said.is_followed == wanted


# ---- Corefile


def test_defaults():
    """Every name of the block's zones, NOERROR, no records."""
    (stanza,) = config("template IN a", zones=("example.org.",)).stanzas
    assert stanza == template.Stanza("IN", "A", ("example.org.",))
    assert stanza.match == (".*",)


def test_everything():
    """Each option; those that repeat add up."""
    text = one(
        'match a b\nmatch c\nanswer "a. A 192.0.2.1" "b. A 192.0.2.1"\nanswer "c. A 192.0.2.1"\n'
        'additional "d. A 192.0.2.1"\nauthority "e. NS f."\nrcode NXDOMAIN\nfallthrough example.org\nupstream x y',
        "ch TYPE16 Example.org 192.0.2.0/24",
    )
    (stanza,) = config(text).stanzas
    assert stanza == template.Stanza(
        qclass="CH",
        qtype="TXT",
        zones=("example.org.", "2.0.192.in-addr.arpa."),
        match=("a", "b", "c"),
        answer=("a. A 192.0.2.1", "b. A 192.0.2.1", "c. A 192.0.2.1"),
        additional=("d. A 192.0.2.1",),
        authority=("e. NS f.",),
        rcode="NXDOMAIN",
        fallthrough=("example.org.",),
    )


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("template", "1:1: template needs 2 arguments, has 0"),
        ("template IN", "1:1: template needs 2 arguments, has 1"),
        ("template XX A", "1:10: template: unknown class 'XX'"),
        ("template IN XX", "1:13: template: unknown type 'XX'"),
        (one("match"), "2:1: template: match needs 1 argument, has 0"),
        (one("match ("), '2:7: template: missing closing ): got "("'),
        (one("answer"), "2:1: template: answer needs 1 argument, has 0"),
        (
            one('answer "{{ .Remote }}"'),
            "2:8: template: .Remote differs from client to client, and the answer is shared",
        ),
        (one('answer "a. A 192.0.2.1" "{{ .Foo }}"'), "2:25: template: .Foo is no field of a question"),
        (one('answer "{{ .Group.a }}"'), "2:8: template: no match has a group a"),
        (one('match (a)\nanswer "{{ index .Match 2 }}"'), "3:8: template: no match has 2 groups"),
        (one('answer "a. A x"'), "2:8: template: not a record: 'x' is no IPv4 address"),
        (one('answer "{{ .Name }} A x"'), "2:8: template: not a record: 'x' is no IPv4 address"),
        (one('authority ""'), "2:11: template: not a record: no record"),
        (one("rcode"), "2:1: template: rcode needs 1 argument, has 0"),
        (one("rcode NXDOM"), '2:7: template: unknown rcode: got "NXDOM"'),
        (one("ederror"), "2:1: template: ederror needs 1 argument, has 0"),
        (one("ederror 65536"), '2:9: template: ederror must be at most 65535: got "65536"'),
        (one("foo"), '2:1: template: unknown option: got "foo"'),
        (one("", "IN A a..b"), "1:15: template: "),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    (found,) = errors(text)
    assert found.startswith(wanted)


def test_all_errors_at_once():
    """Those of every line of every directive are reported together."""
    assert len(errors(one("rcode X\nfoo\nmatch (", "XX YY") + one("bar"))) == 6


@pytest.mark.parametrize(
    "lines, head",
    [
        ('answer "{{ .Name }} {{ .Class }} {{ .Type }} 192.0.2.1"', "ANY ANY"),
        ('answer "{{ .Name }} {{ .Class }} {{ .Type }} ::1"', "ANY ANY"),
        ('answer "{{ .Name }} {{ .Class }} {{ .Type }} ::1"', "ANY AAAA"),
        ('answer "ns.{{ .Name }} NS ns.{{ .Name }}"', "ANY ANY"),
        ('match "(?P<a>.)"\nanswer "{{ .Name }} A {{ .Group.a }}"', "ANY ANY"),
    ],
)
def test_what_cannot_be_known_at_load(lines, head):
    """A record that may be one is let through."""
    assert config(one(lines, head))


@pytest.mark.parametrize(
    "lines, wanted",
    [
        ("ederror 21 blocked", "template: ederror is not sent"),
        ("match (a+)+b", 'template: expression may take very long: got "(a+)+b"'),
        ("rcode NOERROR\nrcode NXDOMAIN", "template: rcode is given again"),
    ],
)
def test_warnings(lines, wanted):
    """What has no effect, or is dangerous, gets a warning."""
    assert Setup(one(lines)).warned == [wanted]
