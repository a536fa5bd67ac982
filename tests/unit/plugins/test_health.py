"""health: address and lame duck."""

from __future__ import annotations

import pytest

from shardns.plugins.api import Address
from shardns.plugins.health import Config
from tests.unit.plugins.setups import config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("health", Config(Address("", 8080), 0)),
        ("health 169.254.20.10:8080", Config(Address("169.254.20.10", 8080))),
        ("health [2001:db8::1]:8099", Config(Address("2001:db8::1", 8099))),
        ("health :9254 {\n lameduck 5s\n}", Config(Address("", 9254), 5)),
    ],
)
def test_config(text, wanted):
    """The default is port 8080 on all addresses, without lame duck time."""
    assert config(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("health 8080", '1:8: health: an address has the form host:port: got "8080"'),
        ("health __PILLAR__LOCAL__DNS__:8080", '1:8: health: not a host: got "__PILLAR__LOCAL__DNS__"'),
        ("health :1 :2", '1:11: health takes 1 argument: got ":2"'),
        ("health {\n lameduck\n}", "2:2: health: lameduck needs 1 argument, has 0"),
        ("health {\n lameduck -1s\n}", '2:11: health: lameduck must not be negative: got "-1s"'),
        ("health {\n duck 1s\n}", '2:2: health: unknown option: got "duck"'),
        ("health\nhealth", "2:1: health: can be used only once per server block"),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]
