"""Names in text and wire form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.dns import names
from shardns.errors import Malformed


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (".", "."),
        ("Example.ORG", "example.org."),
        ("example.org.", "example.org."),
        (r"a\.b.example.org", r"a\.b.example.org."),
        (r"\065.example.org", "a.example.org."),
        (r"\000.example.org", r"\000.example.org."),
        ("a b.example.org", r"a\ b.example.org."),
        ("_dns._udp.*.example.org", "_dns._udp.*.example.org."),
        ("é.example.org", r"\195\169.example.org."),
        ("x" * 63 + ".org", "x" * 63 + ".org."),
    ],
)
def test_normalize(text: str, wanted: str) -> None:
    """Names become lower case, fully qualified and canonically escaped."""
    assert names.normalize(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "..", ".a", "a..b", "x" * 64, "a\\", r"\256.org", ".".join(["x" * 49] * 5 + ["yyyyy"])]
)
def test_illegal_text(text: str) -> None:
    """Empty labels, long labels, long names and broken escapes are refused."""
    with pytest.raises(ValueError, match=r"name|label|escape"):
        names.to_wire(text)


def test_longest_name() -> None:
    """255 bytes of wire are legal, 256 are not."""
    longest = ".".join(["x" * 49] * 5 + ["yyy"])
    assert len(names.to_wire(longest)) == 255
    with pytest.raises(ValueError, match="255"):
        names.to_wire(longest + "y")


@pytest.mark.parametrize(
    ("wire", "off", "wanted"),
    [
        (b"\0", 0, "."),
        (b"\3WWW\7example\3org\0", 0, "WWW.example.org."),
        (b"\7example\3org\0\3www\xc0\0", 13, "www.example.org."),
        (b"\1.\0", 0, r"\.."),
    ],
)
def test_from_wire(wire: bytes, off: int, wanted: str) -> None:
    """The case is kept and backward pointers are followed."""
    assert names.from_wire(wire, off) == wanted


@pytest.mark.parametrize(
    ("wire", "off"),
    [
        (b"", 0),
        (b"\3ww", 0),
        (b"\3www", 0),
        (b"\xc0", 0),
        (b"\xc0\0", 0),
        (b"\xc0\2\xc0\0", 2),
        (b"\1a\xc0\0", 0),
        (b"\x40a\0", 0),
        (b"\x80a\0", 0),
        (b"\0\xc0\5\0\0\0", 1),
        ((b"\x3f" + b"x" * 63) * 4 + b"\0", 0),
        (b"\0", -1),
    ],
)
def test_malformed_wire(wire: bytes, off: int) -> None:
    """Loops, forward pointers, reserved labels and names that leave the buffer are Malformed."""
    with pytest.raises(Malformed):
        names.from_wire(wire, off)


def test_end() -> None:
    """The end is behind the root byte or behind the first pointer."""
    assert names.end(b"\3www\0rest", 0) == 5
    assert names.end(b"\3www\xc0\7rest", 0) == 6
    assert names.end(b"\3www\xc0\7", 0) == 6
    for broken in (b"\3ww", b"\3www\xc0", b"\x41" + b"a" * 70, (b"\x3f" + b"x" * 63) * 5 + b"\0"):
        with pytest.raises(Malformed):
            names.end(broken, 0)


@pytest.mark.parametrize(
    ("name", "zone", "wanted"),
    [
        ("www.example.org.", "example.org.", True),
        ("example.org.", "example.org.", True),
        ("example.org.", ".", True),
        (".", ".", True),
        (".", "org.", False),
        ("badexample.org.", "example.org.", False),
        (r"a\.example.org.", "example.org.", False),
        (r"a\\.example.org.", "example.org.", True),
        ("org.", "example.org.", False),
    ],
)
def test_is_subdomain(name: str, zone: str, wanted: bool) -> None:
    """A zone holds itself and what ends in it at a label border."""
    assert names.is_subdomain(name, zone) is wanted


def test_labels() -> None:
    """Escaped dots do not count."""
    assert [names.labels(n) for n in (".", "org.", r"a\.b.org.")] == [0, 1, 2]


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_round_trip(parts: list[bytes]) -> None:
    """Any legal wire name survives the way through text."""
    wire = b"".join(bytes((len(p),)) + p for p in parts) + b"\0"
    assert names.to_wire(names.from_wire(wire)) == wire
    text = names.from_wire(names.fold(wire))
    assert names.normalize(text) == text


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes(wire: bytes, off: int) -> None:
    """Any bytes are a name or Malformed, nothing else."""
    try:
        names.to_wire(names.from_wire(wire, off))
        names.end(wire, off)
    except Malformed:
        pass


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text is a name or a ValueError, and normalising is idempotent."""
    try:
        once = names.normalize(text)
    except ValueError:
        return
    assert names.normalize(once) == once
