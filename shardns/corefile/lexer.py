"""Text to words, as CoreDNS reads a Caddyfile (coredns/caddy caddyfile/lexer.go).

Words are divided by white space. A word that begins with a double quote ends at the next one and may hold anything;
inside, a backslash escapes a double quote and nothing else. Outside quotes "#" begins a comment, carriage returns are
dropped, and backslashes mean nothing. Braces count as braces only when they stand alone.

DIFFERS: a quote that is never closed is an error (CoreDNS takes the rest of the file); a comment that begins inside a
word lasts to the end of its line (CoreDNS forgets it at the next space); a quoted brace is text (CoreDNS: a brace).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shardns.corefile.model import Token
from shardns.errors import ConfigError, Position

# unicode.IsSpace of Go; str.isspace() also counts the ASCII separators 0x1c to 0x1f.
SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
MARKS = frozenset({"{", "}", "import"})
_PERCENT_VARIABLE = re.compile(r"\{%(.+?)%\}", re.DOTALL)
_DOLLAR_VARIABLE = re.compile(r"\{\$(.+?)\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """A token with what the parser needs to know about how it was written."""

    token: Token
    first: bool  # it is the first of its line
    mark: str  # "{", "}" or "import" if the bare word is that; else empty


def lex(text: str, file: str, env: Mapping[str, str], fail: Callable[[ConfigError], None]) -> list[Word]:
    """The words of a file, variables filled in from env (missing ones are empty). Errors go to fail.

    Variables are {$NAME} and {%NAME%}; what they hold is not split, not unquoted and never a brace.
    """
    return _Lexer(text.removeprefix("\ufeff"), file, env, fail).words()


def written(text: str) -> str:
    """The word as a file would hold it, in quotes where needed.

    Raises ValueError for what the syntax cannot express: a backslash before a double quote or at the end of a word
    that needs quotes.
    """
    plain = (
        text and text not in MARKS and not text.startswith(('"', "\ufeff")) and not SPACE.union("#").intersection(text)
    )
    if plain:
        return text
    if '\\"' in text or text.endswith("\\"):
        raise ValueError(f"{text!r} cannot be written in a Corefile")
    return '"' + text.replace('"', '\\"') + '"'


class _Lexer:
    """One pass over a text; `at` is the offset, `line` and `start` (offset of its first character) the place."""

    def __init__(self, text: str, file: str, env: Mapping[str, str], fail: Callable[[ConfigError], None]) -> None:
        self.text = text
        self.file = file
        self.env = env
        self.fail = fail
        self.at = 0
        self.line = 1
        self.start = 0
        self.first = True

    def words(self) -> list[Word]:
        """All words."""
        found: list[Word] = []
        while self._skip():
            place = Position(self.file, self.line, self.at - self.start + 1)
            first, self.first = self.first, False
            if self.text[self.at] == '"':
                text, mark = self._quoted(place), ""
            else:
                text = self._bare()
                mark = text if text in MARKS else ""
            found.append(Word(Token(self._filled(text), place), first, mark))
        return found

    def _skip(self) -> bool:
        """Go to the next word, over space and comments. False at the end."""
        comment = False
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\n":
                comment = False
                self._newline()
            elif char == "#":
                comment = True
            elif not comment and char not in SPACE:
                return True
            self.at += 1
        return False

    def _newline(self) -> None:
        """Count the line break at `at`."""
        self.line += 1
        self.start = self.at + 1
        self.first = True

    def _bare(self) -> str:
        """The word at `at`, up to space or comment."""
        chars: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#" or (char in SPACE and char != "\r"):
                break
            if char != "\r":
                chars.append(char)
            self.at += 1
        return "".join(chars)

    def _quoted(self, place: Position) -> str:
        """The text up to the closing quote; `at` ends behind it."""
        chars: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(chars)
            if char == "\\" and self.at + 1 < len(self.text):
                # Only a quote is escaped; before anything else the backslash is kept, and what follows is plain.
                self.at += 1
                follower = self.text[self.at]
                if follower != '"':
                    chars.append("\\")
                char = follower
            if char == "\n":
                self._newline()
                self.first = False  # what follows the closing quote still belongs to the line the quote began on
            chars.append(char)
            self.at += 1
        self.fail(ConfigError(place, "quote is never closed", hint='add a closing " to this word'))
        return "".join(chars)

    def _filled(self, text: str) -> str:
        """The text with its variables filled in, once: what a variable holds is not looked at again."""
        if "{" not in text:
            return text
        for pattern in (_PERCENT_VARIABLE, _DOLLAR_VARIABLE):
            text = pattern.sub(lambda match: self.env.get(match.group(1), ""), text)
        return text
