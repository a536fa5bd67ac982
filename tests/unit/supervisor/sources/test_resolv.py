"""resolv.conf, and the real one behind systemd-resolved's stub."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.sources.resolv import Reader, nameservers

REAL = "nameserver 192.0.2.1\n"


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", ()),
        ("nameserver 192.0.2.1\nnameserver\t192.0.2.2 # two\n", ("192.0.2.1", "192.0.2.2")),
        ("# nameserver 192.0.2.1\nsearch example.org\noptions edns0\nnameserver\n", ()),
    ],
)
def test_nameservers(text, wanted):
    """What the lines `nameserver` say, and nothing else."""
    assert nameservers(text) == wanted


@pytest.mark.parametrize(
    "text, real, followed",
    [
        ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", REAL, True),
        ("nameserver 127.0.0.54\n", REAL, True),
        ("nameserver 127.0.0.53\nnameserver 127.0.0.54\n", REAL, True),
        ("nameserver 127.0.0.53\n", None, False),
        ("nameserver 127.0.0.53\n", "", False),
        ("nameserver 127.0.0.53\n", "nameserver 127.0.0.53\n", False),
        ("nameserver 127.0.0.53\nnameserver 192.0.2.9\n", REAL, False),
        ("nameserver 127.0.0.1\n", REAL, False),
        ("192.0.2.7 example.org\n", REAL, False),
        ("", REAL, False),
    ],
)
def test_follow(tmp_path: Path, text, real, followed):
    """A file that names only the stub stands for systemd-resolved's own, where that names anything; this is noted."""
    path, other = tmp_path / "resolv.conf", tmp_path / "real"
    path.write_text(text)
    if real is not None:
        other.write_text(real)
    reader = Reader(lambda _: None, str(other))
    assert reader.read(str(path)) == (real if followed else text)
    assert [str(path) in str(note) and str(other) in str(note) for note in reader.notes] == [True] * followed


def test_noted_once(tmp_path: Path):
    """Four server blocks with the same file make one note."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "real").write_text(REAL)
    reader = Reader(lambda _: None, str(tmp_path / "real"))
    for _ in range(4):
        reader.read(str(tmp_path / "resolv.conf"))
    assert len(reader.notes) == 1


def test_seen_before_it_is_read(tmp_path: Path):
    """Every file is told of before it is read, missing ones and the stub's real one too."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    seen: list[str] = []
    reader = Reader(seen.append, str(tmp_path / "real"))
    reader.read(str(tmp_path / "resolv.conf"))
    with pytest.raises(FileNotFoundError):
        reader.read(str(tmp_path / "none"))
    assert seen == [str(tmp_path / name) for name in ("resolv.conf", "real", "none")]
