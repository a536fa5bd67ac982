"""The exceptions of the project, split by whose fault it is.

ConfigError is the operator's, Malformed is the peer's, Unreachable is the network's. Anything else that is raised is a
bug of ours and is not caught. This module imports nothing of the project, so that every part may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a token begins: file as it was named, line and column from 1 (columns count characters)."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """file:line:column, the form that editors and terminals make clickable."""
        return f"{self.file}:{self.line}:{self.column}"


class ConfigError(Exception):
    """Something in the configuration that the operator has to change, or (as a warning) should look at.

    at       where the offending token begins; None when no place in a file can be blamed
    message  what is wrong, starting with the plugin's name when one is to blame
    got      the offending text, quoted after the message; None when the message already shows it
    hint     what to do about it; empty when the message says it all
    """

    def __init__(self, at: Position | None, message: str, *, got: str | None = None, hint: str = "") -> None:
        """Keep the place and the words apart; str() joins them."""
        self.at = at
        self.message = message if got is None else f"{message}: got {shown(got)}"
        self.hint = hint
        super().__init__(at, self.message, hint)

    def __str__(self) -> str:
        """Corefile:3:5: cache: TTL must be above 0 (hint)."""
        place = f"{self.at}: " if self.at is not None else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{hint}"

    def __eq__(self, other: object) -> bool:
        """Equal when place, message and hint are: a note that is made twice is one note."""
        return isinstance(other, ConfigError) and self.args == other.args

    def __hash__(self) -> int:
        """Agrees with __eq__."""
        return hash(self.args)


class ConfigErrors(Exception):  # noqa: N818 - several of them, not one error
    """Every ConfigError found in one go, in the order of their places and without repetitions. Never empty."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        """Sort by place: those without one first, then file, line and column."""
        unique = dict.fromkeys(errors)
        self.errors: tuple[ConfigError, ...] = tuple(sorted(unique, key=_place))
        if not self.errors:
            raise ValueError("ConfigErrors needs at least one error")
        super().__init__(self.errors)

    def __str__(self) -> str:
        """One error per line."""
        return "\n".join(str(error) for error in self.errors)


def with_reasons(errors: Iterable[ConfigError], notes: Iterable[ConfigError]) -> ConfigErrors:
    """All the errors, and those of the notes that were made at the very place of an error: they may be its reason."""
    found = list(errors)
    places = {error.at for error in found} - {None}
    return ConfigErrors([*found, *(note for note in notes if note.at in places)])


class Malformed(Exception):  # noqa: N818 - a word of the project
    """Bytes from a peer that break the protocol they claim to follow."""


class Unreachable(Exception):  # noqa: N818 - a word of the project
    """A peer that could not be asked, or did not answer in time."""


class Problems:
    """Gathers ConfigErrors so that a file's faults are reported together.

    Each `with problems.caught():` swallows the ConfigError or ConfigErrors of its body; `check()` raises all that
    were gathered, if any.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.errors: list[ConfigError] = []

    def add(self, error: ConfigError) -> None:
        """Note one error and go on."""
        self.errors.append(error)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note what the body raises, and go on after it."""
        try:
            yield
        except ConfigError as error:
            self.errors.append(error)
        except ConfigErrors as errors:
            self.errors.extend(errors.errors)

    def check(self) -> None:
        """Raise ConfigErrors if anything was noted."""
        if self.errors:
            raise ConfigErrors(self.errors)


def shown(text: str, limit: int = 60) -> str:
    """The text in double quotes, control characters escaped and the middle left out where longer than limit."""
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return '"' + plain.replace('"', '\\"') + '"'


def _place(error: ConfigError) -> tuple[str, int, int]:
    """The sort key of an error; no place sorts first."""
    return ("", 0, 0) if error.at is None else (error.at.file, error.at.line, error.at.column)
