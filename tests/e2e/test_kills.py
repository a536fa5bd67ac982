"""Workers and the upstream process killed at random moments under load; clients, table, rings and counters looked at.

KILLS_S in the environment makes it take so long, KILLS_SCALE multiplies the load.
"""

from __future__ import annotations

import contextlib
import mmap
import operator
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from shardns.cache import boot_id
from shardns.core import ffi, lib
from tests.e2e import shardns as program
from tests.peers import fake, load
from tests.peers.client import ask
from tests.peers.process import wait_until

SECONDS = float(os.environ.get("KILLS_S", "3"))
SCALE = float(os.environ.get("KILLS_SCALE", "0.3"))
HOT = 200
LONG = program.STOCK.replace("cache 30", "cache 3600")


class Counters:
    """The counters of the metrics page over time."""

    def __init__(self, made: program.Shardns) -> None:
        self._made = made
        self._seen: dict[tuple[str, str], float] = {}
        self.fallen: list[str] = []
        self.pages = 0

    def look(self) -> None:
        """Nothing; a counter, a bucket or a sum that is less than it was, or gone, is noted."""
        status, text = self._made.http("METRICS", "/metrics")
        if status != 200:
            return
        now = {
            (sample.name, str(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }
        self.fallen += [f"{key}: {old} to {now.get(key)}" for key, old in self._seen.items() if now.get(key, -1) < old]
        self._seen |= now
        self.pages += 1

    def watch(self, until: float) -> None:
        """Nothing, once that moment has come; looks as often as there is a page."""
        while time.monotonic() < until:
            self.look()
            time.sleep(0.05)


@contextlib.contextmanager
def _segment(link: Path, kind: str) -> Iterator[Any]:
    """A segment behind a link of /proc, as the C type kind, to be read."""
    with link.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        segment = ffi.from_buffer(kind, memory)
        yield segment
        ffi.release(segment)


def open_asks(made: program.Shardns) -> int:
    """How many places of all rings wait for an answer, seen from outside."""
    found = {os.readlink(link): link for link in Path(f"/proc/{made.pids()['upstream']}/fd").iterdir()}  # noqa: PTH115
    (upstream,) = (link for name, link in found.items() if "memfd:shardns-upstream" in name)
    count = 0
    with _segment(upstream, "struct shd_upstream_segment *") as own:
        for link in (link for name, link in found.items() if "memfd:shardns-slot" in name):
            with _segment(link, "struct shd_slot_segment *") as slot:
                done = own.done[slot.head.slot].done
                count += sum(
                    map(operator.ne, ffi.unpack(slot.ring.turns, lib.SHD_ASKS), ffi.unpack(done, lib.SHD_ASKS))
                )
    return count


def check_table(path: Path) -> int:
    """The entries of a copy of the table: it is as a writer leaves it, each entry holds the address of its own name."""
    octets = bytearray(path.read_bytes())
    header = ffi.from_buffer("struct shd_table_header *", octets)
    assert lib.shd_table_check(header, len(octets), boot_id()) == 0
    memory = ffi.new("uint64_t[]", lib.shd_writer_size(ffi.addressof(header, "geometry"), 0) // 8 + 1)
    writer = ffi.cast("struct shd_writer *", memory)
    count = int(lib.shd_writer_init(writer, header, ffi.NULL, 0, ffi.NULL, 0))
    assert lib.shd_writer_check(writer) == 0
    at, entry, walked = ffi.new("uint64_t *"), ffi.new("struct shd_entry *"), 0
    while lib.shd_table_next(header, at, entry):
        name = bytes(entry.key[13 : entry.head.key_len])
        wire = bytes(entry.wire[0 : entry.head.wire_len])
        assert wire[12 : 12 + len(name)] == name
        assert wire.endswith(fake.address_of(name))
        walked += 1
    assert walked == count
    return count


def kill_at_random(made: program.Shardns, counters: Counters, dice: random.Random) -> Counter[str]:
    """How many processes of each role were killed, every 0.1 to 0.3 s one; the page is read all the time."""
    kills, end = Counter[str](), time.monotonic() + SECONDS
    reader = threading.Thread(target=counters.watch, args=(end,))
    reader.start()
    while time.monotonic() < end:
        time.sleep(dice.uniform(0.1, 0.3))
        pids = made.pids()
        role = dice.choice([role for role in pids if role != "supervisor"] or [""])
        if role:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[role], signal.SIGKILL)
                kills[role.split()[0]] += 1
    reader.join()
    return kills


def test_kills_at_random(launch):
    """Whatever is killed and when: no answer is wrong or missing, no ask forgotten, and what is left is sound."""
    dice, name = random.Random(), f"shardns-test-{os.getpid()}-kills"
    with fake.nameserver(delay_s=0.005) as server, contextlib.ExitStack() as ends:
        ends.callback((program.SHM / name).unlink, missing_ok=True)
        made = launch(LONG, upstream=f"127.0.0.1:{server.port}", shm_name=name)
        counters = Counters(made)
        for number in range(HOT):
            assert ask(f"n{number}.example.org", port=made.port).answer
        counters.look()
        hits = load.start(made.port, rate=3000 * SCALE, seconds=SECONDS, hot=HOT, wait_s=10)
        misses = load.start(made.port, rate=300 * SCALE, seconds=SECONDS, prefix="m", wait_s=10)
        kills = kill_at_random(made, counters, dice)
        done = [load.result(one) for one in (hits, misses)]
        print("kills", dict(kills), counters.pages, "pages", *done)
        assert [(one.wrong, one.first_wrong) for one in done] == [(0, "")] * 2
        assert [one.lost for one in done] == [0, 0]
        wait_until(lambda: len(made.pids()) == 4, within_s=10, what="every process to be there")
        wait_until(lambda: open_asks(made) == 0, what="no ask to be open")
        made.reload(LONG.replace("3600", "60"))
        counters.look()
        assert kills.total() > 2 * SECONDS
        assert counters.pages > 2
        assert counters.fallen == []
        made.stop()
        assert check_table(program.SHM / name) >= HOT + done[1].answered
