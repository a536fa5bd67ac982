"""Files for imports. The one part of the package that touches the file system; parse() takes any other Reader."""

from __future__ import annotations

import errno
import glob
import stat
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024  # a Corefile is a ConfigMap, which ends at 1 MiB


def read(path: str) -> list[tuple[str, str]]:
    """The files that path names, or that match it if it holds a wildcard: (name, text), sorted by name.

    Raises OSError for a file that is missing, is not a regular file or cannot be read, UnicodeError if it is not UTF-8,
    ValueError if it is over 16 MiB. A pattern that matches nothing gives an empty list.
    """
    names = sorted(glob.glob(path)) if glob.has_magic(path) else [path]  # noqa: PTH207 - names stay as they were written
    return [(name, text(name)) for name in names]


def text(path: str) -> str:
    """The text of one file. Raises as read."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)  # a pipe would block, a device may never end
    with Path(path).open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    return content.decode("utf-8")
