"""The list of plugins, and that each built one is complete."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from shardns.plugins import api, order

DOCS = Path(__file__).parents[3] / "docs" / "plugins"
SECTIONS = ["Name", "Description", "Syntax", "Metrics", "Examples", "Differences"]


def test_order():
    """The order is node-cache's: cache above all that makes answers, log and errors above cache."""
    places = [order.NAMES.index(name) for name in ("reload", "bind", "health", "prometheus", "errors", "log", "cache")]
    below = [order.NAMES.index(name) for name in ("cache", "rewrite", "template", "hosts", "loop", "forward", "whoami")]
    assert places == sorted(places)
    assert below == sorted(below)
    assert len(set(order.NAMES)) == len(order.NAMES)
    assert not order.EXTERNAL.intersection(order.NAMES)


@pytest.mark.parametrize("name", order.BUILT_NAMES)
def test_complete(name):
    """A built plugin has its module, a frozen Config whose defaults can be told apart by value, and a test file."""
    module = order.plugin(name)
    assert name == module.NAME
    assert isinstance(module.FACETS, frozenset)
    assert module.__doc__
    config = vars(module)["Config"]
    assert dataclasses.is_dataclass(config)
    assert vars(config)["__dataclass_params__"].frozen
    assert (Path(__file__).parent / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", order.BUILT_NAMES)
def test_docs_page(name):
    """A built plugin has a page with every section, in order, that begins with its name."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert f"*{name}* - " in text


def test_no_page_without_plugin():
    """Pages are of built plugins."""
    assert {page.stem for page in DOCS.glob("*.md")} - {"README"} == set(order.BUILT_NAMES)


def test_not_built():
    """A known plugin that is not built has no module to give."""
    assert order.is_known("kubernetes")
    assert not order.is_known("frobnicate")
    with pytest.raises(LookupError):
        order.plugin("kubernetes")


def test_facets_are_words():
    """Facets are told by words that fit a log line."""
    assert json.dumps([facet.value for facet in api.Facet]) == '["do", "cd", "family", "transport"]'
