"""Message ids from the system's random source."""

from __future__ import annotations

import os
from collections.abc import Callable, Container

_DRAWN = 2048  # ids taken from the source at a time: one system call per that many queries


class Ids:
    """Ids as two bytes, in the form they have in the header, each unpredictable from those before."""

    __slots__ = ("_cursor", "_drawn", "_source")

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        """Draw from source, which returns that many random bytes."""
        self._source = source
        self._drawn = b""
        self._cursor = 0

    def take(self, used: Container[bytes], also_used: Container[bytes] = ()) -> bytes:
        """An id in neither container; they must hold far fewer than 65,536 together."""
        while True:
            cursor = self._cursor
            if cursor >= len(self._drawn):
                self._drawn = self._source(2 * _DRAWN)
                cursor = 0
            self._cursor = cursor + 2
            ident = self._drawn[cursor : cursor + 2]
            if ident not in used and ident not in also_used:
                return ident
