"""Words of a Corefile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardns.corefile import lexer
from shardns.errors import ConfigError

ENV = {"HOST_IP": "192.0.2.1", "WORDS": "a b", "BRACE": "{", "NESTED": "{$HOST_IP}"}


def words(text):
    """The words of text; an error fails the test."""
    errors: list[ConfigError] = []
    found = lexer.lex(text, "Corefile", ENV, errors.append)
    assert errors == []
    return found


def texts(text):
    """Only what the words say."""
    return [word.token.text for word in words(text)]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", []),
        ("  \n\t", []),
        ("\ufeffa b", ["a", "b"]),
        ("a\r\nb", ["a", "b"]),
        ("a\rb", ["ab"]),
        ("a # b c\nd", ["a", "d"]),
        ("a#b c\nd", ["a", "d"]),
        ("#", []),
        ('"a b" c', ["a b", "c"]),
        ('"a\\"b"', ['a"b']),
        ('"a\\nb\\\\"', ["a\\nb\\\\"]),
        ('"a#b"', ["a#b"]),
        ('a"b', ['a"b']),
        ('"a"b', ["a", "b"]),
        ('""', [""]),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),
        ("a\x1cb", ["a\x1cb"]),
        ("a\\ b", ["a\\", "b"]),
        ("{$HOST_IP}:53 x{%HOST_IP%}y", ["192.0.2.1:53", "x192.0.2.1y"]),
        ("{$WORDS} {$NOT_SET} {$}", ["a b", "", "{$}"]),
        ("{$NESTED}", ["{$HOST_IP}"]),
        ('"{$HOST_IP}"', ["192.0.2.1"]),
        ("{common} {>id}", ["{common}", "{>id}"]),
    ],
)
def test_texts(text, wanted):
    """Space divides, quotes join, comments vanish, variables are filled in once."""
    assert texts(text) == wanted


def test_marks():
    """Only bare words are braces or imports; quoted or filled in they are text."""
    marks = [word.mark for word in words('{ } import "{" "}" "import" {$BRACE} {}')]
    assert marks == ["{", "}", "import", "", "", "", "", ""]


def test_places():
    """Lines and columns count from 1, and a word knows whether it begins its line."""
    found = words('a b\n\n  "c\nd" e\nf')
    assert [(w.token.at.line, w.token.at.column, w.first) for w in found] == [
        (1, 1, True),
        (1, 3, False),
        (3, 3, True),
        (4, 4, False),
        (5, 1, True),
    ]


@pytest.mark.parametrize("text", ['a "b', '"', '"a\\"', '"a\\'])
def test_unclosed_quote(text):
    """A quote that is never closed is reported where it opens."""
    errors: list[ConfigError] = []
    lexer.lex(text, "Corefile", ENV, errors.append)
    assert [error.message for error in errors] == ["quote is never closed"]
    assert errors[0].at is not None
    assert errors[0].at.column == text.index('"') + 1


@pytest.mark.parametrize("text", ['a \\" b', "a b\\", "#\\"])
def test_unwritable(text):
    """The syntax has no way to write a backslash before a quote, or at the end of a quoted word."""
    with pytest.raises(ValueError, match="cannot be written"):
        lexer.written(text)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_round_trip(wanted):
    """Words that are written down read back the same."""
    try:
        text = "\n".join(lexer.written(word) for word in wanted)
    except ValueError:
        return
    errors: list[ConfigError] = []
    found = lexer.lex(text, "Corefile", {}, errors.append)
    variables = any("{$" in word or "{%" in word for word in wanted)
    assert variables or ([word.token.text for word in found], errors) == (wanted, [])
