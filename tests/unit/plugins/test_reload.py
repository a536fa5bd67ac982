"""reload: interval and jitter."""

from __future__ import annotations

import pytest

from shardns.plugins.reload import Config
from tests.unit.plugins.setups import Setup, config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("reload", Config(30, 15)),
        ("reload 10s", Config(10, 5)),
        ("reload 2s 1s", Config(2, 1)),
        ("reload 1m 10s", Config(60, 10)),
        ("reload 10s 30s", Config(10, 5)),
    ],
)
def test_config(text, wanted):
    """The default is 30 s and 15 s; the jitter is never above half the interval."""
    assert config(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("reload 1s", '1:8: reload: interval must be at least 2s: got "1s"'),
        ("reload 10s 500ms", '1:12: reload: jitter must be at least 1s: got "500ms"'),
        ("reload 10s 5s x", '1:15: reload takes 2 arguments: got "x"'),
        ("reload often", "1:8: reload: interval: 'often' is not a duration such as 30s, 1m30s or 500ms"),
        ("reload {\n x\n}", '2:2: reload: takes no braces: got "x"'),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]


def test_first_counts():
    """Of several in a block the first counts, and the others are told."""
    made = Setup("reload 10s\nreload 20s")
    assert made.config == Config(10, 5)
    assert made.warned == ["reload: is given again"]
