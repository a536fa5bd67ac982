"""Command line flags as Go's flag package reads them, since that is what node-cache's users have written down.

    -x value    -x=value    --x value    --x=value    -bool    -bool=false    --  ends the flags

A flag takes the next argument as its value even if that begins with a dash; a boolean takes none, so that
`-quiet false` is a flag and a positional argument. The last of several wins. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shardns import units

W = TypeVar("W", bound=str)

_TRUE = frozenset(["1", "t", "T", "true", "TRUE", "True"])  # Go strconv.ParseBool
_FALSE = frozenset(["0", "f", "F", "false", "FALSE", "False"])


class FlagError(Exception):
    """The command line is wrong: what is wrong, in Go's words where Go has some."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    default  what it is when it is not given; shown by --help
    meaning  one line for --help
    value    the word that stands for its value in --help; None: a boolean
    aliases  other names for the same flag
    """

    name: str
    default: str
    meaning: str
    value: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line said: the text of each flag by its first name, and what was no flag."""

    values: Mapping[str, str]
    rest: tuple[str, ...] = ()
    wants_help: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self.values

    def text(self, name: str) -> str:
        """Its value, or its default."""
        return self.values[name] if name in self.values else self.defaults[name]

    def truth(self, name: str) -> bool:
        """A boolean's value, or its default."""
        return self.text(name) == "true"

    def port(self, name: str) -> int:
        """A port number. Raises FlagError."""
        try:
            return units.port(self.text(name))
        except ValueError as error:
            raise FlagError(f"-{name}: {error}") from None

    def seconds(self, name: str, least_s: float) -> float:
        """A duration of at least least_s, as seconds. Raises FlagError."""
        text = self.text(name)
        try:
            seconds = units.duration_s(text)
        except ValueError as error:
            raise FlagError(f"-{name}: {error}") from None
        if seconds < least_s:
            raise FlagError(f'-{name} must be at least {units.duration_text(least_s)}, got "{text}"')
        return seconds

    def one_of(self, name: str, known: Sequence[W]) -> W:
        """The word of known that it is. Raises FlagError."""
        text = self.text(name)
        for word in known:
            if text == word:
                return word
        raise FlagError(f'-{name} must be one of {", ".join(known)}, got "{text}"')

    def no_rest(self) -> None:
        """Raise FlagError if there was anything but flags."""
        if self.rest:
            raise FlagError(f"extra command line arguments: [{' '.join(self.rest)}]")


def parse(arguments: Sequence[str], flags: Iterable[Flag]) -> Given:
    """What arguments say. Raises FlagError with Go's text at the first that cannot be read."""
    known = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
    defaults = {flag.name: flag.default for flag in known.values()}
    values: dict[str, str] = {}
    queue = list(arguments)
    while queue:
        if len(queue[0]) < len("-x") or not queue[0].startswith("-"):
            break
        argument = queue.pop(0)
        if argument == "--":
            break
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        flag = known.get(name)
        if flag is None:
            if name in ("help", "h"):
                return Given(values, wants_help=True, defaults=defaults)
            raise FlagError(f"flag provided but not defined: -{name}{_meant(name, known)}")
        if flag.value is None:
            values[flag.name] = _truth(name, text if equals else "true")
        elif equals:
            values[flag.name] = text
        elif queue:
            values[flag.name] = queue.pop(0)
        else:
            raise FlagError(f"flag needs an argument: -{name}")
    return Given(values, tuple(queue), defaults=defaults)


def _meant(name: str, known: Iterable[str]) -> str:
    """What to try instead of an unknown flag; empty where nothing is near."""
    import difflib  # for errors only

    near = difflib.get_close_matches(name.lower(), list(known), n=2, cutoff=0.7)
    return f" (did you mean {' or '.join(f'-{word}' for word in near)}?)" if near else ""


def _truth(name: str, text: str) -> str:
    """A boolean as "true" or "false"."""
    if text in _TRUE:
        return "true"
    if text in _FALSE:
        return "false"
    raise FlagError(f'invalid boolean value "{text}" for -{name}: parse error')
