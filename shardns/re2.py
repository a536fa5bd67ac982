r"""Regular expressions as Go writes them (RE2), made to mean the same in Python's `re`.

The two differ where it hurts quietly: "$" also matches before a final newline in Python, "{,3}" is a repeat there and
text in RE2, look-around and back-references do not exist in RE2, \pN and [[:alpha:]] do not exist in Python, "\d" is
ASCII in RE2. So a pattern is parsed here by RE2's grammar (https://github.com/google/re2/wiki/Syntax) and written out
in the part of Python's that has one meaning only. What RE2 refuses is refused; so are \p and \P (Unicode classes).

Python backtracks, RE2 does not: `is_risky` tells of patterns that can take exponential time here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LENGTH = 10_000  # characters, as CoreDNS 1.14 limits them
MAX_REPEAT = 1000  # as RE2
MAX_DEPTH = 150  # of groups in groups; RE2 allows 1000, which Python's own compiler does not
_LAST = 0x10FFFF

_Ranges = tuple[tuple[int, int], ...]


def _ranges(text: str) -> _Ranges:
    """The ranges that pairs of characters stand for: "azAZ" is a to z and A to Z."""
    return tuple((ord(text[n]), ord(text[n + 1])) for n in range(0, len(text), 2))


_PERL = {"d": _ranges("09"), "w": _ranges("09AZ__az"), "s": _ranges("\t\n\f\r  ")}
_POSIX = {
    "alnum": _ranges("09AZaz"),
    "alpha": _ranges("AZaz"),
    "ascii": _ranges("\0\x7f"),
    "blank": _ranges("\t\t  "),
    "cntrl": _ranges("\0\x1f\x7f\x7f"),
    "digit": _ranges("09"),
    "graph": _ranges("!~"),
    "lower": _ranges("az"),
    "print": _ranges(" ~"),
    "punct": _ranges("!/:@[`{~"),
    "space": _ranges("\t\r  "),
    "upper": _ranges("AZ"),
    "word": _ranges("09AZ__az"),
    "xdigit": _ranges("09AFaf"),
}
_CONTROL = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_EDGES = {"A": r"\A", "z": r"\Z", "b": r"\b", "B": r"\B"}
_REPEAT = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_FLAGS = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_NAME = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]+)\})")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")


@dataclass(frozen=True, slots=True)
class Expression:
    """A pattern that was understood: its compiled form, and whether it can take exponential time."""

    source: str
    compiled: re.Pattern[str]
    is_risky: bool


@dataclass(frozen=True, slots=True)
class _Flags:
    """The flags in force at a place of the pattern."""

    i: bool = False
    m: bool = False
    s: bool = False
    U: bool = False

    def changed(self, on: str, off: str) -> _Flags:
        """The flags with those named in on set and those in off cleared."""
        i, m, s, swap = ((getattr(self, name) or name in on) and name not in off for name in "imsU")
        return _Flags(i, m, s, swap)


def parse(pattern: str) -> Expression:
    """The compiled pattern. Raises ValueError with the reason for what RE2, or this module, does not take."""
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"regular expression is longer than {MAX_LENGTH} characters")
    parser = _Parser(pattern)
    translated = parser.whole()
    try:
        compiled = re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regular expression is not understood: {error}") from error
    return Expression(pattern, compiled, parser.is_risky)


class _Parser:
    """Recursive descent over RE2's grammar; every method returns Python's spelling of what it read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.flags = _Flags()
        self.names: set[str] = set()
        self.has_loop = False  # an unbounded repeat was read since the caller last cleared this
        self.is_risky = False

    def whole(self) -> str:
        """The whole pattern."""
        found = self._alternation()
        if self.at < len(self.text):
            raise ValueError("unexpected )")
        return found

    def _alternation(self) -> str:
        """Branches up to the end or a closing parenthesis."""
        branches = [self._branch()]
        while self.text.startswith("|", self.at):
            self.at += 1
            branches.append(self._branch())
        return "|".join(branches)

    def _branch(self) -> str:
        """Atoms with their repeats, up to "|", ")" or the end."""
        found: list[str] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            if self.text.startswith(r"\Q", self.at):
                self._quoted(found)
                continue
            if self.text[self.at] in "*+?":
                raise ValueError(f"missing argument to repetition operator: {self.text[self.at]}")
            outer, self.has_loop = self.has_loop, False
            atom = self._atom()
            found.append(atom + self._repeat(atom))
            self.has_loop |= outer
        return "".join(found)

    def _quoted(self, found: list[str]) -> None:
        r"""The characters between \Q and \E; a repeat behind \E belongs to the last of them."""
        end = self.text.find(r"\E", self.at + 2)
        stop = len(self.text) if end < 0 else end
        found.extend(self._cased(_literal(ord(char))) for char in self.text[self.at + 2 : stop])
        self.at = stop if end < 0 else end + 2
        if found:
            found[-1] += self._repeat(found[-1])

    def _repeat(self, atom: str) -> str:
        """The repeat at `at` in Python's spelling; empty without one."""
        least, most = 0, None
        char = self.text[self.at : self.at + 1]
        counted = _REPEAT.match(self.text, self.at) if char == "{" else None
        if counted is not None:
            least = int(counted[1][:5])
            most = least if counted[2] is None else int(counted[3][:5]) if counted[3] else None
            if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
                raise ValueError(f"invalid repeat count: {counted[0]}")
            self.at = counted.end()
            found = counted[0]
        elif char and char in "*+?":
            most = 1 if char == "?" else None
            self.at += 1
            found = char
        else:
            return ""
        if not atom:
            raise ValueError(f"missing argument to repetition operator: {found}")
        lazy = self.text.startswith("?", self.at)
        self.at += lazy
        if self.text[self.at : self.at + 1] in {"*", "+", "?"} or _REPEAT.match(self.text, self.at):
            raise ValueError(f"invalid nested repetition operator: {found}{self.text[self.at]}")
        if most is None:
            self.is_risky |= self.has_loop
            self.has_loop = True
        return found + ("?" if lazy != self.flags.U else "")

    def _atom(self) -> str:
        """One thing that can be repeated. A change of flags is none: it is read and gives nothing."""
        char = self.text[self.at]
        if char == "(":
            return self._group()
        if char == "[":
            return self._cased(self._class())
        if char == "\\":
            return self._escape()
        self.at += 1
        if char == ".":
            return "(?s:.)" if self.flags.s else r"[^\n]"
        if char == "^":
            return "(?m:^)" if self.flags.m else r"(?:\A)"
        if char == "$":
            return "(?m:$)" if self.flags.m else r"(?:\Z)"
        return self._cased(_literal(ord(char)))

    def _group(self) -> str:
        """A group, or a change of flags for the rest of the group around it."""
        opening = "("
        kept = self.flags
        flags = _FLAGS.match(self.text, self.at)
        name = _NAME.match(self.text, self.at)
        if flags is not None and (flags[1] or flags[2] or flags[3] == ":"):
            self.flags = self.flags.changed(flags[1], flags[2] or "")
            self.at = flags.end()
            if flags[3] == ")":
                return ""
            opening = "(?:"
        elif name is not None:
            if name[1] in self.names:
                raise ValueError(f"duplicate group name {name[1]}")
            self.names.add(name[1])
            self.at = name.end()
            opening = f"(?P<{name[1]}>" if name[1].isidentifier() else "("
        elif self.text.startswith("(?", self.at):
            raise ValueError(f"{self.text[self.at : self.at + 4]} is not in Go's regular expressions")
        else:
            self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} groups inside each other")
        inner = self._alternation()
        if not self.text.startswith(")", self.at):
            raise ValueError("missing closing )")
        self.at += 1
        self.depth -= 1
        self.flags = kept
        return f"{opening}{inner})"

    def _escape(self) -> str:
        """A backslash and what it escapes, outside brackets."""
        char = self.text[self.at + 1 : self.at + 2]
        if char in _EDGES:
            self.at += 2
            return f"(?:{_EDGES[char]})"
        ranges = self._perl()
        return _bracket(ranges) if ranges is not None else self._cased(_literal(self._code()))

    def _perl(self) -> _Ranges | None:
        r"""The ranges of \d, \W and their like at `at`; None if something else is there."""
        char = self.text[self.at + 1 : self.at + 2]
        if char in {"p", "P"}:
            raise ValueError(f"Unicode classes (\\{char}) are not supported")
        ranges = _PERL.get(char.lower())
        if ranges is None:
            return None
        self.at += 2
        return _complement(ranges) if char.isupper() else ranges

    def _code(self) -> int:
        """The character that the escape at `at` stands for."""
        self.at += 1
        char = self.text[self.at : self.at + 1]
        for pattern, base in ((_HEX, 16), (_OCTAL, 8)):
            found = pattern.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
                value = int(next((group for group in found.groups() if group), found[0]), base)
                if value > _LAST:
                    raise ValueError(f"invalid escape sequence: \\{found[0]}")
                return value
        if char in _CONTROL:
            self.at += 1
            return _CONTROL[char]
        if not char:
            raise ValueError("trailing backslash at end of expression")
        if char.isalnum() or not char.isascii():
            raise ValueError(f"invalid escape sequence: \\{char}")
        self.at += 1
        return ord(char)

    def _class(self) -> str:
        """A bracket expression."""
        start = self.at
        self.at += 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self.text.startswith("]", self.at):
            if self.at >= len(self.text):
                raise ValueError(f"missing closing ]: {self.text[start : start + 20]}")
            ranges.extend(self._item())
            first = False
        self.at += 1
        return _bracket(_complement(ranges) if negated and not self.flags.i else ranges, negated and self.flags.i)

    def _item(self) -> _Ranges:
        """One item of a bracket expression: a class, a range or a character."""
        if self.text.startswith("[:", self.at) and (end := self.text.find(":]", self.at + 2)) >= 0:
            name = self.text[self.at + 2 : end]
            posix = _POSIX.get(name.removeprefix("^"))
            if posix is None:
                raise ValueError(f"invalid character class range: [:{name}:]")
            self.at = end + 2
            return _complement(posix) if name.startswith("^") else posix
        if self.text.startswith("\\", self.at) and (perl := self._perl()) is not None:
            return perl
        low = self._bound()
        if not self.text.startswith("-", self.at) or self.text.startswith("-]", self.at):
            return ((low, low),)
        self.at += 1
        high = self._bound()
        if high < low:
            raise ValueError(f"invalid character class range: {chr(low)}-{chr(high)}")
        return ((low, high),)

    def _bound(self) -> int:
        """One character of a bracket expression."""
        if self.at >= len(self.text):
            raise ValueError("missing closing ]")
        if self.text[self.at] == "\\":
            return self._code()
        self.at += 1
        return ord(self.text[self.at - 1])

    def _cased(self, atom: str) -> str:
        """The atom under the flag i, if that is set."""
        return f"(?i:{atom})" if self.flags.i else atom


def _literal(code: int) -> str:
    """One character, so written that it means itself inside and outside brackets."""
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"


def _bracket(ranges: Iterable[tuple[int, int]], negated: bool = False) -> str:
    """A bracket expression of the ranges; one that matches nothing when there are none."""
    items = "".join(_literal(low) if low == high else f"{_literal(low)}-{_literal(high)}" for low, high in ranges)
    if not items:
        return r"[^\x00-\U0010ffff]"
    return f"[{'^' if negated else ''}{items}]"


def _complement(ranges: Iterable[tuple[int, int]]) -> _Ranges:
    """All characters that are in none of the ranges."""
    found: list[tuple[int, int]] = []
    start = 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)
