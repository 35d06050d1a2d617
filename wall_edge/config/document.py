"""The data of a ROBOT.yaml and of the files that it extends.

``extends: robot.yaml`` takes another file's values for all that this one does not say. Mappings are merged
key by key, but one of another ``kind`` replaces the whole; lists, numbers and null (a value like others)
replace what was there. A relative path is relative to the file that it stands in.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wall_edge.config.places import absolute
from wall_edge.config_loader import read_yaml
from wall_edge.errors import ConfigError
from wall_edge.files import shown

EXTENDS = "extends"
_MAX_FILES = 5


def read_document(path: Path) -> tuple[object, str]:
    """The merged data, and how to name its files in a message. Raises :class:`ConfigError`.

    The paths of a file that extends nothing are left as they are; else all are absolute, so that they can be
    compared with one another.
    """
    data = read_yaml(path)
    if not isinstance(data, Mapping) or EXTENDS not in data:
        return data, shown(path)
    documents, files = [_with_absolute_paths(data, path.parent)], [path]
    while EXTENDS in documents[-1]:
        base = _base(documents[-1].pop(EXTENDS), files)
        documents.append(_with_absolute_paths(_read_base(base, files[-1]), base.parent))
        files.append(base)
    # From the last base on: what a file in the middle replaces must not come back.
    whole = functools.reduce(merged, reversed(documents))
    return whole, f"{shown(path)} (extends {', '.join(shown(file) for file in files[1:])})"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``changes`` says put over it; neither is changed."""
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _same_kind(before, value):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def _same_kind(before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" not in before or "kind" not in value or bool(before["kind"] == value["kind"])


def _base(name: object, files: list[Path]) -> Path:
    where = shown(files[-1])
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise ConfigError(
            f"{where}: {EXTENDS} is {shown(repr(name), 80)}", expected="the path of a ROBOT.yaml"
        )
    base = files[-1].parent / name
    if any(os.path.realpath(base) == os.path.realpath(file) for file in files):
        names = ", which extends ".join(shown(file) for file in (*files, base))
        raise ConfigError(f"{names}: a circle", expected="a file that does not extend this one")
    if len(files) == _MAX_FILES:
        chain = f"{shown(files[0])} extends more than {_MAX_FILES - 1} files, one after the other"
        raise ConfigError(chain, expected=f"at most {_MAX_FILES - 1}", fix="extend the last one directly")
    return base


def _read_base(base: Path, file: Path) -> Mapping[str, Any]:
    try:
        data = read_yaml(base)
    except ConfigError as problem:
        raise ConfigError(f"{shown(file)}: {EXTENDS}: {problem}") from None
    if not isinstance(data, Mapping):
        raise ConfigError(f"{shown(base)}: no mapping", expected=f"a ROBOT.yaml, as {shown(file)} extends it")
    return data


def _with_absolute_paths(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What is no path, or no text, is left to whoever checks it."""
    result = dict(data)
    if isinstance(data.get("bundle"), str):
        result["bundle"] = str((folder / data["bundle"]).absolute())
    drive, cameras = data.get("drive"), data.get("cameras")
    if isinstance(drive, Mapping) and isinstance(drive.get("port"), str) and drive["port"] != "sim":
        result["drive"] = {**drive, "port": absolute(drive["port"], folder)}
    if isinstance(cameras, Mapping):
        result["cameras"] = {name: _with_absolute_device(camera, folder) for name, camera in cameras.items()}
    return result


def _with_absolute_device(camera: Any, folder: Path) -> Any:
    if not isinstance(camera, Mapping) or not isinstance(camera.get("device"), str):
        return camera
    return {**camera, "device": absolute(camera["device"], folder)}
