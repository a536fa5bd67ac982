"""What the rules are kept in on this node: whatever kube-proxy and kubelet use, so that all are seen by the same tools.

kubelet leaves an empty chain in the variant of iptables it uses (KUBE-IPTABLES-HINT, before 1.24 KUBE-KUBELET-CANARY,
in the table mangle), for exactly this purpose; kube-proxy in nftables mode has tables `kube-proxy`. Where neither is
found, legacy iptables is taken if it has rules, as iptables-wrapper does in node-cache's image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal, get_args

from supervisor.network import commands, iptables
from supervisor.network.commands import Run
from supervisor.network.desired import Netfilter
from supervisor.network.iptables import Iptables, Variant
from supervisor.network.nftables import Nftables

Backend = Literal["iptables-legacy", "iptables-nft", "iptables", "nftables"]
BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
HINTS: Final = frozenset(["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"])
_KUBE_PROXY: Final = "kube-proxy"
_IPTABLES: Final = frozenset(["iptables", "iptables-nft", "iptables-legacy"])


@dataclass(frozen=True, slots=True)
class Seen:
    """What is on the node."""

    programs: frozenset[str] = frozenset()  # of those we could use
    nft_chains: frozenset[tuple[str, str]] = frozenset()  # (table, chain) of every family; empty without nft
    legacy_chains: frozenset[str] = frozenset()  # of the table mangle
    legacy_rules: int = 0
    is_legacy_hidden: bool = False  # there are legacy tables, and we may not read them


@dataclass(frozen=True, slots=True)
class Choice:
    """What was taken, and why, in words for the log."""

    backend: Backend
    why: str


def look(run: Run = commands.run) -> Seen:
    """What is on this node now. Makes no table."""
    names = ("nft", "iptables", *(f"iptables-{variant}" for variant in ("legacy", "nft")))
    programs = frozenset(name for name in names if commands.has(name))
    chains: frozenset[tuple[str, str]] = frozenset()
    if "nft" in programs:
        result = run(("nft", "-j", "list", "chains"), "")
        listed = json.loads(result.out)["nftables"] if result.code == 0 else []
        chains = frozenset((item["chain"]["table"], item["chain"]["name"]) for item in listed if "chain" in item)
    saved = commands.Result(0)
    if "iptables-legacy" in programs and iptables.legacy_tables(is_ipv6=False):
        saved = run(("iptables-legacy-save",), "")
    lines = saved.out.splitlines()
    hints = frozenset(line[1:].split()[0] for line in lines if line.startswith(":KUBE-"))
    return Seen(programs, chains, hints, sum(line.startswith("-A") for line in lines), saved.code != 0)


def choose(asked: Netfilter, seen: Seen) -> Choice:
    """What to keep rules in. asked: anything but "none"."""
    if asked == "nftables":
        return Choice("nftables", "--netfilter says so")
    if asked == "auto" and any(table == _KUBE_PROXY for table, _ in seen.nft_chains):
        return Choice("nftables", "kube-proxy runs in nftables mode")
    if asked == "auto" and "nft" in seen.programs and not seen.programs & _IPTABLES:
        return Choice("nftables", "there is no iptables here")
    return _variant(seen, "--netfilter says so, and " if asked == "iptables" else "")


def _variant(seen: Seen, prefix: str) -> Choice:
    """Which iptables."""
    nft_hints = sorted(chain for table, chain in seen.nft_chains if chain in HINTS and table in ("mangle", "nat"))
    legacy_hints = sorted(seen.legacy_chains & HINTS)
    has_both = {"iptables-legacy", "iptables-nft"} <= seen.programs
    if not has_both:
        for name in BACKENDS:
            if name in seen.programs:
                return Choice(name, f"{prefix}it is the iptables that is here")
        return Choice("iptables", f"{prefix}kube-proxy does not run in nftables mode")
    if nft_hints:
        return Choice("iptables-nft", f"{prefix}Kubernetes has its chain {nft_hints[0]} there")
    if seen.is_legacy_hidden:
        return Choice("iptables-legacy", f"{prefix}it has tables here, which we may not read")
    if legacy_hints:
        return Choice("iptables-legacy", f"{prefix}Kubernetes has its chain {legacy_hints[0]} there")
    if seen.legacy_rules:
        return Choice("iptables-legacy", f"{prefix}Kubernetes has no chains here yet, and there are legacy rules")
    return Choice("iptables-nft", f"{prefix}Kubernetes has no chains here yet, and there are no legacy rules")


def made(backend: Backend, run: Run = commands.run) -> Iptables | Nftables:
    """What keeps rules there."""
    variants: dict[Backend, Variant] = {"iptables-legacy": "legacy", "iptables-nft": "nft", "iptables": ""}
    return Nftables(run) if backend == "nftables" else Iptables(variants[backend], run)
