"""What every plugin's module is made of, and the tools to read a directive with.

A plugin module has NAME, FACETS, a frozen dataclass Config and setup(). setup() checks everything and raises
ConfigError at the offending token (ConfigErrors for several); it does no I/O but through the Scope. A Config's fields
end in _s where they are seconds. Two equal Configs mean the same behaviour: no position goes into one.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shardns import re2, units
from shardns.corefile import Directive, Token, zones_of
from shardns.dns import names
from shardns.errors import ConfigError, Problems

C = TypeVar("C")


class Facet(enum.Enum):
    """What may change an answer besides the question."""

    DO = "do"
    CD = "cd"
    FAMILY = "family"
    TRANSPORT = "transport"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen for HTTP. host is empty for all addresses; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """host:port, with brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plugin may know of the world around its block.

    zones       of the block, normalised
    read        text of a file; raises OSError, UnicodeError or ValueError
    interface   addresses of a network interface; None if there is none of that name
    own         the (host, port) pairs that this configuration listens on, host "" meaning all; empty while those are
                being found out, which only `bind` sees
    local       addresses of this host, as text; may be empty when not known
    warn        takes what the operator should look at
    """

    zones: tuple[str, ...]
    read: Callable[[str], str]
    interface: Callable[[str], Sequence[str] | None]
    own: Collection[tuple[str, int]]
    local: Collection[str]
    warn: Callable[[ConfigError], None]


class Plugin(Protocol):
    """A plugin's module."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """The word in the Corefile."""

    @property
    def FACETS(self) -> frozenset[Facet]:  # noqa: N802 - a constant of the module
        """What its answers depend on besides the question."""

    def setup(self, directives: Sequence[Directive], scope: Scope) -> object:
        """The Config for all directives of this name in one block (at least one)."""


Option = Callable[[C, Directive, Scope], C]


def once(plugin: str, directives: Sequence[Directive]) -> Directive:
    """The only directive. Raises ConfigError at the second (plugin.ErrOnce of CoreDNS)."""
    if len(directives) > 1:
        hint = f"the first is in line {directives[0].at.line}"
        raise ConfigError(directives[1].at, f"{plugin}: can be used only once per server block", hint=hint)
    return directives[0]


def each(directives: Sequence[Directive], make: Callable[[Directive], C]) -> tuple[C, ...]:
    """What make gives for each directive, in order. Raises ConfigErrors with the faults of all of them."""
    problems = Problems()
    made: list[C] = []
    for directive in directives:
        with problems.caught():
            made.append(make(directive))
    problems.check()
    return tuple(made)


def options(
    plugin: str,
    config: C,
    directive: Directive,
    scope: Scope,
    known: Mapping[str, Option[C]],
    *,
    refused: Collection[str] = (),
    repeatable: Collection[str] = (),
) -> C:
    """The config after each line of the directive's body was applied to it, in order.

    refused are options that CoreDNS has and this version has not. An option that is given again and is not repeatable
    gets a warning: as in CoreDNS the last one counts. Raises ConfigErrors with the faults of all lines.
    """
    problems = Problems()
    seen: set[str] = set()
    for line in directive.body:
        with problems.caught():
            option = known.get(line.name)
            if option is None:
                raise _unknown_option(plugin, line, known, refused)
            if line.body:
                raise ConfigError(line.body[0].at, f"{plugin}: {line.name} takes no braces")
            if line.name in seen and line.name not in repeatable:
                scope.warn(ConfigError(line.at, f"{plugin}: {line.name} is given again", hint="the last one counts"))
            seen.add(line.name)
            config = option(config, line, scope)
    problems.check()
    return config


def _unknown_option(plugin: str, line: Directive, known: Collection[str], refused: Collection[str]) -> ConfigError:
    """The error for an option that cannot be used."""
    if line.name in refused:
        return ConfigError(line.at, f"{plugin}: {line.name} is not in this version", hint="remove the line")
    return ConfigError(line.at, f"{plugin}: unknown option", got=line.name, hint=did_you_mean(line.name, known))


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A hint with the known words nearest to word, or with all of them if they are few; may be empty."""
    import difflib  # noqa: PLC0415 - for errors only

    near = difflib.get_close_matches(word.lower(), known, n=2, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known: {', '.join(sorted(known))}" if 0 < len(known) <= 16 else ""


def no_body(plugin: str, directive: Directive) -> None:
    """Raise ConfigError if the directive has anything in braces."""
    if directive.body:
        raise ConfigError(directive.body[0].at, f"{plugin}: takes no braces", got=directive.body[0].name)


def arguments(plugin: str, directive: Directive, least: int, most: int | None = None) -> tuple[Token, ...]:
    """The arguments if there are least to most of them (None: any number). Raises ConfigError."""
    what = plugin if directive.name == plugin else f"{plugin}: {directive.name}"
    args = directive.args
    if len(args) < least:
        message = f"{what} needs {_count(least)}, has {len(args)}"
        raise ConfigError(directive.at, message, hint=syntax(plugin, directive.name))
    if most is not None and len(args) > most:
        extra = args[most]
        message = f"{what} takes {_count(most) if most else 'no argument'}"
        raise ConfigError(extra.at, message, got=extra.text, hint=syntax(plugin, directive.name))
    return args


def syntax(plugin: str, word: str) -> str:
    """How a directive or option is written, from the head of the plugin's module; empty where it is but the word."""
    head = (sys.modules[f"shardns.plugins.{plugin}"].__doc__ or "").splitlines()
    found = next((line.strip() for line in head if line.split()[:1] == [word]), "")
    found = found.partition("  ")[0].removesuffix(" {")
    return "" if found == word else found


def _count(number: int) -> str:
    """How many arguments, in words."""
    return "1 argument" if number == 1 else f"{number} arguments"


def duration_s(plugin: str, what: str, token: Token, *, least_s: float = 0.0) -> float:
    """The token as seconds, least_s or more. Raises ConfigError."""
    try:
        seconds = units.duration_s(token.text)
    except ValueError as error:
        raise ConfigError(token.at, f"{plugin}: {what}: {error}") from error
    if seconds < least_s:
        wanted = "must not be negative" if least_s == 0 else f"must be at least {units.duration_text(least_s)}"
        raise ConfigError(token.at, f"{plugin}: {what} {wanted}", got=token.text)
    return seconds


def integer(plugin: str, what: str, token: Token, *, least: int = 0, most: int = 2**31 - 1) -> int:
    """The token as a number from least to most. Raises ConfigError."""
    try:
        value = units.integer(token.text)
    except ValueError as error:
        raise ConfigError(token.at, f"{plugin}: {what}: {error}") from error
    if value < least:
        wanted = "must not be negative" if least == 0 else f"must be at least {least}"
        raise ConfigError(token.at, f"{plugin}: {what} {wanted}", got=token.text)
    if value > most:
        raise ConfigError(token.at, f"{plugin}: {what} must be at most {most}", got=token.text)
    return value


def expression(plugin: str, token: Token, scope: Scope) -> None:
    """Check a regular expression. Raises ConfigError."""
    try:
        parsed = re2.parse(token.text)
    except ValueError as error:
        raise ConfigError(token.at, f"{plugin}: {error}", got=token.text) from error
    if parsed.is_risky:
        hint = "a repeat around a repeat is slow to fail: clients choose the names it is matched with"
        scope.warn(ConfigError(token.at, f"{plugin}: expression may take very long", got=token.text, hint=hint))


def warn_if_outside(plugin: str, token: Token, zones: Sequence[str], scope: Scope) -> None:
    """Warn if no name can be both in the block and below the zones that token stands for."""
    for zone in zones:
        for served in scope.zones:
            if names.is_subdomain(zone, served) or names.is_subdomain(served, zone):
                return
    hint = f"the block serves {', '.join(scope.zones)}"
    scope.warn(ConfigError(token.at, f"{plugin}: no query of this block is below", got=token.text, hint=hint))


def zones(plugin: str, tokens: Sequence[Token]) -> tuple[str, ...]:
    """The zones that the tokens stand for, each once. Raises ConfigErrors with all that are none."""
    problems = Problems()
    found: dict[str, None] = {}
    for token in tokens:
        try:
            found.update(dict.fromkeys(zones_of(token)))
        except ConfigError as error:
            problems.add(ConfigError(error.at, f"{plugin}: {error.message}", hint=error.hint))
    problems.check()
    return tuple(found)


def address(plugin: str, token: Token) -> Address:
    """The token as host:port; the host is an IP address, a host name or empty. Raises ConfigError."""
    host, colon, port = token.text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        hint = f"write {_with_port(token.text)}" if token.text else ""
        raise ConfigError(token.at, f"{plugin}: an address has the form host:port", got=token.text, hint=hint)
    if host.startswith("["):
        host = host[1:-1]
    if host and not _is_host(host):
        raise ConfigError(token.at, f"{plugin}: not a host", got=host)
    try:
        return Address(host, units.port(port, least=0))
    except ValueError as error:
        raise ConfigError(token.at, f"{plugin}: {error}") from error


def _with_port(text: str) -> str:
    """What a text that is no address with a port was probably meant to be."""
    if "://" in text:
        return text.partition("://")[2].rstrip("/")
    if is_ip(text) and ":" in text:
        return f"[{text}]:PORT"
    return f":{text}" if text.isdigit() else f"{text}:PORT"


def _is_host(text: str) -> bool:
    """True for an IP address and for what may be a host name (RFC 1123 s.2.1)."""
    if ":" in text:
        return is_ip(text)
    if not all(c.isascii() and (c.isalnum() or c in "-.") for c in text):
        return False
    try:
        names.to_wire(text)
    except ValueError:
        return False
    return True


def is_ip(text: str) -> bool:
    """True for an IPv4 or IPv6 address, the latter with or without %interface."""
    return names.ip_text(text) is not None
