"""The situations of perf/situations, shortened: what is counted must hold; what is timed is measured there."""

import pytest

from perf.situations import Skipped
from perf.situations.__main__ import SITUATIONS

SCALE = {"closing-upstream": 0.1, "reload-warm": 0.33, "silent-replica": 0.5, "kill-worker": 0.3, "kill-upstream": 0.4}
SCALE |= {"full-table": 0.05, "full-memory": 0.02}


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name, tmp_path):
    """Nothing is lost or wrong, and every other count is within its bound."""
    try:
        figures = SITUATIONS[name](tmp_path, SCALE.get(name, 0.5))
    except Skipped as why:
        pytest.skip(str(why))
    print(*figures, sep="\n")
    assert [str(figure) for figure in figures if not figure.is_met and not figure.is_time] == []
