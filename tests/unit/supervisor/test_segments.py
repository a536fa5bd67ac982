"""Shared memory, the real one."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardns.core import ffi
from shardns.role import Count, Tally
from supervisor import segments
from supervisor.segments import Heartbeats, Segments, create, table_name, writable_tally
from tests.unit.supervisor.small_shm import SCENES, SHM_BYTES

SIZE = 4 * 1024 * 1024


@pytest.fixture
def name() -> Iterator[str]:
    """A name in /dev/shm that is free before and after."""
    own = f"shardns-test-segments-{os.getpid()}"
    yield own
    (segments.SHM / own).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A lock that is held is not waited for."""
    monkeypatch.setattr(segments, "LOCK_PATIENCE_S", 0.0)


def seed(made: Segments) -> bytes:
    """The table's hash seed: random, so it tells one table from another."""
    at = ffi.offsetof("struct shd_table_header", "seed")
    return os.pread(made.table.readable_fd, 16, at)


def test_next_start_finds_the_table(name):
    """The same name, budget and boot give the same table, with what is in it."""
    first = create(name, SIZE, 1)
    before = seed(first)
    first.close()
    second = create(name, SIZE, 1)
    assert seed(second) == before
    second.close()


@pytest.mark.parametrize("size", [SIZE // 4 * 5, SIZE * 2])
def test_another_budget_is_another_table(name, size):
    """A table of another geometry is not taken over; the new one has the name."""
    first = create(name, SIZE, 1)
    before = seed(first)
    first.close()
    second = create(name, size, 1)
    assert seed(second) != before
    assert (segments.SHM / name).stat().st_size == second.table.size <= size
    second.close()


@pytest.mark.parametrize("field", ["magic", "version", "boot_id"])
def test_a_header_that_is_not_ours_is_refused(name, field):
    """Another magic, layout version or boot: an empty table takes the name."""
    first = create(name, SIZE, 1)
    before = seed(first)
    at = ffi.offsetof("struct shd_table_header", field)
    (octet,) = os.pread(first.table.readable_fd, 1, at)
    os.pwrite(first.table.writable_fd, bytes([octet ^ 1]), at)
    first.close()
    second = create(name, SIZE, 1)
    assert seed(second) != before
    second.close()


def test_a_table_in_use_is_left_alone(name):
    """Two instances do not write to one table: the second serves from one without a name."""
    first = create(name, SIZE, 1)
    second = create(name, SIZE, 1)
    assert seed(second) != seed(first)
    assert str(Path(f"/proc/self/fd/{second.table.writable_fd}").readlink()).startswith("/memfd:")
    second.close()
    first.close()


def test_the_lock_is_held_as_long_as_somebody_can_write(name):
    """The upstream process of a killed supervisor keeps the table from the next one until it is gone too."""
    first = create(name, SIZE, 1)
    copy = os.dup(first.table.writable_fd)
    before = seed(first)
    first.close()
    second = create(name, SIZE, 1)
    assert seed(second) != before
    second.close()
    os.close(copy)
    third = create(name, SIZE, 1)
    assert seed(third) == before
    third.close()


def test_a_table_that_others_may_write_is_not_trusted(name):
    """A file of that name with a mode that lets others in is not ours, whatever its header says."""
    first = create(name, SIZE, 1)
    before = seed(first)
    first.close()
    (segments.SHM / name).chmod(0o666)
    second = create(name, SIZE, 1)
    assert seed(second) != before
    second.close()


def test_no_room_costs_only_the_name(name, monkeypatch):
    """A /dev/shm that is too small (64 MiB in many containers) does not keep us from serving."""
    room = os.statvfs_result((4096, 4096, 10, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: room)
    made = create(name, SIZE, 1)
    assert not (segments.SHM / name).exists()
    made.close()


def test_a_named_table_takes_little_memory(name):
    """Header and buckets are there from the start, pages come with entries."""
    made = create(name, SIZE, 1)
    taken = (segments.SHM / name).stat().st_blocks * 512
    assert 0 < taken < made.table.size / 10
    made.close()


def test_a_found_table_has_the_memory_it_needs(name):
    """Holes in what every start touches, as a maker leaves them that is killed, are filled; what is there stays."""
    made = create(name, SIZE, 1)
    before, size = seed(made), made.table.size
    made.close()
    path = segments.SHM / name
    wanted = path.stat().st_blocks
    head = path.read_bytes()[:4096]
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(head)
        file.truncate(size)
    again = create(name, SIZE, 1)
    assert seed(again) == before
    assert path.stat().st_blocks == wanted
    again.close()


def test_a_name_without_a_table_is_refused(name):
    """A maker that was killed before it wrote the header leaves nothing that could be read as one."""
    create(name, SIZE, 1).close()
    size = (segments.SHM / name).stat().st_size
    with (segments.SHM / name).open("r+b") as file:
        file.truncate(0)
        file.truncate(size)
    made = create(name, SIZE, 1)
    assert seed(made) != bytes(16)
    made.close()


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a /dev/shm of its own")
def test_small_shm(scene):
    """What happens on a /dev/shm that others fill up; see the scenes."""
    mount = f"mount -t tmpfs -o size={SHM_BYTES} none /dev/shm"
    play = f"exec {sys.executable} -m {SCENES[scene].__module__} {scene}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"{mount}; {play}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nameless_table():
    """Without a name the table is in no folder: nothing can be left behind."""
    made = create("", SIZE, 1)
    assert os.fstat(made.table.writable_fd).st_nlink == 0
    made.close()


def test_readable_descriptors_cannot_be_written():
    """What a worker is given cannot be mapped writable, by mistake or by intent."""
    made = create("", SIZE, 2)
    for segment in (made.table, made.upstream, made.tally, *made.slots):
        with pytest.raises(PermissionError):
            mmap.mmap(segment.readable_fd, segment.size)
    made.close()


def test_two_generations_of_slots():
    """Two workers have four slots: the old ones and the new ones overlap during a reload."""
    made = create("", SIZE, 2)
    assert len(made.slots) == 4
    made.close()


def test_heartbeats_are_read_where_children_write_them():
    """Both loops of a worker; of the upstream process whichever is the later."""
    made = create("", SIZE, 1)
    beats = Heartbeats(made)
    process = ffi.offsetof("struct shd_slot_segment", "process")
    os.pwrite(made.slots[1].writable_fd, struct.pack("=QQ", 11, 12), process)
    os.pwrite(
        made.upstream.writable_fd, struct.pack("=QQ", 0, 13), ffi.offsetof("struct shd_upstream_segment", "process")
    )
    assert beats.of_worker(0) == (0, 0)
    assert beats.of_worker(1) == (11, 12)
    assert beats.of_upstream() == (13,)
    beats.close()
    made.close()


def test_tally_is_seen_by_the_reader():
    """What the supervisor counts is there for who maps it read-only, and only to read."""
    made = create("", SIZE, 1)
    writer, reader = writable_tally(made.tally), Tally.mapped(made.tally)
    writer[Count.RELOAD_FAILED] += 2
    assert reader[Count.RELOAD_FAILED] == 2
    assert reader[Count.RELOADS] == 0
    with pytest.raises(TypeError):
        reader[Count.RELOADS] = 1
    writer.close()
    reader.close()
    made.close()


@pytest.mark.parametrize(
    "port, addresses, wanted",
    [
        (53, ("169.254.20.10", "10.96.0.10"), "shardns-53-169.254.20.10-10.96.0.10"),
        (1053, (), "shardns-1053"),
        (53, ("fd00::a",), "shardns-53-fd00__a"),
    ],
)
def test_table_name(port, addresses, wanted):
    """The name says who it belongs to, so that the next start on the same addresses finds it."""
    assert table_name(port, addresses) == wanted


def test_long_table_name_is_cut():
    """Many addresses do not make a name that the file system refuses, and other addresses make another."""
    many = tuple(f"2001:db8::{n:x}" for n in range(40))
    assert len(table_name(53, many)) < 80
    assert table_name(53, many) != table_name(53, many[1:])
