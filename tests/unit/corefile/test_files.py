"""The reader of imported files."""

from __future__ import annotations

import pytest

from shardns.corefile import files


def test_file_and_pattern(tmp_path):
    """A path gives its file, a pattern all that match by name, or none."""
    for name in ("b.server", "a.server", "c.other"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert files.read(f"{tmp_path}/c.other") == [(f"{tmp_path}/c.other", "c.other")]
    assert [text for _, text in files.read(f"{tmp_path}/*.server")] == ["a.server", "b.server"]
    assert files.read(f"{tmp_path}/*.none") == []


def test_unreadable(tmp_path):
    """Missing files, folders, other encodings and giants are refused."""
    with pytest.raises(FileNotFoundError):
        files.read(f"{tmp_path}/none")
    with pytest.raises(OSError, match="not a regular file"):
        files.read(f"{tmp_path}")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UnicodeError):
        files.read(f"{tmp_path}/latin")
    with (tmp_path / "giant").open("wb") as stream:
        stream.truncate(files.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="larger than"):
        files.read(f"{tmp_path}/giant")
