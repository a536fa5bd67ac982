"""Processes that tests start: waited for until they answer, logged to a file, ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.02
TAIL_BYTES = 6000


@dataclass
class Process:
    """A running child of the test and the file that takes both of its outputs."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path
    ended: bool = field(default=False)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.child.pid

    def output(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The end of what it has written."""
        return self.output()[-TAIL_BYTES:]

    def wait(self, timeout_s: float = 10) -> int:
        """The exit status; negative for a signal. Raises subprocess.TimeoutExpired while it still runs."""
        return self.child.wait(timeout_s)


# Every process that runs now: conftest shows their logs when a test fails.
RUNNING: list[Process] = []


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    ready: Callable[[], bool],
    within_s: float = 10,
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """The process, from the moment ready() is true; it is ended with SIGTERM, after five seconds with SIGKILL.

    The kernel kills it should the test run itself be killed. Raises RuntimeError with the end of its log when it exits
    early or is not ready in time.
    """
    log = directory / f"{name}.log"
    guarded = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    with log.open("ab") as out:
        child = subprocess.Popen(
            guarded,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=directory,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    process = Process(name, child, log)
    RUNNING.append(process)
    try:
        wait_until(lambda: ready() or child.poll() is not None, within_s=within_s, what=f"{name} to be ready")
        if child.poll() is not None:
            raise RuntimeError(f"{name} ended with status {child.returncode}:\n{process.tail()}")
        yield process
    except TimeoutError as error:
        error.add_note(process.tail())
        raise
    finally:
        end(process)
        RUNNING.remove(process)


def end(process: Process) -> None:
    """Nothing; the process is gone afterwards."""
    process.ended = True
    if process.child.poll() is None:
        process.child.terminate()
    try:
        process.child.wait(5)
    except subprocess.TimeoutExpired:
        process.child.kill()
        process.child.wait(5)


def session(leader: int) -> dict[int, str]:
    """The processes of the session that leader began, each with its state: "S", "R", "Z" ... (proc(5))."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found[int(stat.parent.name)] = fields[0]
    return found


def wait_until(true: Callable[[], bool], *, within_s: float = 5, what: str = "it to be true") -> None:
    """Nothing, as soon as true() is. Raises TimeoutError, which names what was waited for, after within_s."""
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {within_s} s for {what}")
        time.sleep(POLL_S)
