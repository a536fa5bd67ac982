"""Segments are mapped by descriptor, writable only where the descriptor is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardns.cache import boot_id, mapped, new_untouched, untouched


def test_two_views_of_one_memory():
    """What is written through one mapping is read through another, and a pointer keeps its mapping."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4096)
    writer = mapped(fd, 4096, "struct shd_segment_head *", writable=True)
    reader = mapped(fd, 4096, "struct shd_segment_head *", writable=False)
    os.close(fd)
    writer.slot = 7
    assert reader.slot == 7


def test_read_only_descriptors_stay_read_only():
    """A descriptor opened for reading cannot be mapped writable."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4096)
    only_reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    with pytest.raises(PermissionError):
        mapped(only_reading, 4096, "uint8_t[]", writable=True)
    os.close(only_reading)
    os.close(fd)


def test_boot_id():
    """16 octets, the same at every look."""
    assert len(boot_id()) == 16
    assert boot_id() == boot_id()


def test_untouched_memory_costs_nothing_until_it_is_used():
    """Untouched memory is zeroed and writable, and no page of it is there before it is written."""
    entry = new_untouched("struct shd_entry *")
    assert entry.head.wire_len == 0
    entry.head.wire_len = 7
    assert entry.head.wire_len == 7
    memory = untouched(1 << 20)
    before = resident_kib()
    assert len(memory) == 1 << 20
    assert resident_kib() - before < 512
    memory[:] = b"x" * (1 << 20)
    assert resident_kib() - before >= 1024


def resident_kib():
    """Anonymous memory of this process that is there."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
