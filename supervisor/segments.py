"""The shared memory: made here, written by others.

The table has a name in /dev/shm, so that the next supervisor finds it, also after a SIGKILL, and is warm. It is taken
over only when it is ours (owner and mode), nobody else holds it (flock), and its header fits: magic, layout version,
geometry and boot id. Otherwise a new one takes the name; while another instance holds the name, a nameless one serves.

The lock belongs to the descriptor that the upstream process inherits. So it is held as long as anybody can still write.

Everything else (worker slots, the upstream process's segment, the tally) lives as long as the supervisor and has no
name: nothing of it can be left behind, and it does not count against the size of /dev/shm.

A new table begins as a copy of that of another instance which serves the same addresses, where there is one: we are
about to replace it (neighbour.py).

A page that /dev/shm has no room for when it is first touched would end whoever touches it (SIGBUS), and whoever takes
its place. So the memory of a named table is reserved before it is touched: here what every start touches, and by the
upstream process each page that it begins to use (core/table.h).
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import posix_ipc

from shardns.cache import boot_id, file_memory
from shardns.core import ffi, lib
from shardns.errors import Malformed, Unreachable
from shardns.log import get_logger
from shardns.role import Segment, Tally
from shardns.upstream.operator_client import OperatorError
from supervisor import neighbour

SHM = Path("/dev/shm")  # noqa: S108 - where glibc and musl keep POSIX shared memory
LOCK_PATIENCE_S = 2.0  # for children of a killed supervisor to be gone
_LOCK_PAUSE_S = 0.02
_PAGE = 4096
_NO_ROOM = "no room in /dev/shm: the cache will not survive a restart"

log = get_logger()

Cdata = Any  # cffi's objects have no types


def table_name(port: int, local_ips: tuple[str, ...]) -> str:
    """The table's name when the operator gives none: the same for every start on the same port and addresses."""
    name = "-".join(["shardns", str(port), *local_ips]).replace(":", "_")
    if len(name) <= 80:
        return name
    return f"shardns-{port}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Segments:
    """Everything shared, as descriptors."""

    table: Segment
    slots: tuple[Segment, ...]
    upstream: Segment
    tally: Segment
    wake_fd: int

    def close(self) -> None:
        """Close every descriptor. The table's name stays, for the next start."""
        for segment in (self.table, self.upstream, self.tally, *self.slots):
            segment.close()
        os.close(self.wake_fd)


def create(name: str, size_bytes: int, workers: int, *, beside: str = "") -> Segments:
    """The segments of a supervisor with this many workers; the cache's budget is size_bytes.

    name        the table's; empty for one that no other start can find
    beside      the operator socket of an instance whose table a new one is to be a copy of; there may be none
    Raises OSError when there is no memory for them.
    """
    boot = boot_id()
    geometry = ffi.new("struct shd_geometry *")
    table_size = lib.shd_table_plan(size_bytes, geometry)
    table = _found_table(name, table_size, boot) if name else None
    if table is None and beside:
        table = _copied_table(name, table_size, geometry, boot, beside)
    if table is None:
        table = _new_table(name, table_size, geometry, boot)
    slot_size = lib.shd_slot_segment_size(geometry)
    upstream_size = lib.shd_upstream_segment_size()
    slots = tuple(_headed(f"slot-{n}", slot_size, n, boot) for n in range(2 * workers))
    upstream = _headed("upstream", upstream_size, 0, boot)
    tally = _nameless("tally", Tally.SIZE)
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    return Segments(table, slots, upstream, tally, wake_fd)


class Heartbeats:
    """The heartbeats of every slot and of the upstream process, through read-only maps of their first pages."""

    def __init__(self, segments: Segments) -> None:
        """Map what is needed."""
        self._slot_at = ffi.offsetof("struct shd_slot_segment", "process")
        self._upstream_at = ffi.offsetof("struct shd_upstream_segment", "process")
        beat_at = ffi.offsetof("struct shd_process_counters", "heartbeat_ns")
        loop_at = ffi.offsetof("struct shd_process_counters", "heartbeat_loop_ns")
        self._offsets = (beat_at, loop_at)
        self._slots = [_peek(segment) for segment in segments.slots]
        self._upstream = _peek(segments.upstream)

    def of_worker(self, slot: int) -> tuple[int, ...]:
        """When the C thread and the event loop of the slot's worker were last alive: nanoseconds of CLOCK_MONOTONIC."""
        return self._read(self._slots[slot], self._slot_at)

    def of_upstream(self) -> tuple[int, ...]:
        """The same of the upstream process, which has one loop: whichever of the two fields it writes."""
        return (max(self._read(self._upstream, self._upstream_at)),)

    def close(self) -> None:
        """Unmap."""
        for memory in (*self._slots, self._upstream):
            memory.close()

    def _read(self, memory: mmap.mmap, at: int) -> tuple[int, ...]:
        """Both fields."""
        return tuple(struct.unpack_from("=Q", memory, at + offset)[0] for offset in self._offsets)


def writable_tally(segment: Segment) -> Tally:
    """The tally for its one writer."""
    return Tally(mmap.mmap(segment.writable_fd, Tally.SIZE))


def _peek(segment: Segment) -> mmap.mmap:
    """The first page of a segment, read-only."""
    return mmap.mmap(segment.readable_fd, _PAGE, prot=mmap.PROT_READ)


def _found_table(name: str, size: int, boot: bytes) -> Segment | None:
    """The table that an earlier supervisor left; None when there is none that fits, and then the name is free."""
    fd = _held(name)
    if fd is None:
        return None
    header = _header(fd, size, boot)
    if header is not None and _reserve(fd, size, ffi.addressof(header, "geometry")):
        log.info("segment.adopted", name=name, size_bytes=size)
        return _both(fd, size)
    log.warning(
        "segment.refused", name=name, reason="made by another version, boot or cache size, or no room; starting empty"
    )
    posix_ipc.unlink_shared_memory(f"/{name}")
    os.close(fd)
    return None


def _copied_table(name: str, size: int, geometry: Cdata, boot: bytes, control: str) -> Segment | None:
    """A copy of the table of the instance behind control; None when we are alone, or its table is not like ours."""
    try:
        client = neighbour.met(control)
    except Unreachable as error:
        if not isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError)):  # which mean that we are alone
            log.warning("segment.refused", name=control, reason=str(error))
        return None
    with client:
        segment, given = _memory(name, size, geometry)
        try:
            neighbour.copy_table(client, segment, lambda fd: _is_ours(fd) and _header(fd, size, boot) is not None)
            header = _header(segment.writable_fd, size, boot)
            if header is None:
                reason = "the copy of the other instance's table is none"
            elif given and not _reserve(segment.writable_fd, size, ffi.addressof(header, "geometry")):
                reason = _NO_ROOM
            else:
                reason = ""
        except (OperatorError, Malformed, Unreachable, OSError) as error:
            reason = f"no copy of the other instance's table: {error}"
    if reason:
        log.warning("segment.refused", name=control, reason=reason)
        if given:
            posix_ipc.unlink_shared_memory(f"/{given}")
        segment.close()
        return None
    log.info("segment.copied", name=given, size_bytes=size, neighbour=control)
    return segment


def _new_table(name: str, size: int, geometry: Cdata, boot: bytes) -> Segment:
    """An empty table, called name if that can be had."""
    segment, given = _memory(name, size, geometry)
    seed = struct.unpack("=QQ", os.urandom(16))
    with mmap.mmap(segment.writable_fd, size) as memory, ffi.from_buffer(memory, require_writable=True) as pointer:
        lib.shd_table_init(pointer, geometry, seed, boot)
    log.info("segment.created", name=given, size_bytes=size)
    return segment


def _memory(name: str, size: int, geometry: Cdata) -> tuple[Segment, str]:
    """A zeroed segment for a table, called name if that can be had; and the name that it got, or nothing."""
    fd = _named(name, size, geometry) if name else None
    return (_nameless("table", size), "") if fd is None else (_both(fd, size), name)


def _held(name: str) -> int | None:
    """A descriptor of the table called name, locked for us; None when there is none that we may take.

    Waits LOCK_PATIENCE_S for the lock. When somebody else keeps it, the name is his.
    """
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fd: int = posix_ipc.SharedMemory(f"/{name}").fd
        except (posix_ipc.ExistentialError, posix_ipc.PermissionsError, OSError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() >= deadline:
                return None
            time.sleep(_LOCK_PAUSE_S)
            continue
        has_name = os.fstat(fd).st_nlink
        if has_name and _is_ours(fd):
            return fd
        os.close(fd)
        if has_name:
            return None


def _is_ours(fd: int) -> bool:
    """Whether what is behind fd belongs to our user, and to nobody else."""
    found = os.fstat(fd)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _header(fd: int, size: int, boot: bytes) -> Cdata | None:
    """A copy of the header of the table behind fd; None when it is none that we can go on with.

    It is read, not mapped: of a table whose maker was killed there may be nothing yet.
    """
    header = ffi.new("struct shd_table_header *")
    octets = os.pread(fd, ffi.sizeof(header[0]), 0)
    ffi.memmove(header, octets, len(octets))
    fits = os.fstat(fd).st_size == size and lib.shd_table_check(header, size, boot) == 0
    return header if fits else None


def _named(name: str, size: int, geometry: Cdata) -> int | None:
    """A descriptor of a new table called name, locked; None when that name cannot be had."""
    room = os.statvfs(SHM)
    if room.f_bavail * room.f_frsize < size:
        log.warning("segment.refused", name=name, reason=_NO_ROOM)
        return None
    try:
        fd: int = posix_ipc.SharedMemory(f"/{name}", posix_ipc.O_CREX, mode=0o600, size=size).fd
    except (posix_ipc.Error, OSError) as error:
        log.warning("segment.refused", name=name, reason=f"another instance has it, or {error}; serving without a name")
        return None
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if _reserve(fd, size, geometry):
        return fd
    log.warning("segment.refused", name=name, reason=_NO_ROOM)
    posix_ipc.unlink_shared_memory(f"/{name}")
    os.close(fd)
    return None


def _reserve(fd: int, size: int, geometry: Cdata) -> bool:
    """Whether all of the table behind fd that may be touched has its memory now. What is in it stays."""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory, ffi.from_buffer(memory) as pointer:
        return bool(lib.shd_table_reserve(pointer, geometry, file_memory(fd)) == 0)


def _headed(name: str, size: int, slot: int, boot: bytes) -> Segment:
    """A new segment with its head written."""
    segment = _nameless(name, size)
    with mmap.mmap(segment.writable_fd, size) as memory, ffi.from_buffer(memory, require_writable=True) as pointer:
        lib.shd_segment_init(pointer, slot, size, boot)
    return segment


def _nameless(name: str, size: int) -> Segment:
    """A new zeroed segment that nobody else can find. name is for /proc only."""
    fd = os.memfd_create(f"shardns-{name}", os.MFD_CLOEXEC)
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, size)
    return _both(fd, size)


def _both(fd: int, size: int) -> Segment:
    """The segment behind a writable descriptor, with a second descriptor that cannot be mapped writable."""
    return Segment(fd, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), size)
