"""Go's regular expressions in Python: the same matches, and the same refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns import re2


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        (".* i/o timeout$", ["read udp: i/o timeout"], ["i/o timeout\n", "i/o timeout x"]),
        ("^Failed to .+", ["Failed to x"], ["x Failed to x"]),
        ("(?m)^b$", ["a\nb\nc"], ["ab"]),
        ("a.b", ["a-b"], ["a\nb"]),
        ("(?s)a.b", ["a\nb"], ["ab"]),
        ("a(?i)b|c", ["aB", "C"], ["Ab"]),
        ("(?i:ab)c", ["ABc"], ["abC"]),
        ("(a(?i)b)c", ["aBc"], ["aBC"]),
        ("(?i)[a-c]x", ["BX"], ["dx"]),
        ("(?i)^[^a]$", ["b"], ["a", "A"]),
        ("^a{,3}$", ["a{,3}"], ["aa"]),
        ("^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
        ("a{x", ["a{x"], ["a"]),
        ("^[[:alpha:]]+$", ["abc"], ["ab1", "\u00e9"]),
        ("^[[:^digit:]_]+$", ["ab_"], ["a1"]),
        (r"^\d+\D$", ["12x"], ["12", "\u0661x"]),
        (r"^[\d\-x]+$", ["1-x"], ["y"]),
        (r"^[]a]+$", ["]a"], ["b"]),
        (r"^[^]a]+$", ["b"], ["]"]),
        (r"^[a\]&|~[-]+$", ["a]&|~[-"], ["b"]),
        (r"^\Qa.b*\E$", ["a.b*"], ["axb*"]),
        (r"^\Qab\E+$", ["abbb"], ["abab"]),
        (r"\Qa.", ["a."], ["ab"]),
        (r"^\x41\x{42}\103\.\_$", ["ABC._"], ["abc"]),
        (r"a\z", ["a"], ["a\n"]),
        (r"\bfoo\b", ["a foo b"], ["afoo"]),
        (r"\s", [" ", "\t"], ["\v", "\u00a0"]),
        ("(?P<x>a)(?<y>b)(?P<1>c)", ["abc"], ["ab"]),
        ("^*a", ["a"], ["b"]),
        ("(|a)b", ["b"], ["a"]),
        ("", ["", "x"], []),
        ("(?U)a+", ["aa"], ["b"]),
        ("\u00e9|\U0001f600", ["\u00e9", "\U0001f600"], ["e"]),
        (r"[^\x00-\x{10FFFF}]", [], ["a", ""]),
    ],
)
def test_matches(pattern, matching, others):
    """What Go's regexp matches is matched, and nothing else."""
    expression = re2.parse(pattern)
    assert [text for text in matching if not expression.compiled.search(text)] == []
    assert [text for text in others if expression.compiled.search(text)] == []


def test_ungreedy():
    """The flag U swaps greedy and lazy."""
    for pattern, wanted in (("(?U)a+", "a"), ("(?U)a+?", "aaa"), ("a+?", "a"), ("a+", "aaa")):
        found = re2.parse(pattern).compiled.search("aaa")
        assert found is not None
        assert found[0] == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(?>a)", "(?#x)", "(?P=x)", "(?(1)a)", "(?P<x", "(?i", "(?)", "(?-)",
        r"(a)\1", r"\8", r"\pL", r"[\PN]", r"\C", r"\Z", r"\u0041", r"\e", "\\", r"\x4", r"\x{110000}",
        "a**", "a*+", "a++", "a???", "a{2}{3}", "a{1001}", "a{3,2}", "*a", "(+)", "a|?", "(?i)*", r"\Q\E*",
        "(a", "a)", "[a", "[", "[]", "[^]", "[b-a]", "[[:none:]]", "[a-\\d]", "(?P<x>a)(?P<x>b)", "(" * 500 + ")" * 500,
        "x" * 10001,
    ],
)  # fmt: skip
def test_refused(pattern):
    """What RE2 refuses is refused, whatever Python thinks of it."""
    with pytest.raises(ValueError, match=r"."):
        re2.parse(pattern)


@pytest.mark.parametrize(
    "pattern, risky",
    [
        ("(a+)+", True),
        ("(.*x)*", True),
        ("(a|b+){2,}", True),
        (r"a+b*\d+", False),
        ("(a+)?", False),
        ("(a+){3}b+", False),
    ],
)
def test_risk(pattern, risky):
    """A loop around a loop is told, since Python may take exponential time for it."""
    assert re2.parse(pattern).is_risky is risky


@given(st.text(max_size=30) | st.text("()[]{}|*+?\\^$.-,:ab01QEpxPi<>=!", max_size=30))
def test_any_text(pattern):
    """Any text is an expression or a ValueError."""
    try:
        expression = re2.parse(pattern)
    except ValueError:
        return
    if not expression.is_risky:
        expression.compiled.search("ab01" * 3)


@given(st.text(max_size=30))
def test_quoted(text):
    r"""Text between \Q and \E matches itself."""
    if r"\E" not in text:
        found = re2.parse(f"\\Q{text}\\E").compiled.search(text)
        assert found is not None
        assert found[0] == text
