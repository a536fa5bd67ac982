"""Code points and their names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardns.dns import codes


@pytest.mark.parametrize(
    ("text", "value", "number", "word"),
    [
        (codes.type_text, codes.type_value, 1, "A"),
        (codes.type_text, codes.type_value, 65, "HTTPS"),
        (codes.type_text, codes.type_value, 23, "NSAP-PTR"),
        (codes.type_text, codes.type_value, 1234, "TYPE1234"),
        (codes.class_text, codes.class_value, 1, "IN"),
        (codes.class_text, codes.class_value, 9, "CLASS9"),
        (codes.rcode_text, codes.rcode_value, 3, "NXDOMAIN"),
        (codes.rcode_text, codes.rcode_value, 16, "BADVERS"),
        (codes.rcode_text, codes.rcode_value, 12, "RCODE12"),
    ],
)
def test_both_ways(text: Callable[[int], str], value: Callable[[str], int], number: int, word: str) -> None:
    """Every number has a word and every word its number, in any case."""
    assert text(number) == word
    assert value(word) == number
    assert value(word.lower()) == number


@pytest.mark.parametrize("word", ["", "TYPE", "TYPE65536", "TYPE-1", "TYPE 1", "NOSUCH", "TYPE\uff11"])
def test_unknown_word(word: str) -> None:
    """A word that is neither a name nor a number is refused."""
    for value in (codes.type_value, codes.class_value, codes.rcode_value):
        with pytest.raises(ValueError, match="unknown"):
            value(word)
