"""log: names, formats, classes."""

from __future__ import annotations

import pytest

from shardns.querylog import COMBINED, COMMON, Rule
from tests.unit.plugins.setups import Setup, config, errors


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("log", (Rule(),)),
        ("log Example.ORG", (Rule("example.org."),)),
        ("log a.example.org b.example.org", (Rule("a.example.org."), Rule("b.example.org."))),
        ("log . {combined}", (Rule(".", COMBINED),)),
        ("log {common}", (Rule(".", COMMON),)),
        ('log . "{remote} {name}"', (Rule(".", "{remote} {name}"),)),
        (
            'log a.example.org b.example.org "{common} {local}"',
            (Rule("a.example.org.", COMMON + " {local}"), Rule("b.example.org.", COMMON + " {local}")),
        ),
        ("log {\n class error\n}", (Rule(classes=("error",)),)),
        ("log {\n class error\n class denial success\n}", (Rule(classes=("success", "denial", "error")),)),
        ("log a.example.org {\n class denial\n}\nlog", (Rule("a.example.org.", classes=("denial",)), Rule())),
        ("log 192.0.2.0/24", (Rule("2.0.192.in-addr.arpa."),)),
    ],
)
def test_rules(text, wanted):
    """One rule per name, in the order of the file."""
    assert config(text).rules == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("log a..b", 'log: not a zone: name has an empty label: got "a..b"'),
        ("log {\n class\n}", "log: class needs 1 argument, has 0"),
        ("log {\n class errors\n}", 'log: unknown class: got "errors"'),
        ("log {\n format x\n}", 'log: unknown option: got "format"'),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert [error.split(": ", 1)[1] for error in errors(text)] == [wanted]


def test_warnings():
    """Placeholders that mean nothing are told."""
    assert Setup('log . "{remot} {/forward/upstream}"').warned == [
        "log: {remot} is no placeholder and prints as it is",
        "log: {/forward/upstream} prints as -",
    ]
