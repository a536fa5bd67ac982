"""Whether another shardns looks after the same interface: then its interface and rules must outlive us.

Each supervisor holds an abstract Unix socket under a name of its own. Such names belong to the network namespace, as
interface and rules do, and they end with their process, however that ends. So pods on the host network see each other,
and nothing is left behind by a kill.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PREFIX = "shardns/node/"


class Presence:
    """Our own sign. Raises OSError where there can be none."""

    def __init__(self, interface: str) -> None:
        """interface: what we look after."""
        self._interface = interface
        self._name = f"{_PREFIX}{interface}/{os.urandom(8).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self._name}")

    def others(self) -> int:
        """How many others there are."""
        return sum(name != self._name for name in signs(self._interface))

    def close(self) -> None:
        """Take the sign down."""
        self._socket.close()


def signs(interface: str, table: Path = Path("/proc/self/net/unix")) -> list[str]:
    """The names of all who look after interface in this network namespace."""
    names = [line.split()[-1].removeprefix("@") for line in table.read_text().splitlines()[1:] if "@" in line]
    return [name for name in names if name.startswith(f"{_PREFIX}{interface}/")]
