"""`shardns teardown`: what it is told to remove, and what it says."""

from __future__ import annotations

import pytest

from supervisor.cli import flags, nodeflags, teardown
from supervisor.cli.gosyntax import parse
from supervisor.network import reconcile
from supervisor.network.report import Report


def asked(line):
    """What clean() is asked for by a command line: interface, addresses, rules, every rule."""
    seen = []

    def clean(wanted, *, every_rule):
        seen.append((wanted.interface, wanted.addresses, len(wanted.rules), every_rule))
        return Report()

    given = parse(line.split(), flags.ALL)
    teardown.tear_down(given, nodeflags.wishes(given, nodeflags.local_ips(given), 53), clean)
    return seen[0]


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("", ("nodelocaldns", (), 0, True)),
        ("-interfacename dns0", ("dns0", (), 0, True)),
        ("-localip 169.254.20.10", ("nodelocaldns", ("169.254.20.10",), 12, False)),
        ("-localip 127.0.0.53", ("nodelocaldns", (), 12, False)),
        ("-setupinterface=false", ("", (), 0, True)),
        ("-setupiptables=false", ("nodelocaldns", (), 0, False)),
    ],
)
def test_what_is_removed(line, wanted):
    """Without -localip everything with our comments, with it only what its addresses have."""
    assert asked(line) == wanted


@pytest.mark.parametrize(
    "report, code, out, err",
    [
        (Report(), 0, "nothing of shardns is here\n", ""),
        (Report(removed=["interface x"], notes=["so"]), 0, "removed interface x\nso\n", ""),
    ],
)
def test_what_is_said(report, code, out, err, monkeypatch, capsys):
    """One line for each thing; nothing to do is no error."""
    monkeypatch.setattr("supervisor.cli.teardown.tear_down", lambda *_: report)
    assert teardown.run(["teardown"]) == code
    assert capsys.readouterr() == (out, err)


def test_what_cannot_be_done(monkeypatch, capsys):
    """Without the capability: why, and what to do; exit code 1."""
    monkeypatch.setattr(reconcile, "can_set_up", lambda: False)
    assert teardown.run(["teardown"]) == 1
    assert "error: this node: we have no CAP_NET_ADMIN (run it as root" in capsys.readouterr().err


@pytest.mark.parametrize("words, code", [(["-h"], 0), (["-nonsense"], 1), (["extra"], 1)])
def test_command_line(words, code, capsys):
    """Help is help; anything else that is not understood removes nothing."""
    assert teardown.run(["teardown", *words]) == code
    assert "teardown" in capsys.readouterr().out or code
