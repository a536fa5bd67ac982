import pytest

from shardns.querylog import QueryLog, Rule
from shardns.querylog.record import DENIAL, ERROR, SUCCESS
from tests.unit.querylog.records import record

NAME = "{name}"


@pytest.mark.parametrize("log_class", [SUCCESS, DENIAL, ERROR])
@pytest.mark.parametrize(
    "classes, wanted",
    [
        (["all"], {SUCCESS, DENIAL, ERROR}),
        (["success"], {SUCCESS}),
        (["denial"], {DENIAL}),
        (["error"], {ERROR}),
        (["denial", "error"], {DENIAL, ERROR}),
        (["error", "all"], {SUCCESS, DENIAL, ERROR}),
    ],
)
def test_classes(log_class, classes, wanted):
    """A reply is logged when its class is among the rule's."""
    log = QueryLog([Rule(format=NAME, classes=classes)], {})
    line = "[INFO] www.example.org." if log_class in wanted else None
    assert log.line(record(log_class=log_class)) == line


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("a.example.org.", "1"),
        ("EXAMPLE.org.", "1"),
        ("example.com.", "2"),
        ("x.example.com.", "2"),
        ("notexample.org.", "3"),
        (".", "3"),
    ],
)
def test_first_name_that_fits_wins(name, wanted):
    """Rules are tried in the order of the file; a later, longer name does not take over."""
    rules = [Rule("example.org.", "1"), Rule("example.com.", "2"), Rule(".", "3"), Rule("a.example.org.", "4")]
    assert QueryLog(rules, {}).line(record(name=name)) == f"[INFO] {wanted}"


def test_a_rule_whose_class_says_no_ends_the_search():
    """CoreDNS does not go on to the next rule when the class of the first that fits is not wanted."""
    log = QueryLog([Rule("example.org.", NAME, ("error",)), Rule(".", NAME)], {})
    assert log.line(record(name="example.org.")) is None
    assert log.line(record(name="example.com.")) == "[INFO] example.com."


def test_no_rule_fits():
    """Names outside every rule are not logged."""
    assert QueryLog([Rule("example.org.", NAME)], {}).line(record(name="example.com.")) is None


def test_classes_of_a_block():
    """The block asks the C side for every class that some rule wants."""
    assert QueryLog([Rule(classes=("error",)), Rule(classes=("denial",))], {}).classes == ERROR | DENIAL
    assert QueryLog([], {}).classes == 0
