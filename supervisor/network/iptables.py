"""The rules through iptables, as node-cache has them: either program finds what the other has left.

We call the programs, as node-cache does, and not libiptc through python-iptables: node-cache writes `-j NOTRACK`, which
the kernel keeps with a flag of its own; python-iptables can write only what `-j CT --notrack` means. Then
`iptables -C ... -j NOTRACK` does not find the rule (measured with 1.8.9, legacy and nf_tables alike): a node-cache that
comes back would add its own beside ours, and never remove ours. libiptc also knows nothing of the nf_tables variant.

One look costs two programs per family (iptables-save of raw and filter, which takes no lock), not one for every rule;
what is missing goes in with one iptables-restore, all of a table or nothing.
"""

from __future__ import annotations

import ipaddress
import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from supervisor.network.commands import Result, Run, run
from supervisor.network.desired import Chain, End, Protocol, Rule, Table
from supervisor.network.report import GRANT, GRANT_RAW, ErrorType, Report

Variant = Literal["legacy", "nft", ""]  # "": whatever `iptables` is here
LOCK_S: Final = 5  # patience for the xtables lock, as node-cache has
TABLES: Final[tuple[Table, ...]] = get_args(Table)

_LOCKED = "holding the xtables lock"
_NO_MODULE: Final = "the kernel lacks a module: modprobe xt_CT xt_comment, or give --netfilter nftables"
_NO_TABLE: Final = (
    "the kernel lacks this table: modprobe iptable_raw iptable_filter ip6table_raw ip6table_filter, "
    "or give --netfilter nftables"
)
# What the programs say, and what an operator can do about it.
_HINTS: Final = (
    (_LOCKED, "another program changes rules for longer than that; tried again soon"),
    ("you must be root", GRANT),
    ("Operation not permitted", GRANT),
    ("lock file", "mount the host's /run/xtables.lock"),
    ("initialize", _NO_TABLE),
    ("NOTRACK", "the kernel or the image lacks the CT target: modprobe xt_CT, or give --netfilter nftables"),
    ("comment", "the kernel or the image lacks the comment match: modprobe xt_comment"),
    ("missing kernel module", _NO_MODULE),
    ("No chain/target/match", _NO_MODULE),
    ("RULE_", _NO_MODULE),
    ("restore: line ", _NO_MODULE),
    ("Incompatible with this kernel", "the kernel lacks nf_tables or xt_CT: modprobe nft_compat xt_CT"),
    ("no program", "install iptables, or give --netfilter nftables or none"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that is there, and the line by which iptables-save lists it."""

    rule: Rule
    line: str


class Iptables:
    """One variant of iptables and ip6tables."""

    def __init__(self, variant: Variant, run: Run = run) -> None:
        """run: what runs programs."""
        self._variant = variant
        self._run = run

    @property
    def name(self) -> str:
        """As logs have it: iptables-nft."""
        return f"iptables-{self._variant}" if self._variant else "iptables"

    def ensure(self, rules: Sequence[Rule]) -> Report:
        """Every rule is there afterwards, at the head of its chain if it was missing; or a problem says why not."""
        report = Report()
        for is_ipv6, group in itertools.groupby(sorted(rules, key=lambda rule: rule.is_ipv6), lambda r: r.is_ipv6):
            wanted = list(group)
            found = self._find(is_ipv6, report)
            if found is None:
                continue
            there = {one.rule for one in found}
            missing = [rule for rule in wanted if rule not in there]
            lines = [(rule.table, f"-I {rule.chain} {' '.join(map(_quoted, rule.arguments()))}") for rule in missing]
            if missing and self._restore(is_ipv6, lines, report):
                report.added += [f"{self._program(is_ipv6)}: {_counted(missing)}"]
        return report

    def remove(self, is_ours: Callable[[Rule], bool], *, families: Iterable[bool] = (False, True)) -> Report:
        """Every rule of ours is gone afterwards, duplicates too. is_ours: of a rule that has one of our comments."""
        report = Report()
        for is_ipv6 in families:
            found = [one for one in self._find(is_ipv6, report) or () if is_ours(one.rule)]
            lines = [(one.rule.table, one.line.replace("-A ", "-D ", 1)) for one in found]
            if found and self._restore(is_ipv6, lines, report):
                report.removed += [f"{self._program(is_ipv6)}: {_counted([one.rule for one in found])}"]
        return report

    def listed(self, report: Report) -> list[Rule]:
        """Every rule with our comments, each as often as it is there; report says what cannot be read."""
        return [one.rule for is_ipv6 in (False, True) for one in self._find(is_ipv6, report) or ()]

    def _find(self, is_ipv6: bool, report: Report) -> list[Found] | None:
        """The rules that have our comments; None when they cannot be read, which report says then."""
        found: list[Found] = []
        for table in TABLES:
            if self._variant == "legacy" and table not in legacy_tables(is_ipv6):
                continue  # reading a table makes it
            result = self._run((f"{self._program(is_ipv6)}-save", "-t", table), "")
            if result.code != 0:
                self._fail(is_ipv6, result, report)
                return None
            found += [Found(rule, line) for line in result.out.splitlines() if (rule := parse(line, table)) is not None]
        return found

    def _restore(self, is_ipv6: bool, lines: Iterable[tuple[Table, str]], report: Report) -> bool:
        """Whether the lines were obeyed, all of a table at once; report says it if not."""
        text = ""
        for table, group in itertools.groupby(sorted(lines, key=lambda line: line[0]), lambda line: line[0]):
            text += "\n".join([f"*{table}", *(line for _, line in group), "COMMIT", ""])
        result = self._run((f"{self._program(is_ipv6)}-restore", "--noflush", "-w", str(LOCK_S)), text)
        if result.code != 0:
            self._fail(is_ipv6, result, report)
        return result.code == 0

    def _program(self, is_ipv6: bool) -> str:
        """ip6tables-nft."""
        base = "ip6tables" if is_ipv6 else "iptables"
        return f"{base}-{self._variant}" if self._variant else base

    def _fail(self, is_ipv6: bool, result: Result, report: Report) -> None:
        """Note what a program has complained of."""
        error_type: ErrorType = "iptables_lock" if _LOCKED in result.err else "iptables"
        hint = next((hint for words, hint in _HINTS if words in result.err), "")
        if self._variant == "legacy" and hint == GRANT:
            hint = GRANT_RAW  # without CAP_NET_ADMIN nobody gets as far as this
        reason = next((line for line in result.err.splitlines() if _LOCKED in line), result.reason)
        report.fail(error_type, f"rules ({self._program(is_ipv6)})", reason, hint)


def parse(line: str, table: Table) -> Rule | None:
    """The rule that a line of iptables-save shows if it is one of our twelve, whatever address and port; else None.

    A rule that says `-j CT --notrack` counts: it does the same.
    """
    if "NodeLocal DNS Cache: " not in line or not line.startswith("-A "):
        return None
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    seen = dict(_options(words[2:]))
    is_notrack = seen.pop("-j", "") in ("NOTRACK", "CT") and table == "raw"
    seen.pop("--notrack", None)
    ends: list[End] = [end for end in get_args(End) if f"-{end}" in seen]
    if words[1] not in get_args(Chain) or len(ends) != 1 or seen.get("-p") not in get_args(Protocol):
        return None
    return _rule(words[1], seen, ends[0], table, is_notrack=is_notrack, line=line)


def _rule(chain: str, seen: dict[str, str], end: End, table: Table, *, is_notrack: bool, line: str) -> Rule | None:
    """The rule of these options, if nothing about it differs from what we would write."""
    try:
        network = ipaddress.ip_network(seen[f"-{end}"])
        port = int(seen[f"--{end}port"])
    except (KeyError, ValueError):
        return None
    chains = {name: name for name in get_args(Chain)}
    protocol: Protocol = "tcp" if seen["-p"] == "tcp" else "udp"
    rule = Rule(str(network.network_address), table, chains[chain], protocol, end, port)
    known = {"-p", f"-{end}", f"--{end}port", "--comment"}
    is_plain = seen.keys() == known and network.num_addresses == 1 and seen["--comment"] == rule.comment
    has_target = is_notrack if table == "raw" else "-j ACCEPT" in line
    return rule if is_plain and has_target else None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of a rule with their values; `-m` only loads what the others are made of."""
    at = 0
    while at < len(words):
        has_value = at + 1 < len(words) and not words[at + 1].startswith("-")
        if words[at] != "-m":
            yield words[at], words[at + 1] if has_value else ""
        at += 2 if has_value else 1


def legacy_tables(is_ipv6: bool, proc: Path = Path("/proc/net")) -> frozenset[str]:
    """The tables of the legacy variant that exist; none where the kernel has no such thing, or does not tell us."""
    try:
        return frozenset((proc / ("ip6_tables_names" if is_ipv6 else "ip_tables_names")).read_text().split())
    except OSError:
        return frozenset()


def _quoted(word: str) -> str:
    """A word for iptables-restore, which knows double quotes only."""
    return f'"{word}"' if " " in word else word


def _counted(rules: Sequence[Rule]) -> str:
    """12 rules for 169.254.20.10."""
    addresses = list(dict.fromkeys(rule.address for rule in rules))
    return f"{len(rules)} rule{'s' if len(rules) > 1 else ''} for {', '.join(addresses)}"
