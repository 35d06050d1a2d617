"""The data of a ROBOT.yaml and of the files that it extends, in the second edition.

``extends: robot.yaml`` takes another file's values for all that this one does not say. Mappings are merged
key by key, but one of another ``kind`` replaces the whole; ``joints`` are merged by their names, new ones
behind the others; other lists, numbers and null (a value like others) replace what was there. A relative path
is relative to the file that it stands in.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wall_edge.config.document.editions import WholeList, is_first_edition, second_edition, with_kind
from wall_edge.config.places import absolute, is_path
from wall_edge.config_loader import read_yaml
from wall_edge.errors import ConfigError
from wall_edge.files import shown

EXTENDS = "extends"
_MAX_FILES = 5
_NOTE = " (first edition: drive is drives.arm and joints)"
"""Keys of messages are the second edition's."""


def read_document(path: Path) -> tuple[object, str]:
    """The merged data, and how to name its files in a message. Raises :class:`ConfigError`.

    The paths of a file that extends nothing are left as they are; else all are absolute, so that they can be
    compared with one another.
    """
    return complete(read_yaml(path), path)


def complete(data: object, path: Path) -> tuple[object, str]:
    """As :func:`read_document`, of data that stands, or is to stand, in ``path``."""
    if not isinstance(data, Mapping):
        return data, shown(path)
    first, name = is_first_edition(data), _named(path, data)
    if EXTENDS not in data:
        document = second_edition(data, name)
        return with_kind(document) if first else document, name
    documents, files, names = [_with_absolute_paths(data, path)], [path], [name]
    while EXTENDS in documents[-1]:
        base = _base(documents[-1].pop(EXTENDS), files)
        data = _read_base(base, files[-1])
        first = first or is_first_edition(data)
        documents.append(_with_absolute_paths(data, base))
        files.append(base)
        names.append(_named(base, data))
    # From the last base on: what a file in the middle replaces must not come back.
    whole = functools.reduce(merged, reversed(documents))
    return with_kind(whole) if first else whole, f"{names[0]} (extends {', '.join(names[1:])})"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``changes`` says put over it; neither is changed."""
    result = _merged(base, changes)
    before, joints = base.get("joints"), changes.get("joints")
    if isinstance(before, list) and isinstance(joints, list) and not isinstance(joints, WholeList):
        result["joints"] = _joints_by_name(before, joints)
    return result


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _same_kind(before, value):
            result[key] = _merged(before, value)
        else:
            result[key] = value
    return result


def _same_kind(before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" not in before or "kind" not in value or bool(before["kind"] == value["kind"])


def _joints_by_name(before: list[Any], changes: list[Any]) -> list[Any]:
    """In the order of ``before``. An entry without a name is left to whoever checks it."""
    result = list(before)
    places = {name: index for index, joint in enumerate(before) if (name := _joint_name(joint)) is not None}
    for joint in changes:
        index = places.get(_joint_name(joint) or "")
        if index is None:
            result.append(joint)
        else:
            result[index] = {**result[index], **joint}
    return result


def _joint_name(joint: object) -> str | None:
    name = joint.get("name") if isinstance(joint, Mapping) else None
    return name if isinstance(name, str) else None


def _named(path: Path, data: object) -> str:
    return f"{shown(path)}{_NOTE}" if is_first_edition(data) else shown(path)


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


def _with_absolute_paths(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """In the second edition. What is no path, or no text, is left to whoever checks it."""
    result, folder = second_edition(data, _named(path, data)), path.parent
    if isinstance(result.get("bundle"), str):
        result["bundle"] = str((folder / result["bundle"]).absolute())
    if "kinematics" in result:
        result["kinematics"] = _absolute(result["kinematics"], "urdf", folder)
    drives, cameras, sinks = result.get("drives"), result.get("cameras"), result.get("sinks")
    if isinstance(drives, Mapping):
        result["drives"] = {name: _with_absolute_place(drive, folder) for name, drive in drives.items()}
    if isinstance(cameras, Mapping):
        result["cameras"] = {name: _absolute(camera, "device", folder) for name, camera in cameras.items()}
    if isinstance(sinks, Mapping):
        result["sinks"] = {name: _absolute(sink, "path", folder) for name, sink in sinks.items()}
    return result


def _with_absolute_place(drive: Any, folder: Path) -> Any:
    drive = _absolute(drive, "port", folder)
    if isinstance(drive, Mapping) and is_path(drive.get("interface"), drive.get("channel")):
        drive = _absolute(drive, "channel", folder)
    return drive


def _absolute(section: Any, key: str, folder: Path) -> Any:
    if not isinstance(section, Mapping) or not isinstance(section.get(key), str):
        return section
    return {**section, key: absolute(section[key], folder)}
