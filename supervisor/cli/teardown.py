"""`shardns teardown`: removes the interface and the rules that a shardns left behind, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from supervisor.cli import nodeflags
from supervisor.cli.gosyntax import FlagError, Given, parse
from supervisor.network import presence, reconcile
from supervisor.network.desired import Wishes, desired
from supervisor.network.report import Report

USAGE = """\
shardns teardown [flags]   remove the interface and the rules of a shardns (or node-cache) that had no time to do it

Without flags: the interface nodelocaldns, and every rule with node-cache's comments in iptables (legacy and nf_tables,
both families) and in the nftables table inet shardns. With -localip only the rules of these addresses and of -dns.port.
-interfacename, -setupinterface=false and -setupiptables=false mean what they mean to shardns, whose other flags are
allowed and ignored."""


def run(words: Sequence[str]) -> int:
    """Tear down; 0 when nothing of ours is left, also when nothing was there."""
    from supervisor.cli import flags

    try:
        given = parse(words[1:], flags.ALL)
        if given.wants_help:
            print(USAGE)
            return 0
        given.no_rest()
        wishes = nodeflags.wishes(given, nodeflags.local_ips(given), given.port("dns.port"))
    except FlagError as error:
        print(f"[FATAL] Error parsing flags - {error}, Exiting", file=sys.stderr)
        return 1
    report = tear_down(given, wishes)
    for what in report.removed:
        print(f"removed {what}")
    for note in report.notes:
        print(note)
    for problem in report.problems:
        print(f"error: {problem.what}: {problem.reason}{f' ({problem.hint})' if problem.hint else ''}", file=sys.stderr)
    if not report.removed and not report.problems:
        print("nothing of shardns is here")
    return 1 if report.problems else 0


def tear_down(given: Given, wishes: Wishes, clean: Callable[..., Report] = reconcile.clean) -> Report:
    """What was removed. clean: what removes."""
    wanted = desired(wishes)
    if wishes.sets_interface:  # also when -localip is not given, or is all loopback
        wanted = replace(wanted, interface=wishes.interface)
    report = clean(wanted, every_rule=wishes.sets_rules and not given.has("localip"))
    others = len(presence.signs(wishes.interface))
    if others:
        report.notes.append(f"{others} shardns run here and put back what they need: end them first")
    return report
