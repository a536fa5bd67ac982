"""The parts of the examination, in the order in which an operator would go, and how they run: side by side, each in a
thread of its own, all bounded by one moment.

Looking is what takes time, so it is what runs side by side; judging is done in order as the facts arrive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from supervisor.doctor import check_host, check_node, check_serving, look_host, look_node, look_serving
from supervisor.doctor.findings import Finding, skip
from supervisor.doctor.known import Known

Facts = TypeVar("Facts")

LOOK_S: Final = 2.0  # for all parts together, as they run side by side
GRACE_S: Final = 1.0  # for a part that has used its time up to come to its end


@dataclass(frozen=True, slots=True)
class Part(Generic[Facts]):
    """A part: what sees, and what judges it."""

    look: Callable[[Known, float], Facts]  # the second argument: when it has to be done, time.monotonic()
    checks: tuple[tuple[str, Callable[[Known, Facts], Iterable[Finding] | Finding]], ...]


def _nothing(_known: Known, _until: float) -> None:
    """No facts are needed but those known."""


PARTS: Final[tuple[Part[Any], ...]] = (
    Part(_nothing, (("program", lambda known, _: check_serving.program(known)),)),
    Part(look_node.node, (("interface", check_node.interface), ("addresses", check_node.addresses))),
    Part(look_node.rules, (("rules", check_node.rules),)),
    Part(look_node.conntrack, (("conntrack", check_node.conntrack),)),
    Part(look_serving.sockets, (("sockets", check_serving.sockets),)),
    Part(look_serving.workers, (("workers", check_serving.workers),)),
    Part(look_serving.answers, (("answers", check_serving.answers),)),
    Part(look_serving.upstreams, (("upstreams", check_serving.upstreams),)),
    Part(look_serving.pages, (("http", check_serving.pages),)),
    Part(look_host.cluster, (("kube-proxy", check_host.kube_proxy), ("ebpf", check_host.ebpf))),
    Part(look_host.resolv_conf, (("resolv.conf", check_host.resolv_conf),)),
    Part(look_host.shm, (("shm", check_host.shm),)),
    Part(look_host.cgroup, (("cpu", check_host.cpu), ("memory", check_host.memory))),
    Part(look_host.kernel, (("kernel", check_host.kernel),)),
    Part(_nothing, (("version", lambda known, _: check_serving.version(known)),)),
)


def examine(known: Known, parts: Iterable[Part[Any]] = PARTS, look_s: float = LOOK_S) -> Iterator[Finding]:
    """The findings of every part, in order, as soon as they are there."""
    until = time.monotonic() + look_s
    for look, part in [(_Look(part, known, until), part) for part in parts]:
        yield from look.findings(known, part)


class _Look(Generic[Facts]):
    """A part that is being looked at."""

    def __init__(self, part: Part[Facts], known: Known, until: float) -> None:
        """Begin."""
        self._until = until
        self._facts: list[Facts] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(part, known), daemon=True)
        self._thread.start()

    def findings(self, known: Known, part: Part[Facts]) -> Iterator[Finding]:
        """Wait for the facts and judge them."""
        self._thread.join(max(0.0, self._until + GRACE_S - time.monotonic()))
        if self._error is not None:
            for name, _ in part.checks:
                yield skip(name, f"it cannot be looked at: {self._error}")
        elif not self._facts:
            for name, _ in part.checks:
                yield skip(name, "it could not be looked at in time", "try again when the node is less busy")
        else:
            for _, check in part.checks:
                found = check(known, self._facts[0])
                yield from (found,) if isinstance(found, Finding) else found

    def _run(self, part: Part[Facts], known: Known) -> None:
        """In the thread. What the node refuses us costs this part, not the others."""
        try:
            self._facts.append(part.look(known, self._until))
        except (OSError, NetlinkError) as error:
            self._error = error
