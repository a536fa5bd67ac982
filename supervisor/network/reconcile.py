"""What a short-lived child does to the node: compare what should be there with what is, and act on the difference.

The heavy imports are made here, so that the supervisor and what it forks later never carry them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from supervisor.network import choice
from supervisor.network.choice import BACKENDS, Backend
from supervisor.network.desired import Desired, Netfilter, Rule
from supervisor.network.nftables import Nftables
from supervisor.network.report import GRANT, GRANT_RAW, NO_CAPABILITY, NO_RAW_SOCKET, Report

_CAP_NET_ADMIN: Final = 12  # linux/capability.h
_CAP_NET_RAW: Final = 13
_LEGACY: Final = "iptables-legacy"


def ensure(wanted: Desired, asked: Netfilter, backend: str = "") -> Report:
    """Everything wanted is there afterwards, or problems say what is not.

    asked    --netfilter
    backend  what an earlier look has chosen; empty: choose now, and clear what a predecessor may have left elsewhere
    """
    report = Report(backend=backend)
    if not can_set_up():
        if wanted.interface:
            report.fail("interface_add", f"interface {wanted.interface}", NO_CAPABILITY, GRANT)
        if wanted.rules:
            report.fail("iptables", "rules", NO_CAPABILITY, GRANT)
        return report
    if wanted.interface:
        from supervisor.network import link

        report.include(link.ensure(wanted.interface, wanted.addresses))
    if wanted.rules:
        if not backend:
            seen = choice.look()
            taken = choice.choose(asked, seen)
            report.backend, report.why = taken.backend, taken.why
            report.include(_clear(frozenset(wanted.rules).__contains__, besides=taken.backend))
        if not may_use(report.backend, report):
            return report
        rules = [rule for rule in wanted.rules if rule.address not in report.withheld]
        keeper = choice.made(cast("Backend", report.backend))
        if report.withheld:  # rules made while the address was ours would lead its packets to nobody
            report.include(keeper.remove(frozenset(wanted.rules).difference(rules).__contains__))
        report.include(keeper.ensure(rules))
        if not backend:
            report.notes += Nftables().warnings(rules)
    return report


def remove_rules(wanted: Desired, backend: str) -> Report:
    """The rules wanted until now are gone from backend afterwards."""
    report = Report()
    if may_use(backend, report):
        report.include(choice.made(cast("Backend", backend)).remove(frozenset(wanted.rules).__contains__))
    return report


def remove_interface(wanted: Desired) -> Report:
    """So is the interface."""
    from supervisor.network import link

    return link.remove(wanted.interface, wanted.addresses)


def clean(wanted: Desired, *, every_rule: bool) -> Report:
    """Everything of ours is gone afterwards, wherever it may be: for a supervisor that had no time to do it.

    every_rule  rules with our comments for any address, not only the wanted ones
    """
    report = Report()
    if not can_set_up():
        report.fail("iptables", "this node", NO_CAPABILITY, "run it as root, in the network of the node")
        return report
    if wanted.rules or every_rule:
        report.include(_clear(_any if every_rule else frozenset(wanted.rules).__contains__))
    if wanted.interface:
        report.include(remove_interface(wanted))
    return report


def can_set_up(status: Path = Path("/proc/self/status")) -> bool:
    """Whether we may change links and rules: CAP_NET_ADMIN is in effect."""
    return _has(_CAP_NET_ADMIN, status)


def can_open_raw(status: Path = Path("/proc/self/status")) -> bool:
    """Whether we may open raw sockets: CAP_NET_RAW is in effect."""
    return _has(_CAP_NET_RAW, status)


def may_use(backend: str, report: Report) -> bool:
    """Whether we may keep rules there; report says it if not. Legacy iptables reads and writes by a raw socket."""
    is_allowed = backend != _LEGACY or can_open_raw()
    if not is_allowed:
        report.fail("iptables", f"rules ({backend})", NO_RAW_SOCKET, GRANT_RAW)
    return is_allowed


def _has(capability: int, status: Path) -> bool:
    """Whether a capability is in effect."""
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _clear(is_ours: Callable[[Rule], bool], besides: str = "") -> Report:
    """No rules of ours are left afterwards in anything that is here, but for one backend."""
    report = Report()
    seen = choice.look()
    present = {name for name in BACKENDS if name in seen.programs} - {besides}
    if {_LEGACY, "iptables-nft"} & seen.programs:
        present.discard("iptables")  # it is one of the two
    if seen.is_legacy_hidden and besides and _LEGACY in present:
        present.discard(_LEGACY)
        report.notes.append("legacy iptables has tables here that we may not read: what is ours in them stays")
    for name in sorted(present):
        report.include(choice.made(name).remove(is_ours))
    if besides != "nftables" and any(table == "shardns" for table, _ in seen.nft_chains):
        report.include(Nftables().remove(is_ours))
    return report


def _any(_rule: Rule) -> bool:
    """Ours, by its comment alone."""
    return True
