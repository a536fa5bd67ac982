"""Sees the program: asks the one that runs, its workers, its nameservers and its pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from shardns.dns import codes
from shardns.errors import Malformed, Unreachable
from shardns.upstream.operator_client import OperatorClient, OperatorError
from supervisor.doctor import asking, known, procfs
from supervisor.doctor.asking import Query, Reply
from supervisor.doctor.check_serving import PROTOCOLS
from supervisor.doctor.facts import Answer, Asked, Page, Protocol, SocketSeen, WorkersSeen
from supervisor.doctor.known import Address, Beat, Known, Obstacle, Target

_PER_WORKER: Final = 12  # queries from as many ports: e**-12 that a worker gets none
_TRIES: Final = 4  # for one zone, from as many ports: a worker that is stuck is told of elsewhere
_QUERIES_MAX: Final = 256  # to one address by one protocol
_FORBIDDEN: Final = "may not operate"  # shardns/upstream/operator.py
_PATHS: Final = {"metrics": "/metrics", "health": "/health", "ready": "/ready"}


def running(control: str, timeout_s: float) -> Known:
    """What the shardns behind the operator socket says of itself; what is in its way is in `trouble`."""
    pid, is_there = 0, False
    obstacle: Obstacle = "foreign"
    try:
        with OperatorClient(control, timeout_s=timeout_s) as client:
            pid = procfs.supervisor_of(client.server_pid())
            is_there = True
            return known.from_about(client.about(), control, pid)
    except Unreachable as error:
        if not is_there:
            return Known(control=control, trouble=str(error))
        obstacle = "silent"
        reason = f"the upstream process does not answer ({str(error).removeprefix(f'{control}: ')})"
    except (OperatorError, Malformed) as error:
        reason = str(error).removeprefix(f"{control}: ")
        obstacle = "forbidden" if isinstance(error, OperatorError) and _FORBIDDEN in reason else obstacle
    return Known(is_running=True, control=control, pid=pid, trouble=reason, obstacle=obstacle)


def sockets(known: Known, _until: float) -> tuple[SocketSeen, ...]:
    """All that are bound to a port that DNS is served on."""
    return procfs.sockets(procfs.bound({port for _, port in known.served.listeners}), known.pid)


def workers(known: Known, until: float) -> WorkersSeen:
    """What the workers do with many queries."""
    if not known.is_running:
        return WorkersSeen()
    count = min(_QUERIES_MAX, _PER_WORKER * known.options.workers)
    places = [(host, port, protocol) for host, port in known.served.listeners for protocol in PROTOCOLS]
    queries = [
        Query(asking.reachable(host), port, protocol, asking.probe())
        for host, port, protocol in places
        for _ in range(count)
    ]
    replies = asking.ask(queries, until - 0.5)
    asked = tuple(_summed(place, replies[n * count : (n + 1) * count]) for n, place in enumerate(places))
    return WorkersSeen(asked, _beats(known, until), procfs.processes(known.pid) if known.pid else ())


def _summed(place: tuple[str, int, Protocol], replies: list[Reply]) -> Asked:
    """The replies of one address."""
    host, port, protocol = place
    answered = [reply for reply in replies if reply.wire]
    error = next((reply.error for reply in replies if not reply.wire), "")
    slowest_s = max((reply.took_s for reply in answered), default=0.0)
    return Asked(host, port, protocol, len(replies), len(answered), slowest_s, error)


def _beats(known: Known, until: float) -> tuple[Beat, ...]:
    """The workers' beats now; none where the upstream process does not say."""
    if known.source != "running":
        return ()
    try:
        with OperatorClient(known.control, timeout_s=max(0.05, until - time.monotonic())) as client:
            return tuple(_beat(one) for one in client.about()["workers"])
    except (OperatorError, Unreachable, Malformed, KeyError, TypeError):
        return ()


_beat = known.beat


def answers(known: Known, until: float) -> list[tuple[Address, Answer]]:
    """A question for each zone, to the first address that serves it."""
    if not known.is_running:
        return []
    queries = [
        Query(asking.reachable(host), port, "udp", asking.query(zone, codes.Type.SOA))
        for zone, (host, port) in known.served.zones
        for _ in range(_TRIES)
    ]
    replies = iter(asking.ask(queries, until))
    found: list[tuple[Address, Answer]] = []
    for zone, address in known.served.zones:
        tried = [next(replies) for _ in range(_TRIES)]
        found.append((address, _answer(zone, max(tried, key=lambda reply: bool(reply.wire)))))
    return found


def upstreams(known: Known, until: float) -> list[tuple[Target, Protocol, Answer]]:
    """A question to each nameserver by each protocol."""
    places = [(target, protocol) for target in known.served.targets for protocol in PROTOCOLS]
    queries = [
        Query(target.host, target.port, protocol, asking.query(target.zone, codes.Type.SOA))
        for target, protocol in places
    ]
    replies = asking.ask(queries, until)
    return [
        (target, protocol, _answer(target.zone, reply))
        for (target, protocol), reply in zip(places, replies, strict=True)
    ]


def _answer(name: str, reply: Reply) -> Answer:
    """A reply in words."""
    return Answer(name, "SOA", reply.rcode, reply.took_s, reply.error)


def pages(known: Known, until: float) -> list[tuple[str, str, Page]]:
    """Every page of metrics, health and readiness."""
    if not known.is_running:
        return []
    return list(_pages(known, until))


def _pages(known: Known, until: float) -> Iterator[tuple[str, str, Page]]:
    """As pages. Each has its share of the time: where one does not answer, the others are asked all the same."""
    owners = [_stranger(address, known.pid) for _, address in known.served.http]
    for left, ((name, address), owner) in enumerate(zip(known.served.http, owners, strict=True), -len(owners)):
        page = asking.get(address, _PATHS[name], (until - time.monotonic()) / -left)
        yield name, address, Page(page.status, page.body, owner)


def _stranger(address: str, pid: int) -> str:
    """Who listens at an HTTP address, if it is somebody else; empty if it is us, nobody, or not known."""
    host, _, port = address.rpartition(":")
    host = asking.reachable(host.removeprefix("[").removesuffix("]"))
    found = [one for one in procfs.bound({int(port)}) if one.protocol == "tcp"]
    there = [one for one in procfs.sockets(found, pid) if one.host == host] or procfs.sockets(found, pid)
    return next((one.owner for one in there if one.is_ours is False), "") if pid else ""
