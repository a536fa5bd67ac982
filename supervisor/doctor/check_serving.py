"""Judges the program itself: that it runs, its sockets, its workers, its nameservers and its pages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import shardns
from shardns import units
from shardns.upstream.endpoints import SILENT_S
from supervisor.doctor.facts import Answer, Asked, Page, ProcessSeen, Protocol, SocketSeen, WorkersSeen
from supervisor.doctor.findings import Finding, fail, ok, skip, warn
from supervisor.doctor.known import Address, Beat, Known, Target
from supervisor.sockets import WILDCARDS, shown

START: Final = (
    "start it: `shardns -localip 169.254.20.10` (as root, on a node), or the DaemonSet: `kubectl apply -k deploy/base`"
)
SLOW_S: Final = 0.5  # a nameserver in the same cluster answers within milliseconds
PROTOCOLS: Final[tuple[Protocol, ...]] = ("udp", "tcp")
_SURE: Final = 8  # queries per worker after which one that took none is no chance: e**-8
_REPLACED: Final = "it is replaced after --heartbeat-timeout (child.stuck in the log)"
_DEAD_STATES: Final = "ZX"
_NOT_SERVED: Final = ("REFUSED", "NOTAUTH", "SERVFAIL")


def program(known: Known) -> Iterator[Finding]:
    """Something runs and says what it serves."""
    for error in known.config_errors:
        yield fail("program", error, "correct it; `shardns check` shows what a Corefile means")
    if known.source == "running":
        pid = f", pid {known.pid}" if known.pid else ""
        yield ok("program", f"shardns {known.version}{pid}, up for {units.duration_text(int(known.uptime_s))}")
    elif known.is_running:
        yield _untold(known)
    elif known.trouble:
        yield fail("program", known.trouble, START)


def _untold(known: Known) -> Finding:
    """One that runs and does not tell what it serves."""
    text = f"{known.control}: {known.trouble}"
    if known.obstacle == "forbidden":
        return skip("program", text, "run it as root, or give the flags of that shardns here as well")
    if known.obstacle == "foreign":
        return warn("program", text, "another version runs: restart shardns (the pod), or use the program that runs")
    return fail("program", text, "its log says more; " + _REPLACED)


def sockets(known: Known, seen: Sequence[SocketSeen]) -> Iterator[Finding]:
    """At each listen address every worker has a socket of each protocol, and nobody else has one."""
    if not known.served.listeners:
        yield skip("sockets", "it is not known where DNS is to be served")
    for address in known.served.listeners:
        there = {protocol: [one for one in seen if _is_at(one, address, protocol)] for protocol in PROTOCOLS}
        if known.is_running:
            yield from _sockets(address, there, known.options.workers)
        else:
            yield _without_us(address, [one for found in there.values() for one in found])


def _is_at(one: SocketSeen, address: Address, protocol: Protocol) -> bool:
    """Whether it takes what is sent to the address (for a wildcard: to all addresses)."""
    host, port = address
    same = one.host in WILDCARDS if host in WILDCARDS else one.host == host
    return same and (one.protocol, one.port) == (protocol, port)


def _sockets(address: Address, there: dict[Protocol, list[SocketSeen]], workers: int) -> Iterator[Finding]:
    """One listen address of a running shardns."""
    where = shown(address)
    counts = [f"{len(found)} {protocol.upper()}" for protocol, found in there.items()]
    strangers = sorted({one.owner or "another program" for found in there.values() for one in found if not one.is_ours})
    if any(one.is_ours is None for found in there.values() for one in found):
        strangers, note = [], "; whose they are is seen by root only"
    else:
        note = " of ours"
    if strangers:
        text = f"{where}: {', '.join(strangers)} listens there too and takes a part of the queries"
        yield fail("sockets", text, "stop that program")
        return
    for protocol, found in there.items():
        if len(found) < workers:
            text = f"{where}: {len(found)} {protocol.upper()} sockets for {workers} workers"
            yield fail("sockets", text, "restart shardns; its log says what was not opened (listener.failed)")
            return
    yield ok("sockets", f"{where}: {' and '.join(counts)} sockets{note}, {workers} workers")


def _without_us(address: Address, there: Sequence[SocketSeen]) -> Finding:
    """A listen address that nobody of ours has."""
    if not there:
        return fail("sockets", f"{shown(address)}: nobody listens", START)
    owners = sorted({one.owner or "a program that only root may see" for one in there})
    return fail("sockets", f"{shown(address)}: {', '.join(owners)} listens", "stop it before shardns is started")


def workers(known: Known, seen: WorkersSeen) -> Iterator[Finding]:
    """Every worker turns and takes queries by UDP and TCP; every query is answered."""
    if not known.is_running:
        yield skip("workers", "nothing runs that could be asked")
        return
    titles = {process.title: process for process in seen.processes}
    for process in seen.processes:
        if process.state in "Tt":
            name, pid = process.title, process.pid
            remedy = f"kill -CONT {pid}, or kill -KILL {pid} to have a new one; left alone, {_REPLACED}"
            yield fail("workers", f"{name} (pid {pid}) is stopped, by a signal or a debugger", remedy)
        elif process.state in _DEAD_STATES:
            yield fail(
                "workers", f"{process.title} (pid {process.pid}) has ended", "it is started anew within a second"
            )
    if known.upstream_silent_s is not None and known.upstream_silent_s > SILENT_S:
        yield fail("workers", f"upstream: silent for {known.upstream_silent_s:.1f} s", _REPLACED)
    for number in range(known.options.workers):
        mine = titles.get(f"worker {number}")
        if mine is not None and mine.state in "Tt" + _DEAD_STATES:
            continue
        if mine is None and seen.processes:
            yield fail("workers", f"worker {number} does not run", "its log says why (child.exited)")
        elif number < len(seen.beats) and number < len(known.beats):
            yield _worker(number, mine, (known.beats[number], seen.beats[number]), seen.asked, known.options.workers)
    for asked in seen.asked:
        yield _answered(asked)


def _worker(
    number: int, process: ProcessSeen | None, beats: tuple[Beat, Beat], asked: Sequence[Asked], count: int
) -> Finding:
    """One worker: its beats, and what it has taken between the two."""
    name = f"worker {number}" + (f" (pid {process.pid})" if process else "")
    before, after = beats
    silent = {"its UDP loop": after.serve_silent_s, "its event loop": after.loop_silent_s}
    for part, silent_s in silent.items():
        if silent_s is None:
            return fail("workers", f"{name}: {part} has not started", "wait, or see its log")
        if silent_s > SILENT_S:
            return fail("workers", f"{name}: {part} is silent for {silent_s:.1f} s", _REPLACED)
    took = {
        "udp": after.packets_received - before.packets_received,
        "tcp": after.tcp_connections - before.tcp_connections,
    }
    for protocol, increase in took.items():
        sent = sum(one.sent for one in asked if one.protocol == protocol)
        if increase == 0 and sent >= _SURE * count:
            return fail("workers", f"{name}: took none of {sent} queries by {protocol.upper()}", _REPLACED)
    return ok("workers", f"{name}: took {took['udp']} queries by UDP and {took['tcp']} connections meanwhile")


def _answered(asked: Asked) -> Finding:
    """The queries to one address."""
    what = f"{shown((asked.host, asked.port))} by {asked.protocol.upper()}: {asked.answered} of {asked.sent} answered"
    if asked.answered == asked.sent:
        return ok("workers", f"{what}, the slowest after {_ms(asked.slowest_s)}")
    if not asked.answered:
        return fail("workers", f"{what}: {asked.error}", "see sockets and rules above; a firewall may drop them")
    return fail("workers", f"{what}: {asked.error}", "a worker does not answer: see the others of these lines")


def answers(known: Known, seen: Sequence[tuple[Address, Answer]]) -> Iterator[Finding]:
    """A question for each zone is answered, from cache or nameserver."""
    if not known.is_running:
        yield skip("answers", "nothing runs that could be asked")
    for address, answer in seen:
        what = f"{answer.name} {answer.qtype} at {shown(address)}"
        if not answer.rcode:
            yield fail("answers", f"{what}: {answer.error}", "see workers above and upstreams below")
        elif answer.rcode == "SERVFAIL":
            yield fail("answers", f"{what}: SERVFAIL", "see upstreams below, and [ERROR] lines in the log")
        else:
            yield ok("answers", f"{what}: {answer.rcode} after {_ms(answer.took_s)}")


def upstreams(known: Known, seen: Sequence[tuple[Target, Protocol, Answer]]) -> Iterator[Finding]:
    """Every nameserver answers by UDP and by TCP."""
    if not known.served.targets:
        yield skip("upstreams", "no nameserver is known")
    for target, protocol, answer in seen:
        yield _upstream(target, protocol, answer)


def _upstream(target: Target, protocol: Protocol, answer: Answer) -> Finding:
    """One nameserver by one protocol."""
    what = f"{target.label} by {protocol.upper()}"
    is_used = protocol == "tcp" or target.by_udp
    if not answer.rcode:
        note = "" if is_used else " (force_tcp: it is not asked so)"
        remedy = "is it there, and does a NetworkPolicy or firewall let this node in?"
        return (fail if is_used else warn)("upstreams", f"{what}: {answer.error}{note}", remedy)
    what = f"{what}: {answer.rcode} to {answer.name} {answer.qtype} after {_ms(answer.took_s)}"
    if answer.rcode in _NOT_SERVED:
        return warn("upstreams", what, "is it the right nameserver for this zone?")
    if answer.took_s > SLOW_S:
        return warn("upstreams", f"{what}, which is slow", "look at the load of this nameserver and of the network")
    return ok("upstreams", what)


def pages(known: Known, seen: Sequence[tuple[str, str, Page]]) -> Iterator[Finding]:
    """Metrics, health and readiness are served and say that all is well."""
    if not known.served.http:
        yield skip("http", "no metrics, health or ready address is known")
    elif not known.is_running:
        yield skip("http", "nothing runs that could be asked")
    for name, address, page in seen:
        what = f"{name} at {address}"
        if page.owner:
            yield fail("http", f"{what}: {page.owner} listens there", "stop it, or choose another port")
        elif page.status == 200:
            yield ok("http", f"{what}: 200")
        elif page.status:
            yield fail("http", f"{what}: {page.status} {', '.join(page.body.splitlines())}", "see workers above")
        else:
            yield fail("http", f"{what}: {page.body}", "is the port taken? the log says (listener.failed)")


def version(known: Known) -> Finding:
    """The one that runs is this program."""
    if not known.version:
        return skip("version", f"this program is {shardns.__version__}; which one runs is not known")
    if known.version != shardns.__version__:
        text = f"{known.version} runs, this program is {shardns.__version__}"
        return warn("version", text, "restart shardns (the pod) to have the new one run")
    return ok("version", f"{known.version} runs and is this program's")


def _ms(seconds: float) -> str:
    """3.1 ms."""
    return f"{seconds * 1000:.1f} ms"
