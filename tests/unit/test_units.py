"""Durations and numbers as Go reads and writes them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns import units


@pytest.mark.parametrize(
    "text, wanted_s",
    [
        ("30", 30),
        ("0", 0),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("500ms", 0.5),
        ("-2ms", -0.002),
        ("+1s", 1),
        ("10us", 1e-05),
        ("10\u00b5s", 1e-05),
        ("10\u03bcs", 1e-05),
        ("60ns", 6e-08),
    ],
)
def test_duration(text, wanted_s):
    """A bare number is seconds; anything else is a Go duration."""
    assert units.duration_s(text) == wanted_s


@pytest.mark.parametrize(
    "text", ["", "-", "s", "1x", "1s2", "1 s", "1S", "1d", ".s", "--1s", "1e3s", "\uff11s", "9" * 80]
)
def test_no_duration(text):
    """What Go does not read, and is no bare number, is refused."""
    with pytest.raises(ValueError, match="is not a duration"):
        units.duration_s(text)


def test_longest_duration():
    """Durations end where 64 bits of nanoseconds end."""
    assert units.duration_s("2562047h47m16.854775807s") > 9e9
    with pytest.raises(ValueError, match="292 years"):
        units.duration_s("2562048h")


@pytest.mark.parametrize(
    "seconds, wanted",
    [
        (0, "0s"),
        (30, "30s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (0.5, "500ms"),
        (1.5, "1.5s"),
        (0.0015, "1.5ms"),
        (1e-9, "1ns"),
        (2.5e-06, "2.5\u00b5s"),
        (-5, "-5s"),
    ],
)
def test_duration_text(seconds, wanted):
    """Durations are printed as Go prints them."""
    assert units.duration_text(seconds) == wanted


@given(st.integers(-(10**15), 10**15))
def test_duration_round_trip(ns):
    """What is printed reads back as the same number of nanoseconds."""
    seconds = ns / 10**9
    assert round(units.duration_s(units.duration_text(seconds)) * 10**9) == round(seconds * 10**9)


@given(st.text(max_size=20))
def test_any_text(text):
    """Any text is a value or a ValueError."""
    for read in (units.duration_s, units.integer, units.port):
        with contextlib.suppress(ValueError):
            read(text)


@pytest.mark.parametrize("text, wanted", [("0", 0), ("-1", -1), ("+7", 7), ("007", 7), ("9984", 9984)])
def test_integer(text, wanted):
    """Signs and leading zeros are read."""
    assert units.integer(text) == wanted


@pytest.mark.parametrize("text", ["", "1.0", "1_000", " 1", "0x1", "\u0661", "9223372036854775808"])
def test_no_integer(text):
    """Anything but decimal digits of 64 bits is refused."""
    with pytest.raises(ValueError, match="not"):
        units.integer(text)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "+53", "domain"])
def test_no_port(text):
    """Ports are 1 to 65535, without a sign."""
    with pytest.raises(ValueError, match="not"):
        units.port(text)


def test_port_zero():
    """Port 0 is a port where the caller lets the kernel choose."""
    assert units.port("0", least=0) == 0
