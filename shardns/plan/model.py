"""The resolved configuration: what every process works from. Immutable; made by resolve(), never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardns.errors import ConfigError
from shardns.plugins.api import Address, Facet

DROPPED = "dropped"  # CoreDNS's word in the metrics' label `zone` for queries that no zone fits


@dataclass(frozen=True, slots=True)
class Listener:
    """A UDP and a TCP address to listen on for DNS."""

    index: int  # permanent over reloads, 0 to 63
    host: str  # IP address in canonical form; empty for all addresses, of both families
    port: int

    @property
    def label(self) -> str:
        """The metrics' label `server`: "dns://10.96.0.10:53", "dns://:53", "dns://[::1]:53"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of counters: the queries on one listener that fit one zone best, or (zone DROPPED) none."""

    index: int  # permanent over reloads, 0 to 1023
    server: str  # the listener's label
    zone: str
    listener: int  # index of the listener
    block: int | None  # index of the block that answers; None for the dropped ones


@dataclass(frozen=True, slots=True)
class Block:
    """A server block."""

    index: int  # its place in the Corefile, from 0
    zones: tuple[str, ...]  # normalised, each once, in the order of the file
    listeners: tuple[int, ...]  # indices; a zone may be served on some of them only, see Plan.rows
    plugins: Mapping[str, object]  # name to Config, in the order in which a query meets them
    cache_id: int  # 64 bits, never 0: equal as long as what decides the block's entries is equal
    facets: tuple[Facet, ...]  # what its entries vary by besides the question


@dataclass(frozen=True, slots=True)
class Reload:
    """When to look at the Corefile again."""

    interval_s: float
    jitter_s: float  # the whole span around the interval


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything. Blocks are in the order of the file; listeners and rows in the order of their indices."""

    blocks: tuple[Block, ...]
    listeners: tuple[Listener, ...]
    rows: tuple[Row, ...]
    digest: str  # SHA-512 of what the Corefile says, in hexadecimal; layout and comments do not count
    health: tuple[Address, ...]
    ready: tuple[Address, ...]
    prometheus: tuple[Address, ...]
    reload: Reload | None  # None: only on a signal
    lameduck_s: float
    warnings: tuple[ConfigError, ...]

    def listener(self, index: int) -> Listener:
        """The listener of that index. Raises KeyError."""
        for listener in self.listeners:
            if listener.index == index:
                return listener
        raise KeyError(index)

    def http(self) -> tuple[Address, ...]:
        """Every address that HTTP is served on, each once."""
        return tuple(dict.fromkeys((*self.health, *self.ready, *self.prometheus)))
