"""How the parts run."""

import threading
import time

from supervisor.doctor import examine
from supervisor.doctor.examine import Part
from supervisor.doctor.findings import ok
from tests.unit.supervisor.doctor.facts import nothing


def part(name, look):
    """A part whose one finding shows its facts."""
    return Part(look, ((name, lambda _, facts: ok(name, str(facts))),))


def refuse(_known, _until):
    """What a part that may not look does."""
    raise PermissionError(1, "Operation not permitted")


def test_order():
    """Findings come in the order of the parts, whichever is seen first, and the parts are seen side by side."""
    second = threading.Event()

    def slow(_known, _until):
        return second.wait(5)

    def fast(_known, _until):
        second.set()
        return "fast"

    found = list(examine.examine(nothing(), [part("one", slow), part("two", fast)]))
    assert [(one.check, one.found) for one in found] == [("one", "True"), ("two", "fast")]


def test_refused():
    """A part that the node refuses is skipped with the reason, under each of its names, and the others are not."""
    both = Part(refuse, (("a", lambda *_: ok("a", "")), ("b", lambda *_: ok("b", ""))))
    found = list(examine.examine(nothing(), [both, part("c", lambda *_: 1)]))
    assert [(one.check, one.state) for one in found] == [("a", "skip"), ("b", "skip"), ("c", "ok")]
    assert "Operation not permitted" in found[0].found


def test_bounded(monkeypatch):
    """A part that does not come to its end is left behind."""
    monkeypatch.setattr(examine, "GRACE_S", 0.1)
    never = threading.Event()
    begin = time.monotonic()
    found = list(examine.examine(nothing(), [part("a", lambda *_: never.wait(30)), part("b", lambda *_: 1)], 0.1))
    assert time.monotonic() - begin < 5
    assert [(one.check, one.state) for one in found] == [("a", "skip"), ("b", "ok")]
    never.set()


def test_nothing_runs():
    """The whole examination of a machine without shardns says how to start it, and ends within its time."""
    begin = time.monotonic()
    found = list(examine.examine(nothing()))
    assert time.monotonic() - begin < 10
    assert found[0].state == "fail"
    assert "start it" in found[0].remedy
    assert [one.check for one in found if one.state == "fail"] == ["program"]
    names = [name for part in examine.PARTS for name, _ in part.checks]
    assert list(dict.fromkeys(one.check for one in found)) == names
