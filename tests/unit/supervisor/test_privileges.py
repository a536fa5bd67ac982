"""Giving up privileges, each case in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from supervisor.privileges import NOBODY, Account, account, can_become

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")

REPORT = """
import sys
from supervisor import privileges
kept = privileges.drop({account})
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
names = ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")
print(kept, status["Uid"].split()[1], *(status[name] for name in names), sep=";")
"""


def drop(target: str, *prefix: str) -> list[str]:
    """What was returned for that target, and the status of the process that called it."""
    command = [*prefix, sys.executable, "-c", REPORT.replace("{account}", target)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(";")


@as_root
def test_root_becomes_nobody():
    """Uid 65534, no capability in any set, no_new_privs."""
    assert drop("privileges.Account(65534, 65534)") == ["()", "65534", *["0" * 16] * 3, "1"]


@as_root
def test_groups_are_gone():
    """Supplementary groups (root's, disk's) do not stay with the new user."""
    text = (
        "import os; from supervisor import privileges; privileges.drop(privileges.Account(7, 8)); print(os.getgroups())"
    )
    command = ["setpriv", "--groups=0,6", sys.executable, "-c", text]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout in ("[]\n", "[8]\n")


@as_root
def test_root_that_stays_root_has_no_power():
    """Without an account the uid stays, and every capability goes."""
    assert drop("None") == ["()", "0", *["0" * 16] * 3, "1"]


@as_root
def test_container_without_setuid():
    """Where the uid cannot be changed the capabilities go nevertheless, and what stays is told."""
    keep = "--bounding-set=-setuid,-setgid"
    kept, uid, effective, permitted, _, no_new = drop(
        "privileges.Account(65534, 65534)", "setpriv", keep, "--inh-caps=-all"
    )
    assert kept == "('uid 0',)"
    assert (uid, effective, permitted, no_new) == ("0", "0" * 16, "0" * 16, "1")


@as_root
def test_container_without_setpcap():
    """Where the bounding set cannot be emptied it is told; no_new_privs makes it useless."""
    kept, uid, effective, permitted, bounding, no_new = drop(
        "privileges.Account(65534, 65534)", "setpriv", "--bounding-set=-setpcap", "--inh-caps=-all"
    )
    assert kept == "('bounding set',)"
    assert (uid, effective, permitted, no_new) == ("65534", "0" * 16, "0" * 16, "1")
    assert int(bounding, 16) != 0


@as_root
def test_not_root():
    """Whoever is not root stays who he is."""
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    kept, uid, effective, *_, no_new = drop("None", *prefix)
    assert (uid, effective, no_new) == ("65534", "0" * 16, "1")
    assert kept == "('bounding set',)"


@pytest.mark.parametrize(
    "user, euid, wanted",
    [
        ("", 0, Account(NOBODY, NOBODY)),
        ("", 1000, None),
        ("12345", 0, Account(12345, 12345)),
        ("root", 0, None),
        ("0", 0, None),
        ("4711", 4711, None),
    ],
)
def test_account(user, euid, wanted):
    """Root's children are 65534 or who is named; others stay."""
    assert account(user, euid) == wanted


@pytest.mark.parametrize("user, euid", [("nobody-of-that-name", 0), ("root", 1000), ("12345", 1000)])
def test_account_refused(user, euid):
    """A name that nobody has, or another user without being root."""
    with pytest.raises(ValueError, match="user|root"):
        account(user, euid)


@pytest.mark.parametrize(
    "target, effective, wanted",
    [
        (None, "0000000000000000", True),
        (Account(65534, 65534), "00000000000000c0", True),
        (Account(65534, 65534), "0000000000000080", False),
        (Account(65534, 65534), "0000000000003000", False),
    ],
)
def test_can_become(target, effective, wanted):
    """Another user takes CAP_SETUID and CAP_SETGID; staying takes nothing."""
    assert can_become(target, f"Name:\tx\nCapEff:\t{effective}\n") is wanted


def test_child_dies_with_its_parent():
    """A process that asked for it is killed when its parent ends, also by SIGKILL."""
    text = """
import os, signal, sys
from supervisor import privileges
reader, writer = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    privileges.die_with(parent)
    os.write(writer, b"x")
    signal.pause()
os.read(reader, 1)
os.kill(parent, signal.SIGKILL)
"""
    # The child holds standard output open: communicate() returns when it is gone.
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as middle:
        middle.communicate(timeout=20)
        assert middle.returncode == -signal.SIGKILL
