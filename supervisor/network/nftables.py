"""The rules through nft, in the table `inet shardns`: nobody else's chains are touched; a change is one transaction.

Only what skips conntrack is here. node-cache's accepts would do nothing: in nftables an accept ends the chain it is in,
and the packet goes on to the chains of every other table, whose drop counts. So a host firewall that drops what it does
not know must be told by its operator; `Base` finds such chains, and the log says what to add.

The table is shared by all shardns of a node: each adds what it misses and removes what is its own.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final  # Any: what nft prints is JSON of many forms

from supervisor.network.commands import Result, Run, run
from supervisor.network.desired import SKIP_CONNTRACK, Chain, End, Protocol, Rule
from supervisor.network.report import GRANT, Report

FAMILY: Final = "inet"
TABLE: Final = "shardns"
NAME: Final = "nftables"

_RAW_PRIORITY: Final = -300  # NF_IP_PRI_RAW: before conntrack
_CHAINS: Final[Mapping[Chain, str]] = {"PREROUTING": "prerouting", "OUTPUT": "output"}
_ITSELF: Final = {"table": {"family": FAMILY, "name": TABLE}}
_HINTS: Final = (
    ("Operation not permitted", GRANT),
    ("no program", "install nftables, or give --netfilter iptables or none"),
    ("No such file", "the kernel lacks a module: modprobe nf_tables nft_ct, or give --netfilter iptables"),
    ("not supported", "the kernel lacks a module: modprobe nf_tables nft_ct, or give --netfilter iptables"),
)
_UNCONDITIONAL: Final = {"counter", "log", "limit", "drop", "reject"}  # parts of a rule that any packet meets
_ABSENT: Final = "No such file or directory"


@dataclass(frozen=True, slots=True)
class Found:
    """A rule of our table and its number there."""

    rule: Rule
    chain: str
    handle: int


class Nftables:
    """The table `inet shardns`."""

    name = NAME

    def __init__(self, run: Run = run) -> None:
        """run: what runs programs."""
        self._run = run

    def ensure(self, rules: Sequence[Rule]) -> Report:
        """Every rule that skips conntrack is there afterwards; or a problem says why not."""
        report = Report()
        found = self._find(report)
        if found is None:
            return report
        wanted = [rule for rule in rules if rule.table == "raw"]
        there = {one.rule for one in found}
        missing = [rule for rule in wanted if rule not in there]
        if missing and self._obey([*_frame(), *(_add(rule) for rule in missing)], report):
            addresses = ", ".join(dict.fromkeys(rule.address for rule in missing))
            report.added.append(f"nft table {FAMILY} {TABLE}: {len(missing)} rules for {addresses}")
        return report

    def remove(self, is_ours: Callable[[Rule], bool]) -> Report:
        """Every rule of ours is gone afterwards, and the table too when nothing is left in it."""
        report = Report()
        found = self._find(report)
        if found is None or not self._exists:
            return report
        ours = [one for one in found if is_ours(one.rule)]
        if len(ours) == len(found):
            commands: list[object] = [{"add": _ITSELF}, {"delete": _ITSELF}]  # add: no error if it has gone just now
            what = f"nft table {FAMILY} {TABLE}"
        else:
            commands = [{"delete": {"rule": {**_place(one.chain), "handle": one.handle}}} for one in ours]
            what = f"nft table {FAMILY} {TABLE}: {len(ours)} rules"
        if commands and self._obey(commands, report):
            report.removed.append(what)
        return report

    def listed(self, report: Report) -> list[Rule]:
        """Every rule of our table, each as often as it is there; report says what cannot be read."""
        return [one.rule for one in self._find(report) or ()]

    def _find(self, report: Report) -> list[Found] | None:
        """The rules of our table; None when they cannot be read, which report says then."""
        result = self._run(("nft", "-j", "list", "table", FAMILY, TABLE), "")
        self._exists = result.code == 0
        if result.code != 0:
            if _ABSENT in result.err:
                return []
            self._fail(result, report)
            return None
        rules = [item["rule"] for item in _items(result) if "rule" in item]
        return [Found(rule, item["chain"], item["handle"]) for item in rules if (rule := parse(item)) is not None]

    def _obey(self, commands: Sequence[object], report: Report) -> bool:
        """Whether the commands were carried out, all or none; report says it if not."""
        result = self._run(("nft", "-j", "-f", "-"), json.dumps({"nftables": commands}))
        if result.code != 0:
            self._fail(result, report)
        return result.code == 0

    def warnings(self, rules: Sequence[Rule]) -> Iterator[str]:
        """What the operator of a firewall must allow, since we cannot, and what that firewall does not accept yet.

        Wherever our own rules are: the accepts of iptables do not count in other tables either. Those that iptables-nft
        has made are found in its chains.
        """
        accepts = [rule for rule in rules if rule.table == "filter"]
        for base in bases(_items(self._run(("nft", "-j", "list", "chains"), ""))):
            concerned = [rule for rule in accepts if rule.chain.lower() == base.hook and base.sees(rule)]
            if not concerned:
                continue
            items = _items(self._run(("nft", "-j", "list", "chain", *base.place), ""))
            concerned = [rule for rule in concerned if not base.accepts(rule, items)]
            if concerned and base.may_drop(items):
                yield (
                    f"nft chain {' '.join(base.place)} may drop DNS, and an accept in another table would not help; "
                    f"allow it: {' && '.join(base.allowances(concerned))}"
                )

    def _fail(self, result: Result, report: Report) -> None:
        """Note what nft has complained of. node-cache's one errortype for rules is iptables."""
        hint = next((hint for words, hint in _HINTS if words in result.err), "")
        report.fail("iptables", "rules (nft)", result.reason, hint)


def parse(item: Mapping[str, Any]) -> Rule | None:
    """The rule of ours that nft lists like this; None if it is another."""
    chains = {name: chain for chain, name in _CHAINS.items()}
    if item.get("comment") != SKIP_CONNTRACK or item["chain"] not in chains:
        return None
    try:
        address, port, verdict = item["expr"]
        field = address["match"]["left"]["payload"]["field"]
        protocol = port["match"]["left"]["payload"]["protocol"]
        end: End = "d" if field == "daddr" else "s"
        kind: Protocol = "tcp" if protocol == "tcp" else "udp"
        rule = Rule(
            str(address["match"]["right"]), "raw", chains[item["chain"]], kind, end, int(port["match"]["right"])
        )
    except (KeyError, TypeError, ValueError):
        return None
    return rule if expression(rule) == [address, port, verdict] else None


def expression(rule: Rule) -> list[object]:
    """The rule as nft lists it."""
    family = "ip6" if rule.is_ipv6 else "ip"
    return [
        _match(family, f"{rule.end}addr", rule.address),
        _match(rule.protocol, f"{rule.end}port", rule.port),
        {"notrack": None},
    ]


@dataclass(frozen=True, slots=True)
class Base:
    """A chain of another table that every packet to or from this host goes through."""

    family: str
    table: str
    chain: str
    hook: str
    drops_by_policy: bool

    @property
    def place(self) -> tuple[str, str, str]:
        """As nft's command line names it."""
        return self.family, self.table, self.chain

    def sees(self, rule: Rule) -> bool:
        """Whether the rule's packets come by."""
        return self.family in ("inet", "ip6" if rule.is_ipv6 else "ip")

    def may_drop(self, items: Sequence[Mapping[str, Any]]) -> bool:
        """Whether what reaches its end is lost. items: the chain as nft lists it; what it jumps to is not looked at."""
        ends = [item["rule"]["expr"] for item in items if "rule" in item]
        plain = [parts for parts in ends if all(part.keys() <= _UNCONDITIONAL for part in parts)]
        return self.drops_by_policy or any("drop" in part or "reject" in part for parts in plain for part in parts)

    def accepts(self, rule: Rule, items: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a rule of it names the address and accepts. items: as for may_drop."""
        found = [item["rule"]["expr"] for item in items if "rule" in item]
        return any({"accept": None} in parts and f'"{rule.address}"' in json.dumps(parts) for parts in found)

    def allowances(self, rules: Sequence[Rule]) -> Iterator[str]:
        """The commands that let the rules' packets through.

        A chain that iptables-nft has made gets iptables' own: other rules in it would make iptables refuse the table.
        """
        if (self.table, self.chain) in (("filter", "INPUT"), ("filter", "OUTPUT")) and self.family != FAMILY:
            for rule in rules:
                yield shlex.join(("ip6tables" if rule.is_ipv6 else "iptables", "-I", rule.chain, *rule.arguments()))
            return
        for is_ipv6 in (False, True):
            few = [rule for rule in rules if rule.is_ipv6 == is_ipv6]
            if few:
                addresses = ", ".join(dict.fromkeys(rule.address for rule in few))
                match = f"{'ip6' if is_ipv6 else 'ip'} {few[0].end}addr {{ {addresses} }} meta l4proto {{ tcp, udp }}"
                yield f"nft insert rule {' '.join(self.place)} '{match} th {few[0].end}port {few[0].port} accept'"


def bases(items: Sequence[Mapping[str, Any]]) -> list[Base]:
    """Those among all chains as nft lists them."""
    chains = [item["chain"] for item in items if "chain" in item]
    return [
        Base(chain["family"], chain["table"], chain["name"], chain["hook"], chain.get("policy") == "drop")
        for chain in chains
        if chain.get("hook") in ("input", "output")
        and chain.get("type") == "filter"
        and chain["family"] in ("inet", "ip", "ip6")
        and (chain["family"], chain["table"]) != (FAMILY, TABLE)
    ]


def _frame() -> Iterator[object]:
    """The table and its chains, made unless they are there."""
    yield {"add": _ITSELF}
    for hook in _CHAINS.values():
        kind = {"type": "filter", "hook": hook, "prio": _RAW_PRIORITY, "policy": "accept"}
        yield {"add": {"chain": {"family": FAMILY, "table": TABLE, "name": hook, **kind}}}


def _add(rule: Rule) -> object:
    """The command that adds it."""
    return {"add": {"rule": {**_place(_CHAINS[rule.chain]), "comment": rule.comment, "expr": expression(rule)}}}


def _place(chain: str) -> dict[str, str]:
    """Where a rule stands."""
    return {"family": FAMILY, "table": TABLE, "chain": chain}


def _match(protocol: str, field: str, value: str | int) -> object:
    """A comparison of a header's field."""
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def _items(result: Result) -> list[Mapping[str, Any]]:
    """What nft has listed."""
    items: list[Mapping[str, Any]] = json.loads(result.out or '{"nftables": []}')["nftables"]
    return items
