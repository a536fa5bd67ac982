"""The worker's thread that serves UDP: the C loop, which runs without the interpreter lock from start to end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from shardns.core import lib

# cffi's objects have no types.
Cdata = Any


class UdpThread:
    """Runs shd_serve_run."""

    def __init__(self, serve: Cdata, stop_fd: int, ended: Callable[[int], None]) -> None:
        """serve: a filled struct shd_serve. ended gets the errno that ended the loop (0: stop), in the thread."""
        self._serve = serve
        self._stop_fd = stop_fd
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="udp", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Let the loop answer what has arrived, then end. Returns at once."""
        os.eventfd_write(self._stop_fd, 1)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        error = lib.shd_serve_run(self._serve)
        self._ended(self._serve.error if error < 0 else 0)
