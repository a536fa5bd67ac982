"""Numbers for listeners and counter rows that never change as long as the supervisor lives.

Shared memory is addressed by these numbers, so a listener that goes and comes back finds its sockets and counts again.
A number is never given to anything else: its counters could not be told apart from the ones before.
"""

from __future__ import annotations

from shardns.errors import ConfigError, Position

MAX_LISTENERS = 64  # as layout.h has places for
MAX_ROWS = 1024


class Registry:
    """Remembers every listener and row that ever was."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], int] = {}
        self._rows: dict[tuple[str, str], int] = {}

    def listener(self, host: str, port: int, at: Position | None = None) -> int:
        """The number of a listener, 0 to 63. Raises ConfigError, blaming `at`, when there is none left."""
        index = self._listeners.setdefault((host, port), len(self._listeners))
        if index >= MAX_LISTENERS:
            raise _full(at, f"more than {MAX_LISTENERS} listen addresses")
        return index

    def row(self, server: str, zone: str, at: Position | None = None) -> int:
        """The number of a row, 0 to 1023. Raises ConfigError, blaming `at`, when there is none left."""
        index = self._rows.setdefault((server, zone), len(self._rows))
        if index >= MAX_ROWS:
            raise _full(at, f"more than {MAX_ROWS} pairs of listen address and zone")
        return index

    def copy(self) -> Registry:
        """A registry that begins with the same numbers."""
        other = Registry()
        other.adopt(self)
        return other

    def adopt(self, other: Registry) -> None:
        """Take over the numbers of a copy of this one."""
        self._listeners = dict(other._listeners)
        self._rows = dict(other._rows)


def _full(at: Position | None, what: str) -> ConfigError:
    """The error for running out of numbers."""
    return ConfigError(at, what, hint="those of earlier configurations count until the program restarts")
