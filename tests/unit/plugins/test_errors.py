"""errors: consolidation rules."""

from __future__ import annotations

import pytest

from shardns.plugins.errors import Config
from shardns.querylog import Pattern
from tests.unit.plugins.setups import Setup, config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("errors", Config()),
        ("errors stdout", Config()),
        ("errors {\n stacktrace\n}", Config(stacktrace=True)),
        (
            'errors {\n consolidate 5m ".* i/o timeout$" warning\n consolidate 30s "^Failed to .+"\n}',
            Config(False, (Pattern(300, ".* i/o timeout$", "warning"), Pattern(30, "^Failed to .+"))),
        ),
        ("errors {\n consolidate 1s x show_first\n}", Config(False, (Pattern(1, "x", "error", show_first=True),))),
        (
            "errors {\n consolidate 1s x info show_first\n}",
            Config(False, (Pattern(1, "x", "info", show_first=True),)),
        ),
    ],
)
def test_config(text, wanted):
    """Options are read in order, the level defaults to error."""
    assert config(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("errors stderr", '1:8: errors: can log to stdout only: got "stderr"'),
        ("errors stdout x", '1:15: errors takes 1 argument: got "x"'),
        ("errors\nerrors", "2:1: errors: can be used only once per server block"),
        ("errors {\n stack\n}", '2:2: errors: unknown option: got "stack"'),
        ("errors {\n stacktrace x\n}", '2:13: errors: stacktrace takes no argument: got "x"'),
        ("errors {\n consolidate 5m\n}", "2:2: errors: consolidate needs 2 arguments, has 1"),
        (
            "errors {\n consolidate x y\n}",
            "2:14: errors: consolidate period: 'x' is not a duration such as 30s, 1m30s or 500ms",
        ),
        ("errors {\n consolidate 0 y\n}", '2:14: errors: consolidate period must be at least 1ms: got "0"'),
        ("errors {\n consolidate 1m (?!x)\n}", '2:17: errors: (?!x is not in Go\'s regular expressions: got "(?!x)"'),
        ("errors {\n consolidate 1m x fatal\n}", '2:19: errors: consolidate ends in [LEVEL] [show_first]: got "fatal"'),
        (
            "errors {\n consolidate 1m x show_first info\n}",
            '2:30: errors: consolidate ends in [LEVEL] [show_first]: got "info"',
        ),
        (
            "errors {\n consolidate 1m x info info\n}",
            '2:24: errors: consolidate ends in [LEVEL] [show_first]: got "info"',
        ),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]


def test_slow_expression():
    """A repeat around a repeat is warned of: pods choose what it is matched with."""
    assert Setup('errors {\n consolidate 1m "(a+)+$"\n}').warned == [
        'errors: expression may take very long: got "(a+)+$"'
    ]
