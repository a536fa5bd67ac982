"""cache: answers are kept. CoreDNS 1.13.2 plugin/cache/setup.go.

cache [TTL] [ZONES...] {
    success CAPACITY [TTL [MINTTL]]
    denial CAPACITY [TTL [MINTTL]]
    servfail DURATION
    prefetch AMOUNT [DURATION [PERCENTAGE%]]
    serve_stale [DURATION] [immediate | verify [TIMEOUT]]       (TIMEOUT: CoreDNS 1.14)
    disable success|denial [ZONES...]
    keepttl
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardns import units
from shardns.corefile import Directive, Token
from shardns.errors import ConfigError
from shardns.plugins import api

NAME = "cache"
FACETS: frozenset[api.Facet] = frozenset()

# CoreDNS says 10000, and rounds down to a multiple of its 256 shards.
DEFAULT_CAPACITY = 9984
# CoreDNS gives each of its 256 shards at least four entries.
LEAST_CAPACITY = 1024
MAX_SERVFAIL_S = 300.0  # RFC 2308 s.7.1
MAX_TTL_S = 2**31 - 1  # RFC 2181 s.8
MODES = ("immediate", "verify")
_REFUSED = ("serve_stale_policy",)  # of CoreDNS 1.14.7


@dataclass(frozen=True, slots=True)
class Store:
    """Limits of the positive or of the negative half."""

    capacity: int = DEFAULT_CAPACITY  # entries, at most; the table's byte budget may hold fewer
    ttl_s: int = 3600  # an answer is kept no longer
    min_ttl_s: int = 5  # and, unless ttl_s is below, no shorter; 0 is taken as 1
    disabled: tuple[str, ...] = ()  # zones whose names are not kept


@dataclass(frozen=True, slots=True)
class Config:
    """Everything about a block's entries. zones are the names that are cached at all."""

    zones: tuple[str, ...] = (".",)
    success: Store = Store()
    denial: Store = Store(ttl_s=1800)
    servfail_s: float = 5.0  # 0 keeps none; at most 300
    prefetch: int = 0  # hits that make a name worth fetching ahead; 0 is off
    prefetch_gap_s: float = 60.0  # longest gap between such hits
    prefetch_percent: int = 10  # of the TTL, left when the fetch begins; 10 to 90
    stale_s: float = 0.0  # how long past its end an entry may be served; 0 is off
    stale_verify: bool = False  # ask first, serve the stale entry only if that fails
    stale_timeout_s: float = 0.0  # with verify: how long to wait for the answer; 0 as long as it takes
    keep_ttl: bool = False  # hits show the TTL as it was stored

    @property
    def label(self) -> str:
        """The value of the metrics' label `zones`."""
        return ",".join(self.zones)


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only cache directive of a block."""
    directive = api.once(NAME, directives)
    args = directive.args
    config = Config(zones=scope.zones)
    if args and _is_number(args[0]):
        ttl_s = _ttl_s("TTL", args[0])
        config = replace(config, success=Store(ttl_s=ttl_s), denial=Store(ttl_s=ttl_s))
        args = args[1:]
    if args:
        config = replace(config, zones=api.zones(NAME, args))
        for token in args:
            _doubt(token, scope)
    return api.options(NAME, config, directive, scope, _OPTIONS, refused=_REFUSED, repeatable={"disable"})


def _is_number(token: Token) -> bool:
    """True for what is a TTL, legal or not, rather than a zone."""
    try:
        units.integer(token.text)
    except ValueError:
        return False
    return True


def _doubt(token: Token, scope: api.Scope) -> None:
    """Warn of a zone that keeps nothing: a TTL that is none, or a zone that the block does not serve."""
    if token.text[:1].isdigit() and "." not in token.text:
        hint = "a TTL is a number of seconds, without a unit"
        scope.warn(ConfigError(token.at, f"cache: {token.text} is taken for a zone", hint=hint))
    else:
        api.warn_if_outside(NAME, token, api.zones(NAME, [token]), scope)


def _ttl_s(what: str, token: Token) -> int:
    """A TTL of at least a second."""
    return api.integer(NAME, what, token, least=1, most=MAX_TTL_S)


def _success(config: Config, line: Directive, scope: api.Scope) -> Config:
    """success CAPACITY [TTL [MINTTL]]."""
    return replace(config, success=_store(config.success, line, scope))


def _denial(config: Config, line: Directive, scope: api.Scope) -> Config:
    """denial CAPACITY [TTL [MINTTL]]."""
    return replace(config, denial=_store(config.denial, line, scope))


def _store(store: Store, line: Directive, scope: api.Scope) -> Store:
    """The half with what its line says."""
    capacity, *ttls = api.arguments(NAME, line, 1, 3)
    entries = api.integer(NAME, f"{line.name} capacity", capacity)
    if entries < LEAST_CAPACITY:
        hint = f"{LEAST_CAPACITY} is the least, as in CoreDNS"
        scope.warn(ConfigError(capacity.at, f"cache: {line.name} capacity is too small", got=capacity.text, hint=hint))
    store = replace(store, capacity=max(entries, LEAST_CAPACITY))
    if ttls:
        store = replace(store, ttl_s=_ttl_s(f"{line.name} TTL", ttls[0]))
    if len(ttls) > 1:
        store = replace(store, min_ttl_s=api.integer(NAME, f"{line.name} MINTTL", ttls[1], most=MAX_TTL_S))
        if store.min_ttl_s > store.ttl_s:
            hint = f"every answer is kept for {store.ttl_s} s"
            scope.warn(ConfigError(ttls[1].at, f"cache: {line.name} MINTTL is above the TTL", hint=hint))
    return store


def _servfail(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """servfail DURATION."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    servfail_s = api.duration_s(NAME, "servfail", arg)
    if servfail_s > MAX_SERVFAIL_S:
        raise ConfigError(arg.at, "cache: servfail must be at most 5m", got=arg.text, hint="RFC 2308 section 7.1")
    return replace(config, servfail_s=servfail_s)


def _prefetch(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """prefetch AMOUNT [DURATION [PERCENTAGE%]]."""
    amount, *rest = api.arguments(NAME, line, 1, 3)
    config = replace(config, prefetch=api.integer(NAME, "prefetch amount", amount))
    if rest:
        gap_s = api.duration_s(NAME, "prefetch duration", rest[0], least_s=0.001)
        config = replace(config, prefetch_gap_s=gap_s)
    if len(rest) > 1:
        config = replace(config, prefetch_percent=_percent(rest[1]))
    return config


def _percent(token: Token) -> int:
    """A percentage from 10% to 90%, written with its sign."""
    if not token.text.endswith("%"):
        hint = f"{token.text}%"
        raise ConfigError(token.at, "cache: prefetch percentage must end in %", got=token.text, hint=hint)
    number = Token(token.text[:-1], token.at)
    return api.integer(NAME, "prefetch percentage", number, least=10, most=90)


def _serve_stale(config: Config, line: Directive, scope: api.Scope) -> Config:
    """serve_stale [DURATION] [immediate | verify [TIMEOUT]].

    DIFFERS: the mode may stand alone (CoreDNS wants the duration before it).
    """
    args = list(line.args)
    stale_s, verify, timeout_s = 3600.0, False, 0.0
    if args and args[0].text.lower() not in MODES:
        stale_s = api.duration_s(NAME, "serve_stale", args.pop(0))
    if args:
        mode = args.pop(0)
        if mode.text.lower() not in MODES:
            hint = api.did_you_mean(mode.text, MODES)
            raise ConfigError(mode.at, "cache: unknown mode of serve_stale", got=mode.text, hint=hint)
        verify = mode.text.lower() == "verify"
        if verify and args:
            timeout_s = api.duration_s(NAME, "serve_stale timeout", args.pop(0), least_s=0.001)
    if args:
        raise ConfigError(args[0].at, "cache: serve_stale takes no more than this", got=args[0].text)
    if stale_s == 0:
        scope.warn(ConfigError(line.at, "cache: serve_stale 0 is off", hint="remove the line"))
    return replace(config, stale_s=stale_s, stale_verify=verify, stale_timeout_s=timeout_s)


def _disable(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """disable success|denial [ZONES...].

    DIFFERS: several lines for one half add up (CoreDNS forgets all but the last).
    """
    half, *tokens = api.arguments(NAME, line, 1)
    zones = api.zones(NAME, tokens) if tokens else (".",)
    if half.text == "success":
        return replace(config, success=_without(config.success, zones))
    if half.text == "denial":
        return replace(config, denial=_without(config.denial, zones))
    hint = api.did_you_mean(half.text, ("success", "denial"))
    raise ConfigError(half.at, "cache: disable needs success or denial", got=half.text, hint=hint)


def _without(store: Store, zones: tuple[str, ...]) -> Store:
    """The half with more zones that it does not keep."""
    return replace(store, disabled=tuple(dict.fromkeys((*store.disabled, *zones))))


def _keepttl(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """keepttl."""
    api.arguments(NAME, line, 0, 0)
    return replace(config, keep_ttl=True)


_OPTIONS = {
    "success": _success,
    "denial": _denial,
    "servfail": _servfail,
    "prefetch": _prefetch,
    "serve_stale": _serve_stale,
    "disable": _disable,
    "keepttl": _keepttl,
}
