import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.querylog import COMBINED, COMMON, compile_format, expanded
from shardns.querylog.template import split
from tests.unit.querylog.records import record

LOCAL = {0: "127.0.0.1", 1: "::1"}
UNWRITTEN = {"reply_flags": 0, "rcode": 2, "response_len": 56}


def line(template, **fields):
    """The line of a record under a format."""
    return compile_format(expanded(template), LOCAL)(record(**fields))


@pytest.mark.parametrize(
    "template, fields, wanted",
    [
        (
            COMMON,
            {},
            '192.0.2.7:4431 - 61744 "A IN www.example.org. udp 56 false 512" NOERROR qr,rd,ra 89 0.000401617s',
        ),
        (
            COMBINED,
            {"query_flags": 0x2100},
            '192.0.2.7:4431 - 61744 "A IN www.example.org. udp 56 false 512" NOERROR qr,rd,ra 89 0.000401617s "4"',
        ),
        (
            "{common}",
            {"peer": ("2001:db8::7", 53), "proto": 1, "dnssec_ok": 1, "udp_size": 1232, "rcode": 3},
            '[2001:db8::7]:53 - 61744 "A IN www.example.org. tcp 56 true 65535" NXDOMAIN qr,rd,ra 89 0.000401617s',
        ),
        (
            COMMON,
            UNWRITTEN,
            '192.0.2.7:4431 - 61744 "A IN www.example.org. udp 56 false 512" - - 0 0.000401617s',
        ),
    ],
)
def test_named_formats(template, fields, wanted):
    """The lines are CoreDNS's, character by character; a reply that no plugin wrote has no rcode, flags or size."""
    assert line(template, **fields) == wanted


@pytest.mark.parametrize(
    "template, fields, wanted",
    [
        ("{type}", {"qtype": "AAAA"}, "AAAA"),
        ("{type}", {"qtype": "TYPE65400"}, "TYPE65400"),
        ("{name}", {"name": "WwW.ExAmple.ORG."}, "www.example.org."),
        ("{name}", {"name": "."}, "."),
        ("{name}", {"name": r"a\.b\010c.example.org."}, r"a\.b\010c.example.org."),
        ("{class}", {"qclass": 3}, "CH"),
        ("{class}", {"qclass": 9}, "CLASS9"),
        ("{proto}", {"proto": 1}, "tcp"),
        ("{size} {rsize}", {"request_len": 40, "response_len": 512}, "40 512"),
        ("{remote}", {"peer": ("2001:db8::1", 1)}, "[2001:db8::1]"),
        ("{remote}", {"peer": ("fe80::1", 1, 2)}, "[fe80::1%2]"),
        ("{remote}", {"peer": ("::ffff:192.0.2.1", 1)}, "192.0.2.1"),
        ("{remote}:{port}", {"peer": ("192.0.2.9", 65535)}, "192.0.2.9:65535"),
        ("{local}", {"listener": 0}, "127.0.0.1"),
        ("{local}", {"listener": 1}, "[::1]"),
        ("{local}", {"listener": 9}, "-"),
        ("{rcode}", {"rcode": 5}, "REFUSED"),
        ("{rcode}", {"rcode": 12}, "12"),
        ("{>id}", {"id": 0}, "0"),
        ("{>opcode}", {"query_flags": 0x2900}, "5"),
        ("{>do}", {"dnssec_ok": 1}, "true"),
        ("{>bufsize}", {"udp_size": 0}, "512"),
        ("{>bufsize}", {"udp_size": 4096}, "4096"),
        ("{>rflags}", {"reply_flags": 0x87F0}, "qr,aa,tc,rd,ra,z,ad,cd"),
        ("{>rflags}", {"reply_flags": 0x8000}, "qr"),
        ("{/forward/upstream}|{/}", {}, "-|-"),
    ],
)
def test_labels(template, fields, wanted):
    """Each label prints what CoreDNS 1.13.2 prints for it."""
    assert line(template, **fields) == wanted


@pytest.mark.parametrize(
    "duration_ns, wanted",
    [
        (0, "0s"),
        (1, "0.000000001s"),
        (50_000, "0.00005s"),
        (401_617, "0.000401617s"),
        (999_999, "0.000999999s"),
        (1_000_000, "0.001s"),
        (100_000_000, "0.1s"),
        (1_000_000_000, "1s"),
        (2_001_234_567, "2.001234567s"),
        (6_001_200_000, "6.0012s"),
    ],
)
def test_duration(duration_ns, wanted):
    """Seconds, as short as they can be said, never with an exponent."""
    assert line("{duration}", duration_ns=duration_ns) == wanted


@pytest.mark.parametrize(
    "template, wanted",
    [
        ("", []),
        ("no labels", ["no labels"]),
        ("{type}", ["{type}"]),
        ("{type}{name}", ["{type}", "{name}"]),
        ("A {type} B", ["A ", "{type}", " B"]),
        ("{ {type} }", ["{ ", "{type}", " }"]),
        ("A } {type}", ["A } ", "{type}"]),
        ("A {nosuch} {type}", ["A {nosuch} ", "{type}"]),
        ("{TYPE}{>ID}", ["{TYPE}{>ID}"]),
        ("{/a/b}x", ["{/a/b}", "x"]),
        ("{type", ["{type"]),
        ("{{type}}", ["{", "{type}", "}"]),
    ],
)
def test_split(template, wanted):
    """A label ends at a brace and begins at the last one before it; all else is text (replacer.go parseFormat)."""
    assert split(template) == wanted


PIECES = st.sampled_from(["{type}", "{>id}", "{local}", "{/a}", "{", "}", "{{", "x", "%", "%s", " ", "{>", "{nosuch}"])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_split_loses_nothing(template):
    """The pieces of a format are the format, and any format makes a line."""
    assert "".join(split(template)) == template
    assert isinstance(line(template), str)


def test_percent_signs_are_text():
    """A percent sign in a format means itself."""
    assert line("100% {type} %s") == "100% A %s"
