"""Signals as bytes on a descriptor: a handler here does nothing, the kernel's number waits until the loop reads it."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGCHLD,
)
EARLY = (signal.SIGTERM, signal.SIGUSR1)  # worth keeping until there is somebody to act on them
IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE)


def hold() -> None:
    """Keep what comes before a SignalPipe is made.

    Without it a SIGUSR1 would end us while we start, and the kernel would drop a SIGTERM to PID 1 that has no handler.
    SIGINT is not held: somebody may have to interrupt us while we wait for standard input.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)


class SignalPipe:
    """What was received since the last look, in order."""

    def __init__(self) -> None:
        """Take over the process's signals."""
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before = {number: signal.signal(number, _nothing) for number in HANDLED}
        self._before |= {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader.fileno()

    def take(self) -> Iterator[signal.Signals]:
        """The signals received."""
        with contextlib.suppress(BlockingIOError):
            while octets := self._reader.recv(4096):
                for octet in octets:
                    yield signal.Signals(octet)

    def close(self) -> None:
        """Give the process's signals back."""
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()


def _nothing(_number: int, _frame: object) -> None:
    """The wakeup descriptor has the number already."""
