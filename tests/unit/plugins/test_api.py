"""The tools that plugins read their lines with."""

from __future__ import annotations

import pytest

from shardns.corefile import Token
from shardns.errors import ConfigError, Position
from shardns.plugins import api

AT = Position("Corefile", 1, 1)


@pytest.mark.parametrize(
    "text, wanted",
    [
        (":8080", ("", 8080)),
        ("localhost:9153", ("localhost", 9153)),
        ("169.254.20.10:8080", ("169.254.20.10", 8080)),
        ("[2001:db8::1]:8080", ("2001:db8::1", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_address(text, wanted):
    """An address is host:port, and prints as it was written."""
    address = api.address("health", Token(text, AT))
    assert (address.host, address.port) == wanted
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "localhost",
        "::1",
        "[::1]",
        "2001:db8::1:8080",
        ":x",
        ":65536",
        "a_b:80",
        "a..b:80",
        "[x:y]:80",
        "a b:80",
    ],
)
def test_no_address(text):
    """Anything else is refused."""
    with pytest.raises(ConfigError):
        api.address("health", Token(text, AT))


def test_did_you_mean():
    """The nearest words are offered; without one, a short list in full."""
    assert api.did_you_mean("sucess", ["success", "denial"]) == "did you mean success?"
    assert api.did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert api.did_you_mean("zzz", [str(n) for n in range(100)]) == ""
