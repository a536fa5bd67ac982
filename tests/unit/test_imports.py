"""What a process of shardns does not load."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

from shardns.imports import absent, hollow

SPARE = ["ssl", "_ssl", "_hashlib", "http.server", "urllib.request", "shutil", "decimal", "difflib", "pyroute2", "rich"]


def test_nothing_spare_is_loaded():
    """A supervisor that is about to fork holds no OpenSSL, no HTTP client and nothing else that only others need."""
    code = (
        "import sys, supervisor.cli, supervisor.loop, supervisor.children; supervisor.children.preload();"
        f"print([name for name in {SPARE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch):
    """Nobody has loaded colorsys, of all modules."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)


def test_absent():
    """Inside there is no such module, afterwards there is; one that was loaded before stays."""
    with absent("colorsys", "json"):
        with pytest.raises(ImportError):
            import_module("colorsys")
        assert import_module("json") is json
    assert hasattr(import_module("colorsys"), "rgb_to_yiq")


def test_hollow():
    """Inside, whatever is asked for is a class of its own to be a base; afterwards the module is the real one."""
    with hollow("colorsys", "json"):
        thing = import_module("colorsys").Thing
        assert import_module("json") is json
    assert issubclass(type("Ours", (thing,), {}), thing)
    assert not hasattr(import_module("colorsys"), "Thing")


def test_a_stand_in_leaves_no_trace():
    """Not even when what is done inside fails."""
    with pytest.raises(ZeroDivisionError), hollow("colorsys"):
        raise ZeroDivisionError
    assert "colorsys" not in sys.modules
