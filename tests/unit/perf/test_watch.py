import pytest

from perf.endurance import watch
from perf.endurance.watch import Record, Sample


def samples(*, own=lambda at: 10.0, descriptors=lambda at: 20, connections=lambda at: 2, count=90, role="upstream"):
    """A look a second, each quantity a function of its time."""
    return [
        Sample(at, {role: own(at)}, {role: own(at)}, {role: descriptors(at)}, connections(at)) for at in range(count)
    ]


def test_steady():
    """A run in which nothing grows has no complaint; nor has a peak that is over."""
    assert watch.complaints(Record(samples(own=lambda at: 14.0 if at == 10 else 10.0)), 60) == []


@pytest.mark.parametrize(
    "record, wanted",
    [
        (Record(samples(own=lambda at: 10 + at / 10)), "its memory grew from"),
        (Record(samples(own=lambda at: 10 + at % 6 + max(0, at - 60) / 4)), "between 60 and 89 s"),
        (Record(samples(descriptors=lambda at: 20 + at // 4)), "its descriptors grew from"),
        (Record(samples(descriptors=lambda at: 20 + at // 40, role="supervisor")), "its descriptors grew from"),
        (Record(samples(connections=lambda at: 60 if at == 40 else 2)), "60 connections to the nameserver"),
        (Record(samples(connections=lambda at: 5 if at > 80 else 2)), "5 connections to the nameserver at the end"),
        (Record(samples(), table_used=1.1), "1.10 times its budget"),
    ],
)
def test_complaint(record, wanted):
    """Whatever leaves its bound is named with its numbers."""
    assert any(wanted in line for line in watch.complaints(record, 60))


def test_connections():
    """Established connections to the port count, from its client's side alone."""
    table = """\
  sl  local_address rem_address   st tx_queue
   0: 0100007F:C001 0100007F:0035 01 00000000
   1: 0100007F:0035 0100007F:C001 01 00000000
   2: 0100007F:C002 0100007F:0035 06 00000000
   3: 0100007F:C003 0100007F:0036 01 00000000
"""
    assert watch.connections(table, 0x35) == 1
