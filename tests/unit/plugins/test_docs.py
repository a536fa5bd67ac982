"""What the documentation shows, works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shardns.plugins import api, order
from tests.unit.plan.plans import make
from tests.unit.plugins.setups import Setup

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


def heads(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """Links lead to files and headings that exist."""
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or anchor in heads(there), f"{target}#{anchor}"


# What a plugin's options are, is in its module alone: the head has their syntax, setup() the words.


def syntax(name: str) -> list[str]:
    """The syntax in the head of a plugin's module, without notes on CoreDNS's versions."""
    head = (order.plugin(name).__doc__ or "").split("\n\n")[1]  # a module has one
    return [re.sub(r" {2,}\(.*", "", line) for line in head.strip().splitlines()]


@pytest.fixture(name="words")
def words_fixture(monkeypatch):
    """The options of each plugin: those that it takes, and those that it refuses by name."""
    found: dict[str, tuple[set[str], set[str]]] = {}

    def options(plugin, config, _directive, _scope, known, *, refused=(), **_):
        found[plugin] = (set(known), set(refused))
        return config

    monkeypatch.setattr(api, "options", options)
    for name in order.BUILT_NAMES:
        Setup(f"{name} {LEAST.get(name, '')}")
    return found


LEAST = {"bind": "192.0.2.1", "forward": ". 192.0.2.53", "template": "IN A"}


@pytest.mark.parametrize("name", order.BUILT_NAMES)
def test_options(name, words):
    """Every option that a plugin takes stands in its syntax, and none besides."""
    told = {line.split()[0] for line in syntax(name)[1:-1]} - {"ADDRESS"}
    assert words.get(name, (set(), set()))[0] == told


@pytest.mark.parametrize("name", order.BUILT_NAMES)
def test_page(name, words):
    """A plugin's page shows that syntax, and names the options of CoreDNS that are refused."""
    text = (ROOT / "docs" / "plugins" / f"{name}.md").read_text("utf-8")
    block = text.partition("## Syntax")[2].split("```")[1]
    assert block.strip().splitlines() == syntax(name)
    assert [word for word in words.get(name, (set(), set()))[1] if f"`{word}`" not in text] == []


def test_tables_of_plugins():
    """Both tables say of each plugin of the one list whether it is built, in its order; README lists those that are."""
    rows = re.findall(
        r"^\| \[?([a-z0-9]+)\]?(?:\([a-z0-9]+\.md\))? \| (yes|no) \|",
        (ROOT / "docs/plugins/README.md").read_text(),
        re.MULTILINE,
    )
    assert [name for name, built in rows if built == "yes"] == list(order.BUILT_NAMES)
    assert [name for name, _ in rows] == [name for name in order.NAMES if name in dict(rows)]
    listed = re.findall(r"^\| ([a-z]+) \| \[docs/plugins/", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(order.BUILT_NAMES)
