"""Words of a Corefile."""

from __future__ import annotations

import pytest

from shardns.corefile import lexer
from shardns.errors import ConfigError

ENV = {"HOST_IP": "192.0.2.1", "WORDS": "a b", "BRACE": "{", "NESTED": "{$HOST_IP}"}


def ignore(_note: ConfigError) -> None:
    """What some tests do with notes."""


def words(text):
    """The words of text; an error fails the test."""
    errors: list[ConfigError] = []
    found = lexer.lex(text, "Corefile", ENV, errors.append, ignore)
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


@pytest.mark.parametrize("text", ["a\0b", '"\0"'])
def test_zero_bytes(text):
    """What is no text is refused with its place."""
    errors: list[ConfigError] = []
    lexer.lex(f"a {text}", "Corefile", ENV, errors.append, ignore)
    assert [(error.at.column, error.message.partition(":")[0]) for error in errors if error.at] == [
        (3, "a word with a zero byte in it")
    ]


@pytest.mark.parametrize("text", ['a "b', '"', '"a\\"', '"a\\'])
def test_unclosed_quote(text):
    """A quote that is never closed is reported where it opens."""
    errors: list[ConfigError] = []
    lexer.lex(text, "Corefile", ENV, errors.append, ignore)
    assert [error.message for error in errors] == ["quote is never closed"]
    assert errors[0].at is not None
    assert errors[0].at.column == text.index('"') + 1


def test_variables_that_nobody_set():
    """A variable that is missing is told with its place, once per use; in a comment it is nobody's business."""
    notes: list[ConfigError] = []
    lexer.lex("a {$HOST_IP}\n b{$NO}c {%NO%}# {$NEVER}", "Corefile", ENV, ignore, notes.append)
    assert [str(note) for note in notes] == [
        "Corefile:2:2: {$NO} stands for nothing (the environment has no NO)",
        "Corefile:2:10: {%NO%} stands for nothing (the environment has no NO)",
    ]


@pytest.mark.parametrize(
    "text, wanted",
    [("cache{", "{"), ("force_tcp}", "}"), ("{", ""), ("}", ""), ("{$HOST_IP}", ""), ("{remote}", ""), ('"a{"', "")],
)
def test_glued_braces(text, wanted):
    """A brace at the end of a bare word is text, and is remembered."""
    assert [word.glued for word in words(text)] == [wanted]
