"""Short-lived children: they report, or their silence is reported."""

from __future__ import annotations

import os
import signal
import time

import pytest

from supervisor.network import jobs
from supervisor.network.report import Report


def test_a_report_comes_back():
    """However long it is."""
    wanted = Report(added=["x" * 100] * 3000)
    job = jobs.start(lambda: wanted)
    assert job.wait() == wanted
    with pytest.raises(ChildProcessError):
        os.waitpid(job.pid, os.WNOHANG)


def test_a_child_that_was_buried_by_others():
    """PID 1 buries every child; the report is not lost by that."""
    job = jobs.start(Report)
    os.waitpid(job.pid, 0)
    assert job.wait() == Report()


def broken() -> Report:
    """Has a bug."""
    raise RuntimeError("as the test wants it")


def killed() -> Report:
    """Is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Report()


@pytest.mark.parametrize("work", [broken, killed])
def test_a_child_without_a_report(work, capfd):
    """Is one problem, and costs nothing else."""
    (problem,) = jobs.start(work).wait().problems
    assert (problem.error_type, problem.reason) == ("interface_check", "the process for it ended without a report")


def test_a_child_that_hangs(monkeypatch):
    """Is killed at its deadline."""
    monkeypatch.setattr(jobs, "TIMEOUT_S", 0.1)

    def hang() -> Report:
        time.sleep(60)
        return Report()

    (problem,) = jobs.start(hang).wait().problems
    assert problem.error_type == "interface_check"


def test_a_child_holds_nothing_of_its_parent():
    """No descriptor but its standard ones and its own pipe: a socket that is closed in the parent is closed."""
    reader, writer = os.pipe()
    job = jobs.start(lambda: Report(added=os.listdir("/proc/self/fd")))  # noqa: PTH208 - names are numbers
    found = {int(name) for name in job.wait().added}
    os.close(reader)
    os.close(writer)
    assert reader not in found
    assert writer not in found
