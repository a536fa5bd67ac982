"""Scenes on a /dev/shm of SHM_BYTES that others fill up: `python -m tests.unit.supervisor.small_shm SCENE`, in a mount
namespace in which that is all there is. Writing where there is no room would end the process with SIGBUS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from shardns.cache import file_memory
from shardns.core import ffi, lib
from supervisor import segments
from supervisor.segments import Segments, create

SHM_BYTES: Final = 6 * 1024 * 1024
SIZE: Final = 4 * 1024 * 1024  # of the table
ROOM: Final = 1024 * 1024  # what others leave of the table's
NAME: Final = "shardns-test-small"
MANY: Final = 40_000  # entries: more than fit
FILLER: Final = segments.SHM / "filler"

Cdata = Any  # cffi's objects have no types


class Writer:
    """The upstream process, as far as the table knows it."""

    def __init__(self, made: Segments) -> None:
        """Take over whatever is there."""
        self._table = made.table.mapped("struct shd_table_header *", writable=True)
        self._memory = ffi.new("uint64_t[]", lib.shd_writer_size(ffi.addressof(self._table, "geometry"), 0) // 8 + 1)
        self._writer = ffi.cast("struct shd_writer *", self._memory)
        self.found = lib.shd_writer_init(self._writer, self._table, ffi.NULL, 0, ffi.NULL, 0)
        lib.shd_writer_reserve(self._writer, file_memory(made.table.writable_fd))
        self._entry = ffi.new("struct shd_entry *")

    def store(self, number: int, now_s: int) -> None:
        """Store an entry; it is found at once."""
        head, key = self._entry.head, number.to_bytes(16, "big")
        head.key_len, head.wire_len, head.place_count, head.kind = len(key), 150, 0, lib.SHD_KIND_SUCCESS
        ffi.memmove(self._entry.key, key, len(key))
        digest = lib.shd_hash(self._table.seed, key, len(key))
        assert lib.shd_writer_store(self._writer, self._entry, digest, 0, now_s * 1000) == 0
        assert lib.shd_table_find(self._table, key, len(key), digest, self._entry, ffi.NULL) == 150

    def use(self) -> Cdata:
        """The struct shd_table_use; all rules are kept."""
        assert lib.shd_writer_check(self._writer) == 0
        ret = ffi.new("struct shd_table_use *")
        lib.shd_writer_use(self._writer, ret)
        return ret


def fill(but: int) -> None:
    """Others take all of /dev/shm but so many octets."""
    room = os.statvfs(segments.SHM)
    with FILLER.open("ab") as file:
        os.posix_fallocate(file.fileno(), file.tell(), room.f_bavail * room.f_frsize - but)


def filled_later() -> None:
    """A cache that finds no more room evicts, and grows when there is room; the next start finds it, full or not."""
    made = create(NAME, SIZE, 1)
    fill(ROOM)
    writer = Writer(made)
    for number in range(MANY):
        writer.store(number, 1)
    use = writer.use()
    assert use.refusals == 1
    assert use.pages_used == ROOM // lib.SHD_PAGE_SIZE
    assert use.entries < MANY / 5

    writer = Writer(made)  # after a kill
    assert writer.found == use.entries
    del writer  # its mappings hold the lock
    made.close()
    again = create(NAME, SIZE, 1)  # after a restart of everything
    assert not is_nameless(again)
    writer = Writer(again)
    assert writer.found == use.entries

    FILLER.unlink()
    for number in range(MANY):
        writer.store(number, 1)
    assert writer.use().pages_used == use.pages_total


def full_at_the_start() -> None:
    """Without room for all of it the cache gets no name, and no less than its size."""
    fill(ROOM)
    made = create(NAME, SIZE, 1)
    assert is_nameless(made)
    writer = Writer(made)
    for number in range(MANY):
        writer.store(number, 1)
    assert writer.use().refusals == 0


def filled_meanwhile() -> None:
    """When the room is gone between the look at it and the reservation, the table has no name either."""
    fill(4096)
    room = os.statvfs_result((4096, 4096, SIZE, SIZE, SIZE, 0, 0, 0, 0, 255))
    with patch("os.statvfs", return_value=room):
        made = create(NAME, SIZE, 1)
    assert is_nameless(made)
    assert not (segments.SHM / NAME).exists()


def is_nameless(made: Segments) -> bool:
    """Whether no other start can find the table."""
    return str(Path(f"/proc/self/fd/{made.table.writable_fd}").readlink()).startswith("/memfd:")


SCENES: Final[dict[str, Callable[[], None]]] = {
    scene.__name__: scene for scene in (filled_later, full_at_the_start, filled_meanwhile)
}

if __name__ == "__main__":
    segments.LOCK_PATIENCE_S = 0.0
    SCENES[sys.argv[1]]()
