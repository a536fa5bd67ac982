"""A line of the report."""

import json

import pytest

from supervisor.doctor import findings
from supervisor.doctor.findings import Finding, fail, ok, skip, warn


@pytest.mark.parametrize(
    "found, code",
    [([], 0), ([ok("a", "x"), warn("a", "x"), skip("a", "x")], 0), ([ok("a", "x"), fail("a", "x", "y")], 1)],
)
def test_exit_code(found, code):
    """Only a failure makes the exit code 1."""
    assert findings.exit_code(found) == code


def test_line():
    """A person gets state, check, what was found and what to do, in one line whatever the texts are."""
    found = fail("rules", "two of\nthem", "put them\nback")
    assert findings.line(found, is_coloured=False) == "fail  rules       two of them -> put them back"
    assert findings.line(ok("rules", "all"), is_coloured=False) == "ok    rules       all"
    assert findings.line(found, is_coloured=True).startswith("\033[1;31mfail \033[0m rules")


def test_json():
    """A program gets one object in one line, with all fields always."""
    text = findings.as_json(Finding("rules", "ok", "a\nb"))
    assert json.loads(text) == {"check": "rules", "state": "ok", "found": "a\nb", "remedy": ""}
    assert "\n" not in text


def test_summary():
    """The last line counts, best first."""
    assert findings.summary([ok("a", ""), fail("a", "", ""), ok("b", "")]) == "2 ok, 0 warn, 1 fail, 0 skip"
