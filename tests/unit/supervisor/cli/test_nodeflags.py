"""The flags of interface and rules."""

from __future__ import annotations

import pytest

from supervisor.cli import flags, nodeflags
from supervisor.cli.gosyntax import FlagError, parse
from supervisor.network.desired import Wishes


def wishes(line):
    """What a command line asks for."""
    given = parse(line.split(), flags.ALL)
    return nodeflags.wishes(given, nodeflags.local_ips(given), 53)


def test_defaults_are_those_of_node_cache():
    """With -localip alone interface and rules are made, looked after every minute, and removed at the end."""
    assert wishes("-localip 169.254.20.10") == Wishes(
        local_ips=("169.254.20.10",),
        dns_port=53,
        health_port=8080,
        interface="nodelocaldns",
        sets_interface=True,
        sets_rules=True,
        netfilter="auto",
        sync_s=60.0,
        skips_teardown=False,
    )


def test_every_flag():
    """Each one has its effect."""
    line = "-setupinterface=false -setupiptables=false -interfacename dns0 -health-port 9254 --netfilter none"
    wanted = Wishes((), 53, 9254, "dns0", False, False, "none", 1.0, True)
    assert wishes(f"{line} -syncinterval 1ns -skipteardown") == wanted


@pytest.mark.parametrize(
    "text, seconds",
    [("60", 60), ("60ns", 60), ("1ns", 1), ("60s", 60), ("10s", 10), ("1m", 60), ("1h", 3600), ("1500ms", 1.5)],
)
def test_syncinterval(text, seconds):
    """node-cache's nanoseconds are seconds; everything else is what it says."""
    assert wishes(f"-syncinterval {text}").sync_s == seconds


@pytest.mark.parametrize(
    "line, words",
    [
        ("-syncinterval 0", "at least 1s"),
        ("-syncinterval 0ns", "at least 1s"),
        ("-syncinterval -5s", "at least 1s"),
        ("-syncinterval 10us", "at least 1s"),
        ("-syncinterval soon", "-syncinterval"),
        ("-health-port http", "-health-port"),
        ("-health-port 0", "-health-port"),
        ("-interfacename=", "-interfacename"),
        ("-interfacename fifteen-letters", ""),
        ("-interfacename sixteen-letters-", "15 characters"),
        ("-interfacename a/b", "-interfacename"),
        ("-interfacename ..", "-interfacename"),
        ("--netfilter ipfw", "auto, iptables, nftables, none"),
    ],
)
def test_refused(line, words):
    """What cannot be meant is refused with what can."""
    if not words:
        assert wishes(line)
        return
    with pytest.raises(FlagError, match=words):
        wishes(line)
