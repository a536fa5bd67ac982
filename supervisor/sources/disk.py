"""Files of the configuration: ConfigMaps as the kubelet mounts them, files written whole, and what has changed.

A ConfigMap's directory holds a link `..data` to a hidden directory of one version, and a link to `..data/KEY` for every
key. The kubelet writes a new version beside the old one and exchanges `..data`: whoever goes through it once sees one
version.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

from shardns.corefile import files

DATA = "..data"
_TRIES = 20  # for a version that goes away while it is read: there is another one by then
_MODE = 0o644

Stamp = tuple[int, ...]


def texts(directory: str) -> dict[str, str] | None:
    """Every visible file of a directory, all of one version; None if there is no such directory.

    Raises OSError, UnicodeError or ValueError for a file that cannot be read.
    """
    for _ in range(_TRIES):
        version = _version(directory)
        try:
            found = {path.name: files.text(str(path)) for path in _visible(Path(version))}
        except FileNotFoundError:
            if not Path(directory).exists():
                return None
        else:
            if version == _version(directory):  # else files may have gone before they were listed
                return found
    raise OSError(errno.EAGAIN, "it changes faster than it can be read", directory)


def _version(directory: str) -> str:
    """The directory that holds the files now."""
    data = Path(directory, DATA)
    return os.path.realpath(data if data.is_symlink() else directory)


def _visible(directory: Path) -> list[Path]:
    """Its files that are not hidden, sorted by name. Raises OSError."""
    return [path for path in sorted(directory.iterdir()) if not path.name.startswith(".") and path.is_file()]


def write(path: str, text: str) -> bool:
    """Make text the content of the file, at once or not at all; False if it was that already. Raises OSError."""
    target = Path(os.path.realpath(path))
    with contextlib.suppress(OSError, ValueError):
        if files.text(str(target)) == text:
            return False
    name = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as stream:  # noqa: PTH123 - it is a descriptor
            stream.write(text)
        name.chmod(_MODE)
        name.replace(target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    return True


class Watch:
    """What files and directories looked like when they were read, to see later whether they changed.

    By polling: a ConfigMap comes through links, mounts and file systems that not all tell of changes, and a look costs
    some stat calls. Files are told apart by device, inode, size and times, not by content.
    """

    def __init__(self) -> None:
        """Nothing is watched."""
        self._files: dict[str, Stamp] = {}
        self._directories: dict[str, tuple[frozenset[str], tuple[tuple[str, Stamp], ...]]] = {}

    def file(self, path: str) -> None:
        """Watch a file, there or not, as it is now. The first look counts."""
        if path not in self._files:
            self._files[path] = _stamp(path)

    def directory(self, path: str, but: Collection[str] = ()) -> None:
        """Watch the visible files of a directory, there or not, except those whose names are in `but`."""
        if path not in self._directories:
            self._directories[path] = (frozenset(but), _stamps(path, but))

    def has_changed(self) -> bool:
        """Whether any of it differs from what it was."""
        return any(_stamp(path) != seen for path, seen in self._files.items()) or any(
            _stamps(path, but) != seen for path, (but, seen) in self._directories.items()
        )


def _stamps(directory: str, but: Collection[str]) -> tuple[tuple[str, Stamp], ...]:
    """The names and stamps of a directory's files; empty for one that cannot be read.

    Those of node-cache's watch, which leaves out what is hidden: `..data` counts through what the other links lead to.
    """
    try:
        paths = _visible(Path(directory))
    except OSError:
        return ()
    return tuple((path.name, _stamp(str(path))) for path in paths if path.name not in but)


def _stamp(path: str) -> Stamp:
    """What tells one content of a file from another, links followed; the error's number where there is none."""
    try:
        seen = os.stat(path)  # noqa: PTH116 - a name may hold anything
    except (OSError, ValueError) as error:
        return (error.errno or 0,) if isinstance(error, OSError) else (0,)
    return (seen.st_dev, seen.st_ino, stat.S_IFMT(seen.st_mode), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
