"""Renders deploy/ as `kubectl kustomize` does, where no kubectl knows components (Debian 12's does not).

It covers what deploy/ uses: resources (files and folders), components, images, and strategic merge patches in files,
found by kind and name. Anything else raises, so that nothing is left out of a test in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

# How the API merges lists of objects (the patchMergeKey of its Go types); other lists are replaced.
_MERGE_KEYS = {"containers": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
_KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "images"}


def render(folder: Path, objects: list[Object] | None = None) -> list[Object]:
    """The objects of a kustomization; a component is given those to change. Raises ValueError for other features."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if strange := said.keys() - _KNOWN:
        raise ValueError(f"{folder}: {', '.join(sorted(strange))} is not known here")
    found = list(objects or [])
    for name in said.get("resources", ()):
        path = folder / name
        found += render(path) if path.is_dir() else load(path)
    for name in said.get("components", ()):
        found = render(folder / name, found)
    for patch in said.get("patches", ()):
        if patch.keys() != {"path"}:
            raise ValueError(f"{folder}: a patch must be a file")
        for change in load(folder / patch["path"]):
            _apply(found, change)
    for image in said.get("images", ()):
        for one in found:
            _rename(one, image)
    return found


def _rename(one: Object, image: Mapping[str, str]) -> None:
    """Nothing; the object's containers of that image have the new name and tag."""
    for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        name, _, tag = container["image"].partition(":")
        if name == image["name"]:
            container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def load(path: Path) -> list[Object]:
    """The objects of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def _apply(objects: list[Object], change: Object) -> None:
    """Nothing; the one object that the patch names is merged with it."""
    (at,) = (n for n, one in enumerate(objects) if identity(one) == identity(change))
    objects[at] = _merged(objects[at], change)


def identity(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _merged(old: Object, change: Object) -> Object:
    """The object with the patch's fields; null takes a field away."""
    merged = dict(old)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name, {}), value)
        elif isinstance(value, list) and name in _MERGE_KEYS:
            merged[name] = _merged_list(merged.get(name, []), value, _MERGE_KEYS[name])
        else:
            merged[name] = value
    return merged


def _merged_list(old: list[Object], changes: list[Object], key: str) -> list[Object]:
    """The list with each change merged into the element of the same key, added, or taken away ($patch: delete)."""
    merged = list(old)
    for change in changes:
        places = [n for n, one in enumerate(merged) if one[key] == change[key]]
        if change.get("$patch") == "delete":
            merged = [one for one in merged if one[key] != change[key]]
        elif places and key != "containerPort":
            merged[places[0]] = _merged(merged[places[0]], change)
        else:
            merged.append(change)
    return merged
