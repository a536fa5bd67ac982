"""Running iptables and nft: their words in the C locale, and never for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

TIMEOUT_S = 10.0  # of one program; iptables itself gives up the wait for its lock after 5
_MISSING = 127  # as a shell says it


@dataclass(frozen=True, slots=True)
class Result:
    """What a program said."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def reason(self) -> str:
        """What went wrong in one line: the first that it wrote that is no warning of another kind.

        iptables-nft puts its name and a colon on a line of their own before what it says.
        """
        lines = [line.strip() for line in self.err.splitlines() if line.strip() and not line.startswith("# Warning")]
        if not lines:
            return f"exit code {self.code}"
        return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


# What runs a program: (its words, its standard input) -> what it said.
Run = Callable[[tuple[str, ...], str], Result]


def run(words: tuple[str, ...], text: str = "", timeout_s: float = TIMEOUT_S) -> Result:
    """What the program said; code 127 when there is no such program."""
    try:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
            env={**os.environ, "LC_ALL": "C", "PATH": _path()},
        )
    except FileNotFoundError:
        return Result(_MISSING, err=f"there is no program {words[0]} here")
    except subprocess.TimeoutExpired:
        return Result(1, err=f"{words[0]} did not end within {timeout_s:.0f} s")
    except OSError as error:
        return Result(1, err=f"{words[0]}: {error.strerror}")
    return Result(done.returncode, done.stdout, done.stderr)


def has(program: str) -> bool:
    """Whether there is such a program."""
    return shutil.which(program, path=_path()) is not None


def _path() -> str:
    """Where programs are looked for: on PATH, and where system programs are when a user's PATH leaves those out."""
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
