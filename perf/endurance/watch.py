"""What is measured meanwhile, and what it must be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

# 100 octets leaked per query would be 50 MiB in ten minutes; what is allowed is what arenas and dictionaries breathe.
GROWTH_MIB = 3.0  # of one process' own memory, last third against first
TOTAL_GROWTH_MIB = 6.0  # of all processes'
DESCRIPTORS_GROWTH = 8  # of one process: connections come and go
SUPERVISOR_GROWTH = 1  # it has no clients: what a reload opens it closes
CONNECTIONS_MAX = 40  # at the nameserver, the most that one which answers slowly may see, and some of a killed process
LOOKS_MIN = 6
CONNECTIONS_CALM = 4  # when nothing has happened for a while


@dataclass(frozen=True)
class Sample:
    """One look at all processes. own_mib: by role, memory that is not the table's; a share of what is shared."""

    at_s: float
    own_mib: Mapping[str, float]
    rss_mib: Mapping[str, float]
    descriptors: Mapping[str, int]
    connections: int  # TCP, at the nameserver


@dataclass
class Record:
    """Everything that was seen."""

    samples: list[Sample] = field(default_factory=list)
    table_entries: float = 0.0  # most
    table_used: float = 0.0  # most, of the table's budget


def look(at_s: float, pids: Mapping[str, int], upstream: int) -> Sample:
    """The processes now; one that ends at this moment is left out. upstream is the nameserver's port."""
    own: dict[str, float] = {}
    rss: dict[str, float] = {}
    descriptors: dict[str, int] = {}
    for role, pid in pids.items():
        with contextlib.suppress(OSError):
            sizes = _sizes(pid)
            if sizes:  # a zombie has none
                descriptors[role] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                own[role], rss[role] = sizes["Pss"] - sizes["Pss_Shmem"], sizes["Rss"]
    return Sample(at_s, own, rss, descriptors, connections(Path("/proc/net/tcp").read_text(), upstream))


def _sizes(pid: int) -> dict[str, float]:
    """/proc/PID/smaps_rollup in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}


def connections(table: str, port: int) -> int:
    """Established connections to a port, in the text of /proc/net/tcp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def complaints(record: Record, spared_s: float) -> list[str]:
    """A line for everything that left its bound; from spared_s on processes are left to grow old."""
    samples = record.samples
    old = [one for one in samples if one.at_s >= spared_s]
    if len(old) < LOOKS_MIN:
        return [f"{len(samples)} looks, {len(old)} of them after {spared_s:.0f} s: too few"]
    found = [line for part in (samples, old) for line in _growth(part)]
    most = max(one.connections for one in samples)
    if most > CONNECTIONS_MAX:
        found.append(f"{most} connections to the nameserver, above {CONNECTIONS_MAX}")
    if samples[-1].connections > CONNECTIONS_CALM:
        found.append(f"{samples[-1].connections} connections to the nameserver at the end, above {CONNECTIONS_CALM}")
    if record.table_used > 1:
        found.append(f"the table holds {record.table_used:.2f} times its budget")
    return found


def _growth(samples: Sequence[Sample]) -> Iterator[str]:
    """A line for everything that is larger in the last third than in the first."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    span = f"between {samples[0].at_s:.0f} and {samples[-1].at_s:.0f} s"
    for role in sorted(samples[-1].own_mib):
        before, after = (_peak(part, role, lambda one: one.own_mib) for part in (first, last))
        if after > before + GROWTH_MIB:
            yield f"{role}: its memory grew from {before:.1f} to {after:.1f} MiB {span}"
        before, after = (_peak(part, role, lambda one: one.descriptors) for part in (first, last))
        if after > before + (SUPERVISOR_GROWTH if role == "supervisor" else DESCRIPTORS_GROWTH):
            yield f"{role}: its descriptors grew from {before:.0f} to {after:.0f} {span}"
    before, after = _total(first), _total(last)
    if after > before + TOTAL_GROWTH_MIB:
        yield f"all processes: their memory grew from {before:.1f} to {after:.1f} MiB {span}"


def _peak(samples: Iterable[Sample], role: str, of: Callable[[Sample], Mapping[str, float]]) -> float:
    return max((of(one)[role] for one in samples if role in of(one)), default=0.0)


def _total(samples: Sequence[Sample]) -> float:
    """The usual sum: peaks are moments with two generations."""
    return median(sum(one.own_mib.values()) for one in samples)


def text(record: Record) -> str:
    """What was seen, for the summary."""
    samples = record.samples
    third = len(samples) // 3
    return (
        f"memory {_total(samples[:third]):.0f} -> {_total(samples[-third:]):.0f} MiB without the table, "
        f"descriptors {sum(samples[0].descriptors.values())} -> {sum(samples[-1].descriptors.values())}, "
        f"table {record.table_entries:,.0f} entries, {record.table_used:.0%} of its budget, "
        f"connections to the nameserver at most {max(one.connections for one in samples)}, "
        f"at the end {samples[-1].connections}"
    )
