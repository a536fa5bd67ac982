"""hosts: addresses and names from a file like /etc/hosts. CoreDNS 1.13.2 plugin/hosts/setup.go.

hosts [FILE [ZONES...]] {
    ADDRESS NAMES...
    ttl SECONDS
    no_reverse
    reload DURATION
    fallthrough [ZONES...]
}

The file is read by the upstream process, again whenever it has changed; what a Config holds is the Corefile's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shardns.corefile import Directive
from shardns.dns import codes, names
from shardns.dns.answer import Answer, Question, Refusal
from shardns.errors import ConfigError, Problems
from shardns.plugins import api
from shardns.plugins.hosts.table import Table, address_of, answer_from, is_within, pointers_from

NAME = "hosts"
FACETS: frozenset[api.Facet] = frozenset()

PATH = "/etc/hosts"
MAX_TTL_S = 65535
_CLASSES = (codes.Class.IN, codes.Class.ANY)
_OPTION_WORDS = ("ttl", "no_reverse", "reload", "fallthrough")


@dataclass(frozen=True, slots=True)
class Config:
    """Where names come from and how they are answered."""

    path: str = PATH  # absolute
    zones: tuple[str, ...] = (".",)  # names outside are neither read nor answered; default: those of the block
    inline: tuple[str, ...] = ()  # lines of the Corefile, in the file's own format
    ttl_s: int = 3600
    reverse: bool = True  # PTR records for the addresses; no_reverse clears it
    reload_s: float = 5.0  # between two looks at the file; 0: it is read at start only
    fallthrough: tuple[str, ...] = ()  # names below these go on when there is no such name; empty: none

    def table(self, lines: Sequence[str]) -> Table:
        """The table of these lines."""
        return Table(lines, self.zones, reverse=self.reverse)

    def answer(self, tables: Sequence[Table], question: Question) -> Answer | Refusal | None:
        """What the tables say (CoreDNS 1.13.2 plugin/hosts/hosts.go); None: the next plugin is to be asked."""
        if question.qclass not in _CLASSES:
            return None
        if question.qtype == codes.Type.PTR:
            # Reverse zones need not be in zones, and what is not found always goes on.
            return pointers_from(tables, question, self.ttl_s)
        if not is_within(question.name, self.zones):
            return None
        found = answer_from(tables, question, self.ttl_s)
        if found is None and not is_within(question.name, self.fallthrough):
            # There is no SOA to say NXDOMAIN with.
            return Refusal()
        return found


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only hosts directive of a block."""
    directive = api.once(NAME, directives)
    problems = Problems()
    config = Config(zones=scope.zones)
    if directive.args:
        path = str(Path(directive.args[0].text).absolute())
        _look(path, directive, scope)
        config = replace(config, path=path)
    if directive.args[1:]:
        with problems.caught():
            config = replace(config, zones=api.zones(NAME, directive.args[1:]))
    # A line that is no option is an entry; but none may follow fallthrough, as in CoreDNS.
    entries = [line for line in directive.body if line.name not in _OPTION_WORDS]
    with problems.caught():
        config = api.options(NAME, config, _without(directive, entries), scope, _OPTIONS)
    ends = [line.at.line for line in directive.body if line.name == "fallthrough"]
    for line in entries:
        with problems.caught():
            if ends and line.at.line > ends[0]:
                hint = "addresses stand in front of fallthrough"
                raise ConfigError(line.at, "hosts: unknown property", got=line.name, hint=hint)
            config = replace(config, inline=(*config.inline, _entry(line, config.zones, scope)))
    problems.check()
    return config


def _look(path: str, directive: Directive, scope: api.Scope) -> None:
    """Warn if the file cannot be read: it may come later. Raises ConfigError where we are not allowed to."""
    at = directive.args[0].at
    try:
        scope.read(path)
    except PermissionError as error:
        raise ConfigError(at, "hosts: unable to access the file", got=path, hint=str(error.strerror)) from error
    except FileNotFoundError:
        scope.warn(ConfigError(at, "hosts: file does not exist", got=path, hint="it is read when it comes"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        scope.warn(ConfigError(at, "hosts: file cannot be read now", got=path, hint=reason))


def _without(directive: Directive, lines: Sequence[Directive]) -> Directive:
    """The directive without these lines of its body."""
    return replace(directive, body=tuple(line for line in directive.body if line not in lines))


def _entry(line: Directive, zones: Sequence[str], scope: api.Scope) -> str:
    """A line of the body as a line of a hosts file; a warning where it, or a name in it, has no effect."""
    if line.body:
        raise ConfigError(line.body[0].at, "hosts: an entry takes no braces", got=line.name)
    if address_of(line.name) is None:
        hint = api.did_you_mean(line.name, _OPTION_WORDS)
        scope.warn(ConfigError(line.at, "hosts: neither an address nor an option: no effect", got=line.name, hint=hint))
    elif not line.args:
        scope.warn(ConfigError(line.at, "hosts: address without a name: no effect", got=line.name))
    else:
        for token in line.args:
            try:
                is_ours = is_within(names.normalize(token.text), zones)
            except ValueError as error:
                scope.warn(ConfigError(token.at, f"hosts: {error}: no effect", got=token.text))
                continue
            if not is_ours:
                hint = f"they are {', '.join(zones)}"
                scope.warn(ConfigError(token.at, "hosts: name is outside the zones", got=token.text, hint=hint))
    return " ".join((line.name, *(token.text for token in line.args)))


# ---- options


def _ttl(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """ttl SECONDS."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    return replace(config, ttl_s=api.integer(NAME, "ttl", arg, least=1, most=MAX_TTL_S))


def _no_reverse(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """no_reverse."""
    api.arguments(NAME, line, 0, 0)
    return replace(config, reverse=False)


def _reload(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """reload DURATION."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    return replace(config, reload_s=api.duration_s(NAME, "reload", arg))


def _fallthrough(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """fallthrough [ZONES...]."""
    return replace(config, fallthrough=api.zones(NAME, line.args) or (".",))


_OPTIONS: dict[str, api.Option[Config]] = {
    "ttl": _ttl,
    "no_reverse": _no_reverse,
    "reload": _reload,
    "fallthrough": _fallthrough,
}
