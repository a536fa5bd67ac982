"""bind: the addresses a block listens on. CoreDNS 1.13.2 plugin/bind/setup.go.

bind ADDRESS|INTERFACE... {
    except ADDRESS|INTERFACE...
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardns.corefile import Directive, Token
from shardns.dns import names
from shardns.errors import ConfigError, Problems
from shardns.plugins import api

NAME = "bind"
FACETS: frozenset[api.Facet] = frozenset()


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses in canonical form, each once, in the order of the file. Interfaces are resolved at load."""

    addresses: tuple[str, ...]  # CoreDNS default: all, which is a block without bind


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """All bind lines of a block added up. Raises ConfigErrors for what is neither address nor interface."""
    problems = Problems()
    found: dict[str, None] = {}
    for directive in directives:
        with problems.caught():
            args = api.arguments(NAME, directive, 1)
            excepted = api.options(NAME, frozenset[str](), directive, scope, {"except": _except}, repeatable={"except"})
            for address in _addresses(args, scope):
                if address in found:
                    scope.warn(ConfigError(directive.at, f"bind: {address} is given again", hint="once is enough"))
                elif address not in excepted:
                    found[address] = None
    problems.check()
    if not found:
        raise ConfigError(directives[0].at, "bind: except leaves no address")
    return Config(tuple(found))


def _except(excepted: frozenset[str], line: Directive, scope: api.Scope) -> frozenset[str]:
    """The addresses not to listen on, with those of one more line."""
    return excepted.union(_addresses(api.arguments(NAME, line, 1), scope))


def _addresses(tokens: Sequence[Token], scope: api.Scope) -> list[str]:
    """The addresses that are named, and those of the interfaces that are. An interface's name goes first."""
    problems = Problems()
    found: list[str] = []
    for token in tokens:
        with problems.caught():
            of_interface = scope.interface(token.text)
            address = names.ip_text(token.text)
            if of_interface is not None:
                found += [names.ip_text(text) or text for text in of_interface]
                if not of_interface:
                    scope.warn(ConfigError(token.at, "bind: interface has no address", got=token.text))
            elif address is not None:
                found.append(address)
            else:
                raise ConfigError(token.at, "bind: neither an IP address nor an interface", got=token.text)
    problems.check()
    return found
