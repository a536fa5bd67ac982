"""resolv.conf as `forward` reads it: behind systemd-resolved's stub stands a file with the nameservers that it asks.

The stub may ask us in turn, or be another network namespace's; so its file is taken where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shardns.corefile import files
from shardns.errors import ConfigError
from shardns.plugins.forward import RESOLVED_FILE, RESOLVED_STUBS


class Reader:
    """Reads files for one Plan, and remembers what it did."""

    def __init__(self, see: Callable[[str], None], real: str = "") -> None:
        """see is told of each file before it is read; real is the file that systemd-resolved writes."""
        self._see = see
        self._real = real or RESOLVED_FILE
        self.notes: list[ConfigError] = []

    def read(self, path: str) -> str:
        """The text of path, or of what it stands for. Raises OSError, UnicodeError or ValueError."""
        self._see(path)
        text = files.text(path)
        listed = nameservers(text)
        if not listed or not set(listed) <= set(RESOLVED_STUBS) or path == self._real:
            return text
        self._see(self._real)
        try:
            real = files.text(self._real) if Path(self._real).exists() else ""
        except (OSError, ValueError):
            real = ""
        if not set(nameservers(real)) - set(RESOLVED_STUBS):
            return text
        note = f"forward: {path} names systemd-resolved's stub {' '.join(listed)}; {self._real} is used instead"
        if not any(known.message == note for known in self.notes):
            self.notes.append(ConfigError(None, note))
        return real


def nameservers(text: str) -> tuple[str, ...]:
    """What the lines `nameserver ADDRESS` say, in order (resolv.conf(5))."""
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
