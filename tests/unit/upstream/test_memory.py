"""What the upstream process says about its table."""

from __future__ import annotations

import json

from shardns import log
from shardns.cache import file_memory
from shardns.core import ffi, lib
from shardns.upstream.memory import Memory
from tests.unit.core.world import World


def test_a_table_without_room_is_told_once(capfd):
    """A page that there is no memory for is a warning; the next ones say nothing new."""
    log.configure("json")
    world = World()
    memory = Memory.__new__(Memory)
    memory.writer, memory._use, memory._is_confined = world.writer, ffi.new("struct shd_table_use *"), False
    memory.look()
    lib.shd_writer_reserve(world.writer, file_memory(-1))
    entry = ffi.new("struct shd_entry *")
    entry.head.key_len = 16
    for now_s in (100, 200):
        assert lib.shd_writer_store(world.writer, entry, 1, 0, now_s * 1000) == lib.SHD_EFULL
        memory.look()
    (line,) = capfd.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["level"], told["event"], told["pages"]) == ("warning", "table.confined", 0)
    assert memory.use().refusals == 2
    world.close()
