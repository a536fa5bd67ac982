import ast
import re
from pathlib import Path

import pytest

from shardns.events import EVENTS
from shardns.log import LEVELS

TREE = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| ([a-z, ]+) \|", re.MULTILINE)
METHODS = {*LEVELS, "exception"}
SOURCES = sorted(path for folder in ("shardns", "supervisor") for path in (TREE / folder).rglob("*.py"))


def is_log_call(func):
    """Whether what is called is such as log.info or self._log.error."""
    if not (isinstance(func, ast.Attribute) and func.attr in METHODS):
        return False
    owner = func.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return name.lower() in {"log", "_log", "logger", "_logger"}


def find_calls(source):
    """Every log call in source, in order."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and is_log_call(node.func)]
    return sorted(calls, key=lambda call: call.lineno)


def log_calls(path):
    """Every log call of a source file: (line, first argument's node or None)."""
    calls = find_calls(path.read_text(encoding="utf-8"))
    return [(node.lineno, node.args[0] if node.args else None) for node in calls]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TREE)))
def test_log_calls_use_listed_literals(path):
    """Every log call in the tree names its event by a literal that events.py lists."""
    wrong = [
        f"{path.name}:{line}: {ast.unparse(event) if event else 'nothing'}"
        for line, event in log_calls(path)
        if not (isinstance(event, ast.Constant) and event.value in EVENTS)
    ]
    assert wrong == []


def test_every_event_is_used():
    """A name that nothing logs any more leaves the list."""
    used = {event.value for path in SOURCES for _, event in log_calls(path) if isinstance(event, ast.Constant)}
    assert EVENTS - used == set()


def test_every_event_is_documented():
    """docs/logs.md says of each event what it means, and of no other."""
    text = (TREE / "docs" / "logs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE)) == EVENTS


def test_levels_are_documented():
    """docs/logs.md has the levels at which each event is logged."""
    text = (TREE / "docs" / "logs.md").read_text(encoding="utf-8")
    told = {event: set(levels.split(", ")) for event, levels in ROW.findall(text)}
    used: dict[str, set[str]] = {}
    for path in SOURCES:
        for call in find_calls(path.read_text(encoding="utf-8")):
            used.setdefault(call.args[0].value, set()).add(call.func.attr.replace("exception", "error"))
    assert told == used


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_event_names(event):
    """A name is noun.verb in lower case, the verb perhaps of two words."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", event)


def test_the_search_finds_calls():
    """The test above sees the forms in which the tree logs."""
    source = "log.info('a.b', x=1)\nself._log.error(name)\nmath.log(3)\nparser.error('text')\nlogger.warning()"
    assert [ast.unparse(call.func) for call in find_calls(source)] == ["log.info", "self._log.error", "logger.warning"]
