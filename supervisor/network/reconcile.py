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
from supervisor.network.report import GRANT, NO_CAPABILITY, Report

_CAP_NET_ADMIN: Final = 12  # linux/capability.h


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
        rules = [rule for rule in wanted.rules if rule.address not in report.withheld]
        keeper = choice.made(cast("Backend", report.backend))
        report.include(keeper.ensure(rules))
        if not backend:
            report.notes += keeper.warnings(rules)
    return report


def remove_rules(wanted: Desired, backend: str) -> Report:
    """The rules wanted until now are gone from backend afterwards."""
    return choice.made(cast("Backend", backend)).remove(frozenset(wanted.rules).__contains__)


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
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def _clear(is_ours: Callable[[Rule], bool], besides: str = "") -> Report:
    """No rules of ours are left afterwards in anything that is here, but for one backend."""
    report = Report()
    seen = choice.look()
    present = [name for name in BACKENDS if name in seen.programs]
    if {"iptables-legacy", "iptables-nft"} & set(present):
        present.remove("iptables")  # it is one of the two
    for name in present:
        if name != besides:
            report.include(choice.made(name).remove(is_ours))
    if besides != "nftables" and any(table == "shardns" for table, _ in seen.nft_chains):
        report.include(Nftables().remove(is_ours))
    return report


def _any(_rule: Rule) -> bool:
    """Ours, by its comment alone."""
    return True
