"""Reports cross from child to supervisor as they were."""

import pytest

from supervisor.network.report import Problem, Report


def test_there_and_back():
    """Every field of a report survives the way through JSON."""
    report = Report(["a"], ["b"], [Problem("iptables_lock", "rules", "why", "do")], ["c"], ["d"], "nftables", "so")
    assert Report.from_json(report.to_json()) == report


def test_nonsense():
    """What a killed child has half written is an error, not a report."""
    with pytest.raises(ValueError, match="Expecting value"):
        Report.from_json(b'{"added": [')


def test_include():
    """Parts of a look come together."""
    whole, part = Report(added=["a"], withheld=["x"]), Report(added=["b"], notes=["n"])
    part.fail("iptables", "rules", "why")
    whole.include(part)
    assert whole == Report(["a", "b"], problems=[Problem("iptables", "rules", "why")], notes=["n"], withheld=["x"])
