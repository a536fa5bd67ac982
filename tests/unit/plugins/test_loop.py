"""loop: no options at all."""

from __future__ import annotations

import pytest

from tests.unit.plugins.setups import config, errors


def test_zone():
    """The probe is for a name in the block's first zone."""
    assert config("loop").zone == "."
    assert config("loop", zones=("example.org.", ".")).zone == "example.org."


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("loop x", '1:6: loop takes no argument: got "x"'),
        ("loop {\n x\n}", '2:2: loop: takes no braces: got "x"'),
        ("loop\nloop", "2:1: loop: can be used only once per server block"),
    ],
)
def test_errors(text, wanted):
    """Each fault is blamed on its word."""
    assert errors(text) == [wanted]
