import os
import subprocess
import sys

import pytest

from shardns.metrics.processes import Group

STAT = "{pid} (a (b) c) S 1 2 3 4 5 6 7 8 9 10 {user} {system} {ended_user} {ended_system} 20 0 1 0 0\n"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(name="proc")
def proc_fixture(tmp_path):
    """A /proc with a supervisor 10 and its children 11 and 12."""

    def put(pid, user, system, ended=(0, 0), statm="100 50 20 0 0 0 0", pss_kb=None):
        folder = tmp_path / str(pid)
        folder.mkdir(exist_ok=True)
        text = STAT.format(pid=pid, user=user, system=system, ended_user=ended[0], ended_system=ended[1])
        (folder / "stat").write_text(text)
        (folder / "statm").write_text(statm)
        if pss_kb is not None:
            (folder / "smaps_rollup").write_text(f"Rss: 1 kB\nPss: 9 kB\nPss_Anon: {pss_kb} kB\n")

    put(10, 1, 2, (30, 40))
    put(11, 100, 200, (5000, 5000))
    put(12, 1000, 2000)
    children = tmp_path / "10" / "task" / "10"
    children.mkdir(parents=True)
    (children / "children").write_text("11 12 ")
    return put, tmp_path


def test_cpu_is_that_of_the_group(proc):
    """CPU is the sum over the processes that live, and over the children that the supervisor has reaped."""
    _, path = proc
    assert Group(10, path).cpu_s() == pytest.approx(3373 * TICK_S)


def test_cpu_never_falls(proc):
    """A child that ended and is not yet reaped makes no step back, which Prometheus would read as a restart."""
    _, path = proc
    group = Group(10, path)
    before = group.cpu_s()
    (path / "12" / "stat").unlink()
    assert group.cpu_s() == before


def test_memory_counts_shared_pages_once(proc):
    """Memory is the private pages of each, and the most that one of them shares."""
    put, path = proc
    put(12, 0, 0, statm="100 60 25 0 0 0 0")
    assert Group(10, path).resident_bytes() == (30 + 30 + 35 + 25) * PAGE


def test_memory_since_the_fork_counts_in_parts(proc):
    """Of the private pages as large a part counts as the kernel says is ours alone of our own."""
    put, path = proc
    put(os.getpid(), 0, 0, statm="100 50 10 0 0 0 0", pss_kb=10 * PAGE // 1024)
    assert Group(10, path).resident_bytes() == (3 * round(30 / 4) + 20) * PAGE


def test_a_process_that_is_gone_has_no_memory(proc):
    """A child that ends between two looks is left out."""
    _, path = proc
    (path / "12" / "statm").unlink()
    assert Group(10, path).resident_bytes() == (30 + 30 + 20) * PAGE


def test_without_a_list_of_children(proc):
    """A kernel that does not list children leaves the supervisor and ourselves."""
    _, path = proc
    (path / "10" / "task" / "10" / "children").unlink()
    assert Group(10, path).pids() == [10, os.getpid()]


def test_the_real_proc():
    """On a running system: a child that lives is counted, and every family has a sensible value."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        group = Group(os.getpid())
        assert child.pid in group.pids()
        values = {family.name: family.samples[0].value for family in group.families(12.5)}
    finally:
        child.communicate(b"\n")
    assert values["process_start_time_seconds"] == 12.5
    assert 0 < values["process_open_fds"] < values["process_max_fds"]
    assert 1 << 20 < values["process_resident_memory_bytes"] < values["process_virtual_memory_bytes"]
    assert values["process_cpu_seconds"] > 0
