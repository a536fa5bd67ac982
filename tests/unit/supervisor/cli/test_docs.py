"""docs/cli.md and --help against the flags and subcommands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.cli import flags, texts
from supervisor.cli.main import SUBCOMMANDS

PAGE = (Path(__file__).parents[4] / "docs" / "cli.md").read_text("utf-8")
ROWS = [row for row in PAGE.splitlines() if row.startswith("| `-")]


def cells(row: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_flag_has_a_row():
    """The tables name every flag by every name, and nothing else."""
    told = {name for row in ROWS for name in re.findall(r"`--?([a-z][a-z.-]*)", cells(row)[0])}
    assert told == {name for flag in flags.ALL for name in (flag.name, *flag.aliases)}


@pytest.mark.parametrize("flag", flags.ALL, ids=lambda flag: flag.name)
def test_defaults(flag):
    """A row has the flag's default."""
    (row,) = [row for row in ROWS if re.search(rf"`--?{re.escape(flag.name)}[ `]", cells(row)[0])]
    told = cells(row)[1].strip("`")
    assert told == flag.default or (flag.name, told) in {
        ("control", "@shardns/…"),  # which stands for a name that is made up
        ("corefile", ""),  # it does nothing
        *((word, "") for word in ("version", "plugins")),
    }


@pytest.mark.parametrize("text", [PAGE.partition("##")[0], texts.usage()], ids=["page", "help"])
def test_subcommands(text):
    """The head of the page and --help list every subcommand."""
    assert set(re.findall(r"^ +shardns ([a-z]+)", text, re.MULTILINE)) == set(SUBCOMMANDS)


def test_sections():
    """Every subcommand has a section."""
    titles = re.findall(r"^## shardns (.*)$", PAGE, re.MULTILINE)
    assert {word for title in titles for word in title.split(", ")} | {"teardown"} == set(SUBCOMMANDS)
