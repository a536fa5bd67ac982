"""What the documentation shows, works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.plan.plans import make

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
SNIPPET = re.compile(r"^```corefile\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(snippet, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    if page.is_file()
    for number, snippet in enumerate(SNIPPET.findall(page.read_text("utf-8")), 1)
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet):
    """A Corefile in the documentation parses and resolves, without a warning."""
    assert make(snippet).warnings == ()


def test_there_are_snippets():
    """The pages were found."""
    assert len(SNIPPETS) > 10


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/plugins/*.md")), ids=lambda page: page.name)
def test_links(page):
    """Links between pages lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
