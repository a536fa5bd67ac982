"""Giving up privileges, in a child that was just forked. What is given up cannot be had again.

Root in the supervisor becomes an unprivileged user; every capability goes from every set, the bounding set included;
no_new_privs makes that final through any exec. A container that grants too little for one of these steps (no
CAP_SETUID, no CAP_SETPCAP) does not stop the child: it gives up all that it can, and says what stayed.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from dataclasses import dataclass

NOBODY = 65534

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h: two words of 32 bits a set
_CAPABILITIES_MAX = 64
_CAP_SETGID = 6
_CAP_SETUID = 7

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """Who a child runs as."""

    uid: int
    gid: int


def account(user: str, euid: int) -> Account | None:
    """The account for a name or uid as --user gives it; None: stay who we are.

    Without a user, root's children are 65534, and others stay. Raises ValueError for a name that nobody has, and for a
    user who is not ourselves when we are not root.
    """
    if not user:
        return Account(NOBODY, NOBODY) if euid == 0 else None
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        wanted = Account(found.pw_uid, found.pw_gid)
    except KeyError:
        if not user.isdecimal():
            raise ValueError(f'no user is called "{user}" here; give a uid') from None
        wanted = Account(int(user), int(user))
    if euid not in (0, wanted.uid):
        raise ValueError(f"only root can run children as {user}; start as root or leave -user out")
    return wanted if wanted.uid != euid else None


def can_become(target: Account | None, status: str) -> bool:
    """Whether a process with this /proc/self/status may become target."""
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    needed = 1 << _CAP_SETGID | 1 << _CAP_SETUID
    return target is None or int(effective, 16) & needed == needed


def drop(target: Account | None) -> tuple[str, ...]:
    """Become target and give up every capability; what could not be given up, as words for a warning.

    Raises OSError when not even the capabilities in effect could be given up.
    """
    kept: list[str] = []
    if not _drop_bounding_set():
        kept.append("bounding set")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if target is not None:
        try:
            os.setgroups([])
            os.setresgid(target.gid, target.gid, target.gid)
            os.setresuid(target.uid, target.uid, target.uid)
        except PermissionError:
            kept.append(f"uid {os.getuid()}")
    _clear_capabilities()
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return tuple(kept)


def die_with(parent: int) -> None:
    """Be killed when parent ends. To be called after drop(): the kernel forgets this when the uid changes.

    Ends the process at once when parent is gone already.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


def _drop_bounding_set() -> bool:
    """Whether the bounding set is empty now; it takes CAP_SETPCAP to make it so."""
    for capability in range(_CAPABILITIES_MAX):
        has = _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)
        if has < 0:  # past the last that this kernel knows
            break
        if has and _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            return False
    return True


def _clear_capabilities() -> None:
    """Empty effective, permitted and inheritable set."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, sets))


def _check(result: int) -> None:
    """Raise OSError if a call of libc failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
