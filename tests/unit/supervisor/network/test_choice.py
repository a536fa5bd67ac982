"""What the rules are kept in follows kube-proxy and kubelet."""

from __future__ import annotations

import json

import pytest

from supervisor.network.choice import Seen, choose, look
from supervisor.network.commands import Result
from tests.unit.supervisor.network.fakes import Programs

ALL = frozenset(["nft", "iptables", "iptables-nft", "iptables-legacy"])
KUBE_PROXY = frozenset([("kube-proxy", "services")])
NFT_HINT = frozenset([("mangle", "KUBE-IPTABLES-HINT"), ("filter", "INPUT")])
OLD_NFT_HINT = frozenset([("mangle", "KUBE-KUBELET-CANARY")])
LEGACY_HINT = frozenset(["KUBE-IPTABLES-HINT", "KUBE-SERVICES"])


@pytest.mark.parametrize(
    "asked, seen, backend",
    [
        ("nftables", Seen(ALL), "nftables"),
        ("nftables", Seen(ALL, NFT_HINT), "nftables"),
        ("auto", Seen(ALL, KUBE_PROXY | NFT_HINT), "nftables"),
        ("auto", Seen(ALL, KUBE_PROXY, LEGACY_HINT), "nftables"),
        ("iptables", Seen(ALL, KUBE_PROXY), "iptables-nft"),
        ("iptables", Seen(ALL, KUBE_PROXY, LEGACY_HINT), "iptables-legacy"),
        ("auto", Seen(ALL, NFT_HINT), "iptables-nft"),
        ("auto", Seen(ALL, OLD_NFT_HINT), "iptables-nft"),
        ("auto", Seen(ALL, NFT_HINT, frozenset(), 9), "iptables-nft"),
        ("auto", Seen(ALL, frozenset(), LEGACY_HINT), "iptables-legacy"),
        ("auto", Seen(ALL, frozenset(), frozenset(), 9), "iptables-legacy"),
        ("auto", Seen(ALL), "iptables-nft"),
        ("auto", Seen(ALL, is_legacy_hidden=True), "iptables-legacy"),
        ("iptables", Seen(ALL, is_legacy_hidden=True), "iptables-legacy"),
        ("auto", Seen(ALL, NFT_HINT, is_legacy_hidden=True), "iptables-nft"),
        ("auto", Seen(frozenset(["nft"])), "nftables"),
        ("auto", Seen(frozenset(["iptables"])), "iptables"),
        ("auto", Seen(frozenset(["iptables", "iptables-legacy"])), "iptables-legacy"),
        ("auto", Seen(frozenset()), "iptables"),
        ("iptables", Seen(frozenset(["nft"])), "iptables"),
        ("auto", Seen(ALL, frozenset([("mine", "KUBE-IPTABLES-HINT")]), LEGACY_HINT), "iptables-legacy"),
    ],
)
def test_choice(asked, seen, backend):
    """kube-proxy's own tables first, then kubelet's hint, then what has rules; a flag is obeyed."""
    choice = choose(asked, seen)
    assert choice.backend == backend
    assert choice.why


def test_look(monkeypatch):
    """Chains of nftables are listed without their rules; legacy tables are read only where there are some.

    Where those may not be read, that is seen: they count as in use.
    """
    monkeypatch.setattr("supervisor.network.commands.has", ALL.__contains__)
    monkeypatch.setattr("supervisor.network.iptables.legacy_tables", lambda is_ipv6: frozenset(["mangle"]))
    chains = json.dumps({"nftables": [{"metainfo": {}}, {"chain": {"table": "mangle", "name": "KUBE-IPTABLES-HINT"}}]})
    saved = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"
    seen = look(Programs({"nft -j list chains": Result(0, chains), "iptables-legacy-save": Result(0, saved)}))
    assert seen == Seen(ALL, frozenset([("mangle", "KUBE-IPTABLES-HINT")]), frozenset(["KUBE-KUBELET-CANARY"]), 1)
    denied = Result(1, err="iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)")
    seen = look(Programs({"nft -j list chains": Result(1), "iptables-legacy-save": denied}))
    assert seen == Seen(ALL, is_legacy_hidden=True)
    monkeypatch.setattr("supervisor.network.iptables.legacy_tables", lambda is_ipv6: frozenset())
    programs = Programs({"nft": Result(1, err="Operation not permitted")})
    assert look(programs) == Seen(ALL)
    assert [line for line, _ in programs.asked] == ["nft -j list chains"]
