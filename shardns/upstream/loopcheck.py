"""The `loop` plugin: finds out at start whether our own queries come back to us.

For each block with `loop` one HINFO query for a random name is sent to the block's own address, as any client would.
A query that goes round comes back while its flight is open and joins it: seen twice, it has looped. CoreDNS 1.13.2
plugin/loop counts to three because its probe may be repeated; ours has a new name for every attempt.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardns.dns import codes, message, names
from shardns.log import get_logger
from shardns.upstream.flights import Flight

ATTEMPT_S = 1.0
"""Between two probes (CoreDNS plugin/loop/setup.go)."""
LIMIT_S = 30.0
"""After which a probe without an answer is given up (likewise)."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Target:
    """A zone to be checked, and where to ask."""

    zone: str  # normalised
    host: str  # "" is every address
    port: int


class LoopCheck:
    """The probes of all blocks. `fatal` is called with the reason if one loops."""

    def __init__(self, targets: Sequence[Target], fatal: Callable[[str], None]) -> None:
        """Nothing is sent before `run`."""
        self._targets = targets
        self._fatal = fatal
        self._seen: dict[str, int] = {}
        self._zones: dict[str, Target] = {}

    def seen(self, flight: Flight) -> None:
        """An HINFO query came in, for a new flight or an open one."""
        name = flight.name.lower()
        if name not in self._seen:
            return
        self._seen[name] += 1
        if self._seen[name] > 1:
            target = self._zones[name]
            where = f"{target.host or '0.0.0.0'}:{target.port}"
            self._fatal(
                f'plugin/loop: Loop ({where} -> {where}) detected for zone "{target.zone}", '
                f'see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO {name}"'
            )

    async def run(self) -> None:
        """Probe every target until it answered or LIMIT_S is over."""
        await asyncio.gather(*(self._probe(target) for target in self._targets))
        self._seen.clear()

    async def _probe(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LIMIT_S
        host = target.host or "127.0.0.1"
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((host, target.port))
            while loop.time() < end:
                name = self._new_name(target)
                try:
                    probe.send(message.query(names.to_wire(name), codes.Type.HINFO, id=random.getrandbits(16)))
                    await asyncio.wait_for(loop.sock_recv(probe, 512), ATTEMPT_S)
                except TimeoutError:
                    continue
                except OSError as error:
                    log.warning("loop.probe_failed", zone=target.zone, error=str(error))
                    await asyncio.sleep(ATTEMPT_S)
                else:
                    return

    def _new_name(self, target: Target) -> str:
        """A random name under the target's zone that nobody else asks for."""
        name = f"{random.getrandbits(63)}.{random.getrandbits(63)}.{target.zone if target.zone != '.' else ''}"
        self._seen[name] = 0
        self._zones[name] = target
        return name
