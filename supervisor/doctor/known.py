"""What should be on this node: told by the shardns that runs, else by the flags given. Pure, but for from_flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shardns.errors import ConfigError, ConfigErrors, Malformed
from shardns.upstream import about
from supervisor import sources
from supervisor.cli import flags
from supervisor.cli.gosyntax import FlagError
from supervisor.network.desired import Desired, Wishes, desired
from supervisor.options import Options

Address = tuple[str, int]
# Why a running shardns does not tell: it gives no answer, we are not who may ask, or it is of another version.
Obstacle = Literal["silent", "forbidden", "foreign"]


@dataclass(frozen=True, slots=True)
class Target:
    """A nameserver that is asked. zone: of the block that asks it first."""

    host: str
    port: int
    zone: str
    by_udp: bool  # whether queries ever go to it so; by TCP they always may, for answers that were cut

    @property
    def label(self) -> str:
        """10.0.0.1:53."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, and whom it asks."""

    listeners: tuple[Address, ...] = ()  # a host of "" stands for all addresses
    zones: tuple[tuple[str, Address], ...] = ()  # each zone with the first address that it is served on
    targets: tuple[Target, ...] = ()
    http: tuple[tuple[str, str], ...] = ()  # ("health", "127.0.0.1:8080") ...


@dataclass(frozen=True, slots=True)
class Beat:
    """One worker. Silences in seconds since its two threads showed that they turn; None: not yet."""

    serve_silent_s: float | None
    loop_silent_s: float | None
    packets_received: int
    tcp_connections: int


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that checks measure by."""

    source: Literal["running", "flags", "nothing"] = "nothing"  # where it comes from
    served: Served = Served()
    options: Options = field(default_factory=lambda: Options(workers=1))
    is_running: bool = False  # somebody listens at the operator socket
    control: str = ""  # that socket
    pid: int = 0  # of the supervisor; 0: not known
    version: str = ""
    uptime_s: float = 0.0
    beats: tuple[Beat, ...] = ()
    upstream_silent_s: float | None = None
    trouble: str = ""  # why the one that runs could not be asked
    obstacle: Obstacle = "silent"  # of what kind that is
    config_errors: tuple[str, ...] = field(default=())  # of the Corefile that the flags name

    @property
    def wishes(self) -> Wishes:
        """Of interface and rules."""
        return self.options.node

    @property
    def desired(self) -> Desired:
        """What they come to."""
        return desired(self.options.node)


def from_about(facts: Mapping[str, Any], control: str, pid: int) -> Known:
    """What a running shardns says. Raises Malformed for what cannot be understood."""
    try:
        beats = tuple(beat(one) for one in facts["workers"])
        options = flags.read(facts["arguments"], auto_workers=lambda: len(beats)).options
        return Known(
            source="running",
            served=served(facts, options),
            options=options,
            is_running=True,
            control=control,
            pid=pid,
            version=str(facts["version"]),
            uptime_s=float(facts["uptime_s"]),
            beats=beats,
            upstream_silent_s=facts["upstream_silent_s"],
        )
    except FlagError as error:
        raise Malformed(f"its command line cannot be understood: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"what it says of itself cannot be understood: {error!r}") from error


def from_flags(options: Options) -> Known:
    """What a shardns with these options would serve."""
    try:
        plan = sources.CorefileSource(options, is_trial=True).load()
    except (ConfigError, ConfigErrors) as errors:
        return Known(source="flags", options=options, config_errors=tuple(map(str, sources.each(errors))))
    return Known(source="flags", served=served(about.served(plan), options), options=options)


def beat(fact: Mapping[str, Any]) -> Beat:
    """One worker of `about`. Raises KeyError."""
    return Beat(fact["serve_silent_s"], fact["loop_silent_s"], fact["packets_received"], fact["tcp_connections"])


def served(facts: Mapping[str, Any], options: Options) -> Served:
    """What `about` says is served. Raises KeyError, TypeError or ValueError."""
    zones: dict[str, Address] = {}
    targets: dict[Address, Target] = {}
    for block in facts["blocks"]:
        for zone in block["zones"]:
            if block["listeners"]:
                zones.setdefault(zone, _address(block["listeners"][0]))
        for stanza in block["forwards"]:
            for host, port in map(_address, stanza["targets"]):
                known = targets.get((host, port))
                by_udp = not stanza["force_tcp"] or (known is not None and known.by_udp)
                targets[host, port] = Target(host, port, known.zone if known else block["zones"][0], by_udp)
    http = [(name, str(address)) for name, addresses in facts["http"].items() for address in addresses]
    if options.metrics_address:
        http.append(("metrics", options.metrics_address))
    return Served(
        tuple(map(_address, facts["listeners"])),
        tuple(zones.items()),
        tuple(targets.values()),
        tuple(dict.fromkeys(http)),
    )


def _address(pair: Sequence[Any]) -> Address:
    """Host and port."""
    host, port = pair
    return str(host), int(port)
