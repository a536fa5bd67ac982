"""Segments are mapped by descriptor, writable only where the descriptor is."""

from __future__ import annotations

import os

import pytest

from shardns.cache import boot_id, mapped


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
