"""The door to the C core: `ffi` and `lib`. The headers beside this file are its documentation."""

from shardns.core._core import ffi, lib  # type: ignore[import-not-found, unused-ignore]  # built by build.py, has no stub

__all__ = ["ffi", "lib"]
