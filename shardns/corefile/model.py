"""What a Corefile says, before anyone knows what its words mean."""

from __future__ import annotations

from dataclasses import dataclass

from shardns.errors import Position


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the file: its text without quotes and with variables filled in, and where it begins."""

    text: str
    at: Position


@dataclass(frozen=True, slots=True)
class Directive:
    """A line: name, the rest of the line, and what stands in braces behind it (empty with and without braces)."""

    name: str
    args: tuple[Token, ...]
    body: tuple[Directive, ...]
    at: Position


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """Keys (zones as written: at least one) and directives in the order of the file."""

    keys: tuple[Token, ...]
    directives: tuple[Directive, ...]

    @property
    def at(self) -> Position:
        """Where its first key begins."""
        return self.keys[0].at
