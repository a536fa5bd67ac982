"""ConfigMaps as the kubelet mounts them, files written whole, and what has changed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from supervisor.sources import disk
from tests.fakes.configmap import ConfigMap


def test_texts(tmp_path: Path):
    """Visible files only, links followed."""
    (tmp_path / "real").write_text("b")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    assert disk.texts(str(tmp_path)) == {"link": "b", "real": "b"}


def test_texts_of_a_configmap(tmp_path: Path):
    """A mounted ConfigMap is read through ..data; its keys are the files."""
    made = ConfigMap(tmp_path / "cm", {"stubDomains": "{}", "upstreamNameservers": "[]"})
    assert disk.texts(str(made.path)) == {"stubDomains": "{}", "upstreamNameservers": "[]"}
    made.update({"stubDomains": "new"})
    assert disk.texts(str(made.path)) == {"stubDomains": "new"}


def test_no_directory(tmp_path: Path):
    """None for what is not there; an error for what cannot be read."""
    assert disk.texts(str(tmp_path / "none")) is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeError):
        disk.texts(str(tmp_path))


@pytest.mark.slow
def test_one_version_at_a_time(tmp_path: Path):
    """While a ConfigMap is exchanged again and again, all keys that are read are of one version."""
    made = ConfigMap(tmp_path / "cm", {"a": "0", "b": "0"})
    ended = threading.Event()

    def change() -> None:
        for version in range(400):
            made.update({"a": str(version), "b": str(version)})
        ended.set()

    thread = threading.Thread(target=change)
    thread.start()
    seen = set()
    while not ended.is_set():
        texts = disk.texts(str(made.path))
        assert texts is not None
        assert len(set(texts.values())) == 1
        assert len(texts) == 2
        seen.add(texts["a"])
    thread.join()
    assert len(seen) > 1


def test_write(tmp_path: Path):
    """The file is exchanged as a whole, readable for all, and left alone when it says that already."""
    path = tmp_path / "Corefile"
    assert disk.write(str(path), "one")
    before = path.stat()
    assert before.st_mode & 0o777 == 0o644
    assert not disk.write(str(path), "one")
    assert path.stat() == before
    with path.open() as old:
        assert disk.write(str(path), "two")
        assert old.read() == "one"
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["Corefile"]


def test_write_through_a_link(tmp_path: Path):
    """A link stays a link; what it leads to is written."""
    (tmp_path / "link").symlink_to("real")
    disk.write(str(tmp_path / "link"), "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"


def test_write_that_fails(tmp_path: Path):
    """A place that cannot be written raises, and nothing is left there."""
    with pytest.raises(OSError, match="No such file"):
        disk.write(str(tmp_path / "none" / "Corefile"), "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        disk.write(str(tmp_path / "folder"), "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def rewrite(path: Path) -> None:
    """Another text of the same size, in place, and with the old one's time."""
    seen = path.stat()
    time.sleep(0.02)  # longer than the kernel's clock for files stands still
    path.write_text("two")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.parametrize(
    "change, wanted",
    [
        (lambda path: None, False),
        (lambda path: path.read_text(), False),
        (rewrite, True),
        (lambda path: path.unlink(), True),
        (lambda path: path.with_name("new").write_text("one") and path.with_name("new").replace(path), True),
        (lambda path: path.with_name("other").write_text("one"), False),
    ],
)
def test_watch_a_file(tmp_path: Path, change, wanted):
    """A file that is written, exchanged or removed has changed; one beside it does not matter."""
    path = tmp_path / "file"
    path.write_text("one")
    watch = disk.Watch()
    watch.file(str(path))
    change(path)
    assert watch.has_changed() is wanted


def test_watch_a_file_that_comes(tmp_path: Path):
    """A file that was not there is seen when it comes."""
    watch = disk.Watch()
    watch.file(str(tmp_path / "file"))
    assert not watch.has_changed()
    (tmp_path / "file").write_text("")
    assert watch.has_changed()


def test_first_look_counts(tmp_path: Path):
    """A file that changes between two reads of one load is seen as changed."""
    path = tmp_path / "file"
    path.write_text("one")
    watch = disk.Watch()
    watch.file(str(path))
    rewrite(path)
    watch.file(str(path))
    assert watch.has_changed()


@pytest.mark.parametrize(
    "change, wanted",
    [
        (lambda made: None, False),
        (lambda made: made.update({"a": "1"}), True),
        (lambda made: made.update({}), True),
        (lambda made: made.update({"a": "0", "b": "0"}), True),
        (lambda made: (made.path / ".hidden").write_text("x"), False),
        (lambda made: (made.path / "but").write_text("x"), False),
        (lambda made: (made.path / "more").write_text("x"), True),
    ],
)
def test_watch_a_directory(tmp_path: Path, change, wanted):
    """A new version of the ConfigMap, a file more or less are changes; hidden files and exceptions are none."""
    made = ConfigMap(tmp_path / "cm", {"a": "0"})
    watch = disk.Watch()
    watch.directory(str(made.path), {"but"})
    change(made)
    assert watch.has_changed() is wanted


def test_watch_a_directory_that_comes(tmp_path: Path):
    """So is a directory that was not there, once there is a file in it."""
    watch = disk.Watch()
    watch.directory(str(tmp_path / "cm"))
    assert not watch.has_changed()
    ConfigMap(tmp_path / "cm", {"a": "0"})
    assert watch.has_changed()
