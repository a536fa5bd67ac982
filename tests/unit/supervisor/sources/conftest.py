"""What tests of sources share."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shardns import log


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, object]]]:
    """The log's events since the last call."""
    log.configure("json", "info")

    def read() -> list[dict[str, object]]:
        return [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]

    return read
