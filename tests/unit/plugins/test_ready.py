"""ready: its address, and how it looks."""

from __future__ import annotations

import pytest

from shardns.plugins.api import Address
from shardns.plugins.ready import Config
from tests.unit.plugins.setups import Setup, config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("ready", Address("", 8181)),
        ("ready 192.0.2.1:8181", Address("192.0.2.1", 8181)),
        ("ready {\n monitor continuously\n}", Address("", 8181)),
    ],
)
def test_config(text, wanted):
    """The default is port 8181 on all addresses."""
    assert config(text) == Config(wanted)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("ready 8181", '1:7: ready: an address has the form host:port: got "8181"'),
        ("ready {\n monitor\n}", "2:2: ready: monitor needs 1 argument, has 0"),
        ("ready {\n monitor never\n}", '2:10: ready: unknown monitor type: got "never"'),
        ("ready\nready", "2:1: ready: can be used only once per server block"),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]


def test_until_ready():
    """Looking only until ready for the first time is not offered, and told."""
    assert Setup("ready {\n monitor until-ready\n}").warned == ["ready: monitor until-ready has no effect"]
