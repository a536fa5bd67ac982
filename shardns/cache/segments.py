"""Mapping a segment by its descriptor."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from shardns.core import ffi, lib

# cffi's objects have no types.
Cdata = Any


class Refused(Exception):  # noqa: N818 - a word of the project
    """A segment whose head is not ours: made for another layout, boot or size."""


def boot_id() -> bytes:
    """16 octets that differ for every boot of the machine: CLOCK_MONOTONIC times of another boot mean nothing."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""))


def mapped(fd: int, size: int, kind: str, *, writable: bool) -> Cdata:
    """The segment behind fd as a pointer of the C type kind; the mapping lives as long as the pointer.

    Raises OSError, also for a writable mapping of a descriptor that was opened read-only.
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    memory = mmap.mmap(fd, size, mmap.MAP_SHARED, protection)
    return ffi.from_buffer(kind, memory, require_writable=writable)


def file_memory(fd: int) -> Cdata:
    """A struct shd_reserve that has memory for the segment behind fd taken from its file system."""
    take = ffi.addressof(lib, "shd_reserve_file")
    return ffi.new("struct shd_reserve *", {"take": take, "context": ffi.cast("void *", fd)})


def untouched(size: int) -> mmap.mmap:
    """Zeroed memory of this process's own; a page of it exists only once it is used.

    For buffers that are as large as the largest message: cffi and bytearray would write all of theirs when made.
    """
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def new_untouched(kind: str) -> Cdata:
    """As ffi.new of the C pointer type kind, in untouched memory, which lives as long as the pointer."""
    memory = untouched(ffi.sizeof(ffi.typeof(kind).item))
    return ffi.from_buffer(kind, memory, require_writable=True)
