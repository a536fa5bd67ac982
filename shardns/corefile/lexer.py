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
    glued: str = ""  # the brace that a bare word ends in, without its partner: it is text, and was hardly meant so


Tell = Callable[[ConfigError], None]


def lex(text: str, file: str, env: Mapping[str, str], fail: Tell, note: Tell) -> list[Word]:
    """The words of a file, variables filled in from env. Errors go to fail; of missing variables, note is told.

    Variables are {$NAME} and {%NAME%}, empty where env has none; what they hold is not split, not unquoted and never a
    brace.
    """
    return _Lexer(text.removeprefix("\ufeff"), file, env, fail, note).words()


class _Lexer:
    """One pass over a text; `at` is the offset, `line` and `start` (offset of its first character) the place."""

    def __init__(self, text: str, file: str, env: Mapping[str, str], fail: Tell, note: Tell) -> None:
        self.text = text
        self.file = file
        self.env = env
        self.fail = fail
        self.note = note
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
                text, mark, glued = self._quoted(place), "", ""
            else:
                text = self._bare()
                mark = text if text in MARKS else ""
                glued = "" if mark else _glued(text)
            if "\0" in text:
                hint = "the file is damaged, or is no text"
                self.fail(ConfigError(place, "a word with a zero byte in it", got=text, hint=hint))
            found.append(Word(Token(self._filled(text, place), place), first, mark, glued))
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

    def _filled(self, text: str, place: Position) -> str:
        """The text with its variables filled in, once: what a variable holds is not looked at again."""
        if "{" not in text:
            return text

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in self.env:
                hint = f"the environment has no {name}"
                self.note(ConfigError(place, f"{match.group()} stands for nothing", hint=hint))
            return self.env.get(name, "")

        for pattern in (_PERCENT_VARIABLE, _DOLLAR_VARIABLE):
            text = pattern.sub(value, text)
        return text


def _glued(text: str) -> str:
    """The brace at the end of a bare word; empty where there is none, or where the word has its partner too."""
    return text[-1:] if text[-1:] in ("{", "}") and not ("{" in text and "}" in text) else ""
