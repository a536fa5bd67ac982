"""Loading libraries without what they bring along for uses that are not ours.

A process of ours is one of four, and what it does not load it does not hold; nor does the start wait for it. Whoever
asks for such a module later gets it, and where somebody has loaded it before, nothing is kept out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import cast


class _Hollow(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def absent(*names: str) -> contextlib.AbstractContextManager[None]:
    """Inside, these modules cannot be imported: for libraries that can do without."""
    return _instead(dict.fromkeys(names))


def hollow(*names: str) -> contextlib.AbstractContextManager[None]:
    """Inside, these modules are full of empty classes: for libraries that need no more than the names."""
    return _instead({name: _Hollow(name) for name in names})


@contextlib.contextmanager
def _instead(modules: dict[str, ModuleType | None]) -> Iterator[None]:
    """Inside, those that are not loaded yet are these."""
    ours = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(cast("dict[str, ModuleType]", ours))
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]
