"""What an error looks like to the operator."""

from __future__ import annotations

import pytest

from shardns.errors import ConfigError, ConfigErrors, Position, Problems, shown

AT = Position("Corefile", 3, 5)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ConfigError(AT, "cache: TTL must be above 0"), "Corefile:3:5: cache: TTL must be above 0"),
        (ConfigError(AT, "cache: bad TTL", got="x"), 'Corefile:3:5: cache: bad TTL: got "x"'),
        (ConfigError(None, "no blocks", hint="write one"), "no blocks (write one)"),
    ],
)
def test_text(error: ConfigError, wanted: str) -> None:
    """Place, message, offending text and hint, each only when there is one."""
    assert str(error) == wanted


def test_all_at_once() -> None:
    """Errors come sorted by place and only once."""
    late = ConfigError(Position("Corefile", 10, 1), "b")
    early = ConfigError(Position("Corefile", 2, 1), "a")
    errors = ConfigErrors([late, early, ConfigError(Position("Corefile", 10, 1), "b")])
    assert errors.errors == (early, late)
    assert str(errors) == "Corefile:2:1: a\nCorefile:10:1: b"


def test_never_empty() -> None:
    """A ConfigErrors without errors would be a bug of ours."""
    with pytest.raises(ValueError, match="at least one"):
        ConfigErrors([])


def fail(error: Exception) -> None:
    """Raise error."""
    raise error


def test_problems() -> None:
    """Bodies that fail are noted, one or many at a time, and raised together at the end."""
    problems = Problems()
    problems.check()
    first, second, third = (ConfigError(Position("f", line, 1), str(line)) for line in (1, 2, 3))
    for error in (third, ConfigErrors([second, first])):
        with problems.caught():
            fail(error)
    with pytest.raises(ConfigErrors) as caught:
        problems.check()
    assert caught.value.errors == (first, second, third)


@pytest.mark.parametrize(
    ("text", "wanted"), [("a", '"a"'), ('a"b', '"a\\"b"'), ("a\nb\0", '"a\\nb\\x00"'), ("x" * 90, None)]
)
def test_shown(text: str, wanted: str | None) -> None:
    """What is quoted fits a line and holds no control characters."""
    assert shown(text) == wanted or (wanted is None and len(shown(text)) < 64 and "…" in shown(text))
