"""prometheus: its address."""

from __future__ import annotations

import pytest

from shardns.plugins.api import Address
from shardns.plugins.prometheus import Config
from tests.unit.plugins.setups import config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [("prometheus", Address("localhost", 9153)), ("prometheus :9253", Address("", 9253))],
)
def test_config(text, wanted):
    """The default is port 9153 on localhost."""
    assert config(text) == Config(wanted)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("prometheus 9253", '1:12: prometheus: an address has the form host:port: got "9253"'),
        ("prometheus :1 :2", '1:15: prometheus takes 1 argument: got ":2"'),
        ("prometheus {\n runtime_metrics\n}", "2:2: prometheus: runtime_metrics is not in this version"),
        ("prometheus {\n what\n}", '2:2: prometheus: unknown option: got "what"'),
        ("prometheus\nprometheus", "2:1: prometheus: can be used only once per server block"),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]
