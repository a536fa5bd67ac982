"""A ConfigMap as the kubelet mounts it: versions in hidden directories, `..data` exchanged between them."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

_numbers = itertools.count()


class ConfigMap:
    """A mounted ConfigMap whose keys can be changed (kubernetes pkg/volume/util/atomic_writer.go)."""

    def __init__(self, path: Path, keys: Mapping[str, str]) -> None:
        """Mount it at path, which must not be there."""
        self.path = path
        path.mkdir()
        self.update(keys)

    def update(self, keys: Mapping[str, str]) -> None:
        """Nothing; from one moment to the next the keys are these."""
        data = self.path / "..data"
        old = data.resolve() if data.is_symlink() else None
        version = self.path / f"..2026_{next(_numbers)}"
        version.mkdir()
        for key, text in keys.items():
            (version / key).write_text(text)
        new = self.path / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(data)
        for key in keys:
            if not (self.path / key).is_symlink():
                (self.path / key).symlink_to(f"..data/{key}")
        for link in self.path.iterdir():
            if link.is_symlink() and link.name != "..data" and link.name not in keys:
                link.unlink()
        if old is not None:
            shutil.rmtree(old)
