import asyncio
import re
from pathlib import Path

import pytest

from shardns.metrics import Page
from tests.unit.metrics.test_page import used_fixture  # noqa: F401 - a fixture

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([a-z_0-9]+)` \| (counter|gauge|histogram) \| ([a-z_, ]*?) ?\|", re.MULTILINE)


@pytest.fixture(name="documented")
def documented_fixture():
    """Of each family in docs/metrics.md: its type and its labels."""
    return {
        name: (kind, frozenset(labels.split(", ")) - {""})
        for name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }


@pytest.fixture(name="exported")
def exported_fixture(used):
    """Of each family on the page: its type and its labels."""
    w = used
    for row in (w.row(0, 0, 0), w.upstream.at.rows[0]):
        row.cache_prefetches = row.cache_drops = row.cache_served_stale = 1
    text = asyncio.run(Page(w.sources).render()).decode()
    families = {}
    for name, kind, samples in re.findall(r"^# TYPE (\S+) (\S+)\n((?:[^#].*\n)*)", text, re.MULTILINE):
        first = samples.split("\n", 1)[0]
        labels = frozenset(re.findall(r'([a-z_]+)="', first)) - {"le"}
        families[name] = (kind, labels)
    return families


def test_every_family_is_documented(documented, exported):
    """docs/metrics.md lists each family of the page with its type and labels."""
    assert {name: exported[name] for name in exported if documented.get(name) != exported[name]} == {}


def test_every_documented_family_exists(documented, exported):
    """docs/metrics.md lists nothing that the page cannot show."""
    assert documented.keys() - exported.keys() == set()
