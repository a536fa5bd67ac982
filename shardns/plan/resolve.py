"""Server blocks to a Plan, or to every reason why not. No I/O but through Options.

First all `bind`s are read, so that everything else can know what we listen on. Then each plugin of each block is set up
in the order of the one list; at the end indices are given out, from a copy of the registry that is adopted on success.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shardns.corefile import Directive, ServerBlock, ZoneKey, canonical, doubts_of, zone_keys
from shardns.errors import ConfigError, ConfigErrors, Problems, with_reasons
from shardns.imports import absent
from shardns.plan.checks import check_overlaps, unknown
from shardns.plan.model import DROPPED, Block, Listener, Plan, Reload, Row
from shardns.plan.registry import Registry
from shardns.plugins import api, bind, health, order, prometheus, ready, reload

with absent("_hashlib"):  # OpenSSL's; Python's own digests do
    import hashlib

C = TypeVar("C")

PLACEHOLDER = "__PILLAR__"


@dataclass(frozen=True, slots=True)
class Options:
    """What the Corefile does not say.

    read        text of a file (resolv.conf); raises OSError, UnicodeError or ValueError
    interface   addresses of a network interface; None if there is none of that name
    port        of keys that name none: -dns.port
    local       addresses of this host, to find out what comes back to us; may be empty
    notes       warnings from parsing, to be part of the Plan's
    """

    read: Callable[[str], str]
    interface: Callable[[str], Sequence[str] | None]
    port: int = 53
    local: Collection[str] = ()
    notes: Sequence[ConfigError] = ()


@dataclass(slots=True)
class _Draft:
    """A block while it is being resolved."""

    source: ServerBlock
    keys: list[ZoneKey] = field(default_factory=list)
    hosts: tuple[str, ...] = ("",)
    directives: dict[str, list[Directive]] = field(default_factory=dict)
    configs: dict[str, object] = field(default_factory=dict)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones, each once; the root where the keys could not be read, so that plugins can still be checked."""
        return tuple(dict.fromkeys(key.zone for key in self.keys)) or (".",)

    def endpoints(self) -> list[tuple[ZoneKey, str]]:
        """Every key with every host."""
        return [(key, host) for key in self.keys for host in self.hosts]


def resolve(blocks: Sequence[ServerBlock], options: Options, registry: Registry) -> Plan:
    """The Plan that the blocks describe. Raises ConfigErrors with everything that is wrong with them."""
    resolver = _Resolver(options)
    drafts = resolver.drafts(blocks)
    numbers = registry.copy()
    plan = resolver.plan(drafts, canonical(tuple(blocks)), numbers)
    registry.adopt(numbers)
    return plan


class _Resolver:
    """Gathers problems and warnings over all blocks."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.problems = Problems()
        self.warnings: list[ConfigError] = list(options.notes)

    def drafts(self, blocks: Sequence[ServerBlock]) -> list[_Draft]:
        """All blocks with their plugins set up. Raises ConfigErrors."""
        if not blocks:
            self.problems.add(
                ConfigError(None, "the Corefile has no server block", hint='". { forward . 192.0.2.53 }"')
            )
        drafts = [_Draft(block) for block in blocks]
        for draft in drafts:
            self._keys(draft)
            self._sort(draft)
            self._bind(draft)
        check_overlaps([endpoint for draft in drafts for endpoint in draft.endpoints()], self.problems)
        own = {(host, key.port) for draft in drafts for key, host in draft.endpoints()}
        for draft in drafts:
            self._set_up(draft, own)
        self._check_http(drafts, own)
        if self.problems.errors:
            raise with_reasons(self.problems.errors, self.options.notes)
        return drafts

    def _scope(self, draft: _Draft, own: Collection[tuple[str, int]]) -> api.Scope:
        """What the block's plugins see."""
        options = self.options
        warn = self.warnings.append
        return api.Scope(draft.zones, options.read, options.interface, own, options.local, warn)

    def _keys(self, draft: _Draft) -> None:
        """Read the block's keys."""
        for token in draft.source.keys:
            if PLACEHOLDER in token.text:
                hint = "replace it in the manifest"
                self.warnings.append(
                    ConfigError(token.at, "placeholder is taken for a zone", got=token.text, hint=hint)
                )
            with self.problems.caught():
                for key in zone_keys(token):
                    draft.keys.append(dataclasses.replace(key, port=key.port or self.options.port))
                self.warnings += doubts_of(token)

    def _sort(self, draft: _Draft) -> None:
        """Put the block's directives together by name; refuse words that name no built plugin."""
        for directive in draft.source.directives:
            if directive.name in order.BUILT_NAMES:
                draft.directives.setdefault(directive.name, []).append(directive)
            else:
                self.problems.add(unknown(directive))

    def _bind(self, draft: _Draft) -> None:
        """Find the block's listen addresses."""
        directives = draft.directives.get(bind.NAME)
        if directives:
            with self.problems.caught():
                config = bind.setup(directives, self._scope(draft, ()))
                draft.hosts = config.addresses
                draft.configs[bind.NAME] = config

    def _set_up(self, draft: _Draft, own: Collection[tuple[str, int]]) -> None:
        """Set up the block's plugins in the one order."""
        bound = draft.configs.pop(bind.NAME, None)
        for name in order.BUILT_NAMES:
            directives = draft.directives.get(name)
            if name == bind.NAME:
                draft.configs.update({} if bound is None else {name: bound})
            elif directives:
                with self.problems.caught():
                    draft.configs[name] = order.plugin(name).setup(directives, self._scope(draft, own))
        if not any(order.answers(name) for name in draft.directives):
            hint = "add forward, or every query gets an error"
            self.warnings.append(ConfigError(draft.source.at, "no plugin of this block answers queries", hint=hint))

    def _check_http(self, drafts: Sequence[_Draft], own: Collection[tuple[str, int]]) -> None:
        """Refuse HTTP where DNS listens by TCP. Several services on one address are well: their paths differ."""
        for draft in drafts:
            for name, config in draft.configs.items():
                if not isinstance(config, health.Config | ready.Config | prometheus.Config):
                    continue
                address = config.address
                if any(port == address.port != 0 and host in {"", address.host} for host, port in own):
                    at = draft.directives[name][0].at
                    message = f"{name}: {address} is an address that DNS is served on"
                    self.problems.add(ConfigError(at, message, hint="give it another port"))

    # ---- the Plan

    def plan(self, drafts: Sequence[_Draft], text: str, numbers: Registry) -> Plan:
        """Give out indices and put it all together. Raises ConfigErrors when there are none left."""
        listeners: dict[tuple[str, int], Listener] = {}
        rows: dict[int, Row] = {}
        blocks: list[Block] = []
        for index, draft in enumerate(drafts):
            with self.problems.caught():
                blocks.append(_block(index, draft, numbers, listeners, rows))
        for listener in listeners.values():
            with self.problems.caught():
                dropped = numbers.row(listener.label, DROPPED)
                rows[dropped] = Row(dropped, listener.label, DROPPED, listener.index, None)
        self.problems.check()
        health_configs = _configs(drafts, health.Config)
        return Plan(
            blocks=tuple(blocks),
            listeners=tuple(sorted(listeners.values(), key=lambda listener: listener.index)),
            rows=tuple(rows[index] for index in sorted(rows)),
            digest=hashlib.sha512(text.encode("utf-8", "surrogatepass")).hexdigest(),
            health=_addresses(health_configs),
            ready=_addresses(_configs(drafts, ready.Config)),
            prometheus=_addresses(_configs(drafts, prometheus.Config)),
            reload=self._reload(drafts),
            lameduck_s=max((config.lameduck_s for config in health_configs), default=0.0),
            warnings=_in_order(self.warnings),
        )

    def _reload(self, drafts: Sequence[_Draft]) -> Reload | None:
        """The times of the last block that has some (CoreDNS plugin/reload: one setting per process)."""
        found: reload.Config | None = None
        for draft in drafts:
            config = draft.configs.get(reload.NAME)
            if isinstance(config, reload.Config):
                if found is not None and config != found:
                    at = draft.directives[reload.NAME][0].at
                    hint = "there is one for the whole process: the last one counts"
                    self.warnings.append(ConfigError(at, "reload: differs from that of an earlier block", hint=hint))
                found = config
        return None if found is None else Reload(found.interval_s, found.jitter_s)


def _configs(drafts: Sequence[_Draft], kind: type[C]) -> list[C]:
    """All Configs of one plugin, in the order of the file."""
    return [config for draft in drafts for config in draft.configs.values() if isinstance(config, kind)]


def _addresses(configs: Sequence[health.Config | ready.Config | prometheus.Config]) -> tuple[api.Address, ...]:
    """Their addresses, each once: blocks that name the same one share it."""
    return tuple(dict.fromkeys(config.address for config in configs))


def _in_order(warnings: Sequence[ConfigError]) -> tuple[ConfigError, ...]:
    """The warnings sorted by place, each once."""
    return ConfigErrors(warnings).errors if warnings else ()


def _block(
    index: int,
    draft: _Draft,
    numbers: Registry,
    listeners: dict[tuple[str, int], Listener],
    rows: dict[int, Row],
) -> Block:
    """The finished block; its listeners and rows are added to those of the others."""
    used: dict[int, None] = {}
    for key, host in draft.endpoints():
        number = numbers.listener(host, key.port, key.token.at)
        listener = listeners.setdefault((host, key.port), Listener(number, host, key.port))
        row = numbers.row(listener.label, key.zone, key.token.at)
        rows[row] = Row(row, listener.label, key.zone, number, index)
        used[number] = None
    below = {name: config for name, config in draft.configs.items() if order.runs_on_a_miss(name)}
    facets = frozenset[api.Facet]().union(*(order.plugin(name).FACETS for name in below))
    return Block(
        index=index,
        zones=draft.zones,
        listeners=tuple(used),
        plugins=draft.configs,
        cache_id=cache_id(draft.zones, below),
        facets=tuple(facet for facet in api.Facet if facet in facets),
    )


def cache_id(zones: Sequence[str], below: Mapping[str, object]) -> int:
    """64 bits that name a block's entries: the same as long as zones, cache and all below it say the same.

    A block that keeps its id over a reload or a restart keeps its entries; two blocks with one id share them.
    """
    said = [list(zones), [[name, _plain(config)] for name, config in below.items()]]
    text = json.dumps(said, separators=(",", ":"), sort_keys=True)
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return number or 1


def _plain(config: object) -> object:
    """A Config as JSON's types."""
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) and not isinstance(config, type) else config
