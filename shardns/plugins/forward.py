"""forward: queries are asked of other nameservers. CoreDNS 1.13.2 plugin/forward/setup.go.

forward FROM TO... {
    except ZONES...
    force_tcp
    prefer_udp
    expire DURATION
    max_age DURATION                    (CoreDNS 1.14)
    max_idle_conns NUMBER               (CoreDNS 1.14)
    max_fails NUMBER
    health_check DURATION [no_rec] [domain NAME]
    policy random|round_robin|sequential
    max_concurrent NUMBER
    failfast_all_unhealthy_upstreams
    max_connect_attempts NUMBER
}
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardns import units
from shardns.corefile import Directive, Token
from shardns.dns import names
from shardns.errors import ConfigError, Problems
from shardns.plugins import api

NAME = "forward"
FACETS = frozenset({api.Facet.DO, api.Facet.CD})

MAX_TARGETS = 15
POLICIES = ("random", "round_robin", "sequential")
RESOLVED_STUBS = ("127.0.0.53", "127.0.0.54")
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
RESOLVED_FILE = "/run/systemd/resolve/resolv.conf"
_MAX_COUNT = 2**32 - 1
# Options of CoreDNS up to 1.14.7 that this version does not have.
_REFUSED = (
    "tls",
    "tls_servername",
    "next",
    "next_on_nodata",
    "failover",
    "resolver",
    "read_timeout",
    "source_address",
    "doh_method",
)
_SCHEMES = ("tls", "https", "https3", "quic", "grpc", "unix")


@dataclass(frozen=True, slots=True)
class Target:
    """A nameserver to ask. host is an IP address, with %interface where it is link-local."""

    host: str
    port: int = 53

    @property
    def label(self) -> str:
        """host:port, with brackets around IPv6; the metrics' label `to`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Stanza:
    """One forward directive."""

    zones: tuple[str, ...]  # FROM; several only where it is an address range
    targets: tuple[Target, ...]  # 1 to 15
    excepted: tuple[str, ...] = ()
    force_tcp: bool = False  # ask by TCP always
    prefer_udp: bool = False  # ask by UDP also for TCP clients
    expire_s: float = 10.0  # an idle connection is closed after this time
    max_age_s: float = 0.0  # so is any connection after this; 0 leaves it to us
    max_idle_conns: int = 0  # accepted; queries share so few connections that there is nothing to limit
    max_fails: int = 2  # a target is down after more failed checks in a row; 0 is never
    health_check_s: float = 0.5  # between checks of a target that failed
    health_check_rd: bool = True  # RD in the check's query
    health_check_domain: str = "."
    policy: str = "random"
    max_concurrent: int = 0  # queries under way; 0 is any number
    failfast: bool = False  # with all targets down do not try one of them
    max_connect_attempts: int = 0  # per query; 0 is as many as time allows

    def takes(self, name: str) -> bool:
        """True if a query for the normalised name is ours (CoreDNS plugin/forward/forward.go match)."""
        if name in self.zones:
            return True
        if not any(names.is_subdomain(name, zone) for zone in self.zones):
            return False
        return not any(names.is_subdomain(name, zone) for zone in self.excepted)


@dataclass(frozen=True, slots=True)
class Config:
    """The forward directives of a block, in order; a query goes to the first that takes it."""

    stanzas: tuple[Stanza, ...]


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """All forward directives of a block."""
    return Config(api.each(directives, lambda directive: _stanza(directive, scope)))


def _stanza(directive: Directive, scope: api.Scope) -> Stanza:
    """One directive."""
    problems = Problems()
    api.arguments(NAME, directive, 2)
    zones: tuple[str, ...] = (".",)
    with problems.caught():
        zones = api.zones(NAME, directive.args[:1])
        api.warn_if_outside(NAME, directive.args[0], zones, scope)
    targets: tuple[Target, ...] = ()
    with problems.caught():
        targets = _targets(directive.args[1:], scope)
    stanza = Stanza(zones, targets)
    with problems.caught():
        stanza = api.options(NAME, stanza, directive, scope, _OPTIONS, refused=_REFUSED, repeatable={"except"})
        _check_together(stanza, directive, scope)
    problems.check()
    return stanza


def _check_together(stanza: Stanza, directive: Directive, scope: api.Scope) -> None:
    """Look at options that belong together."""
    if stanza.force_tcp and stanza.prefer_udp:
        scope.warn(ConfigError(directive.at, "forward: prefer_udp has no effect", hint="force_tcp is stronger"))
    for line in directive.body:
        if line.name == "max_idle_conns":
            hint = "queries share a few connections, so none are idle in numbers"
            scope.warn(ConfigError(line.at, "forward: max_idle_conns has no effect", hint=hint))
    if 0 < stanza.max_age_s < stanza.expire_s:
        at = next(line.at for line in directive.body if line.name == "max_age")
        raise ConfigError(at, "forward: max_age must not be less than expire")


# ---- TO


def _targets(tokens: Sequence[Token], scope: api.Scope) -> tuple[Target, ...]:
    """The nameservers that the tokens name, each once."""
    problems = Problems()
    found: dict[Target, None] = {}
    for token in tokens:
        with problems.caught():
            for target in _of_token(token, scope):
                if target in found:
                    scope.warn(ConfigError(token.at, f"forward: {target.label} is given again", hint="once is enough"))
                found[target] = None
                _check_target(target, token, scope)
    problems.check()
    if len(found) > MAX_TARGETS:
        raise ConfigError(tokens[-1].at, f"forward: {len(found)} nameservers, {MAX_TARGETS} is the limit")
    return tuple(found)


def _of_token(token: Token, scope: api.Scope) -> list[Target]:
    """The nameservers that one TO stands for: itself, or those of a file."""
    scheme, mark, text = token.text.rpartition("://")
    if mark and scheme in _SCHEMES:
        raise ConfigError(token.at, f"forward: {scheme}:// is not in this version", hint="use dns://")
    if mark and scheme != "dns":
        raise ConfigError(token.at, f"forward: unknown scheme {scheme}://", hint="use dns://")
    target = _target(text)
    if target is not None:
        return [target]
    if mark or not text:
        raise ConfigError(token.at, "forward: not an address", got=token.text)
    return _of_file(token, scope)


def _target(text: str) -> Target | None:
    """The nameserver of "IP", "IP:port" or "[IPv6]:port"; None for anything else."""
    host = names.ip_text(text.removeprefix("[").removesuffix("]") if text.endswith("]") else text)
    if host is not None:
        return Target(host)
    head, _, tail = text.rpartition(":")
    bracketed = head.startswith("[") and head.endswith("]")
    host = names.ip_text(head[1:-1] if bracketed else head)
    if host is None or (":" in host) != bracketed:
        return None
    try:
        return Target(host, units.port(tail))
    except ValueError:
        return None


def _of_file(token: Token, scope: api.Scope) -> list[Target]:
    """The nameservers of a file like resolv.conf; its search list and options do not matter."""
    try:
        text = scope.read(token.text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(token.at, "forward: neither an address nor a file", got=token.text, hint=reason) from error
    found: list[Target] = []
    for words in map(str.split, text.splitlines()):
        if len(words) > 1 and words[0] == "nameserver":
            host = names.ip_text(words[1])
            if host is None:
                raise ConfigError(token.at, f"forward: {token.text}: not a nameserver's address", got=words[1])
            found.append(Target(host))
    if not found:
        raise ConfigError(token.at, f"forward: {token.text} names no nameserver")
    return found


def _check_target(target: Target, token: Token, scope: api.Scope) -> None:
    """Refuse ourselves, warn of a stub that will ask us."""
    ours = {host for host, port in scope.own if port == target.port}
    is_stub = target.host in RESOLVED_STUBS
    # The stub's own socket is more specific than one of ours on all addresses, so it is not us who gets the query.
    if target.host in ours or (not is_stub and ours.intersection(_EVERYWHERE) and _is_local(target.host, scope)):
        hint = "queries would come back for ever"
        raise ConfigError(token.at, f"forward: {target.label} is an address of our own", got=token.text, hint=hint)
    if is_stub:
        hint = f"it may ask us in turn; use {RESOLVED_FILE}"
        scope.warn(ConfigError(token.at, f"forward: {target.label} is systemd-resolved's stub", hint=hint))


def _is_local(host: str, scope: api.Scope) -> bool:
    """True if a socket bound to all addresses gets what is sent to host."""
    return host in scope.local or host.startswith("127.") or host in {"::1", *_EVERYWHERE}


# ---- options


def _except(stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """except ZONES..."""
    more = api.zones(NAME, api.arguments(NAME, line, 1))
    return replace(stanza, excepted=tuple(dict.fromkeys((*stanza.excepted, *more))))


def _health_check(stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """health_check DURATION [no_rec] [domain NAME]."""
    first, *rest = api.arguments(NAME, line, 1)
    stanza = replace(stanza, health_check_s=api.duration_s(NAME, "health_check", first), health_check_domain=".")
    while rest:
        word = rest.pop(0)
        if word.text == "no_rec":
            stanza = replace(stanza, health_check_rd=False)
        elif word.text == "domain":
            if not rest:
                raise ConfigError(word.at, "forward: health_check domain needs a name")
            (name,) = api.zones(NAME, [rest.pop(0)])[:1]
            stanza = replace(stanza, health_check_domain=name)
        else:
            hint = api.did_you_mean(word.text, ("no_rec", "domain"))
            raise ConfigError(word.at, "forward: unknown option of health_check", got=word.text, hint=hint)
    return stanza


def _policy(stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """policy random|round_robin|sequential."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    if arg.text not in POLICIES:
        hint = api.did_you_mean(arg.text, POLICIES)
        raise ConfigError(arg.at, "forward: unknown policy", got=arg.text, hint=hint)
    return replace(stanza, policy=arg.text)


def _flag(field: str, stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """An option without argument."""
    api.arguments(NAME, line, 0, 0)
    return replace(stanza, **{field: True})  # type: ignore[arg-type]  # the table below names boolean fields only


def _duration(field: str, stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """An option with a duration."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    return replace(stanza, **{field: api.duration_s(NAME, line.name, arg)})  # type: ignore[arg-type]  # as above


def _number(field: str, stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """An option with a number."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    value = api.integer(NAME, line.name, arg, most=_MAX_COUNT)
    return replace(stanza, **{field: value})  # type: ignore[arg-type]  # as above


_OPTIONS: dict[str, api.Option[Stanza]] = {
    "except": _except,
    "force_tcp": functools.partial(_flag, "force_tcp"),
    "prefer_udp": functools.partial(_flag, "prefer_udp"),
    "expire": functools.partial(_duration, "expire_s"),
    "max_age": functools.partial(_duration, "max_age_s"),
    "max_idle_conns": functools.partial(_number, "max_idle_conns"),
    "max_fails": functools.partial(_number, "max_fails"),
    "health_check": _health_check,
    "policy": _policy,
    "max_concurrent": functools.partial(_number, "max_concurrent"),
    "failfast_all_unhealthy_upstreams": functools.partial(_flag, "failfast"),
    "max_connect_attempts": functools.partial(_number, "max_connect_attempts"),
}
