"""``drives`` and ``joints`` of ROBOT.yaml: buses with motors, and what they move.

Each kind of drive owns its keys (``wall_edge_bridge.kinds``); nothing here knows one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wall_edge_bridge.drives import DriveSettings, Joint
from wall_edge_bridge.kinds import KINDS, kind_named

from wall_edge.checks import MAX_DOF, counted, require_name, require_unique
from wall_edge.config.places import device_of, place_key, same_device
from wall_edge.config_loader import Invalid, from_mapping, require_choice
from wall_edge.errors import ConfigError

Drives = Mapping[str, DriveSettings]


def read_drives(data: object, where: str) -> dict[str, DriveSettings]:
    """The ``drives`` of a document, each read by its kind. Raises ConfigError."""
    entries = from_mapping(dict[str, dict[str, object]], data, where, path="drives")
    if not entries:
        raise ConfigError(f"{where}: drives is empty", expected="at least one")
    drives: dict[str, DriveSettings] = {}
    for name, entry in entries.items():
        path = f"drives.{name}"
        if "kind" not in entry:
            raise ConfigError(f"{where}: {path}.kind is missing", expected=_kinds())
        word = require_choice(KINDS, entry["kind"], where, f"{path}.kind")
        try:
            kind = kind_named(word)
        except ConfigError as problem:  # its library is not installed
            raise ConfigError(f"{where}: {path}.kind: {problem}") from None
        drives[name] = from_mapping(kind.settings, entry, where, path=path)
    return drives


def read_joints(data: object, drives: Drives, where: str) -> tuple[Joint, ...]:
    """The ``joints`` of a document, each read by the kind of its drive, which is filled in.

    Raises ConfigError.
    """
    entries = from_mapping(tuple[dict[str, object], ...], data, where, path="joints")
    if len(entries) > MAX_DOF:
        raise ConfigError(f"{where}: joints has {len(entries)} entries", expected=f"at most {MAX_DOF}")
    joints = []
    for index, entry in enumerate(entries):
        path = f"joints[{index}]"
        if "drive" not in entry and len(drives) > 1:
            raise ConfigError(f"{where}: {path}.drive is missing", expected=" or ".join(map(repr, drives)))
        name = require_choice(drives, entry.get("drive", next(iter(drives))), where, f"{path}.drive")
        joint = from_mapping(kind_named(drives[name].kind).joint, entry, where, path=path)
        joints.append(replace(joint, drive=name))
    return tuple(joints)


def check_drives(drives: Drives, joints: Sequence[Joint], *, simulated: bool) -> None:
    """Whether drives and joints fit each other. Raises Invalid, ConfigError."""
    counted("drives", drives, 1, MAX_DOF)
    if not 1 <= len(joints) <= MAX_DOF:
        raise Invalid("joints", list(joints), expected=f"at least one joint, at most {MAX_DOF}")
    require_unique("joints", [joint.name for joint in joints], "name")
    _require_motors(drives, joints)
    for name, settings in drives.items():
        require_name(f"drives.{name}", name)
        if not simulated and not settings.place:
            expected = "where its motors are (or simulated: true)"
            raise ConfigError(f"drives.{name}.{place_key(settings)} is missing", expected=expected)
    if simulated:  # nothing is opened there
        return
    if twice := same_device({name: device_of(settings) for name, settings in drives.items()}):
        first, second = twice
        key = f"drives.{second}.{place_key(drives[second])}"
        raise Invalid(key, drives[second].place, expected=f"another device than that of drives.{first}")


def _require_motors(drives: Drives, joints: Sequence[Joint]) -> None:
    motors: dict[tuple[str, int], int] = {}
    for index, joint in enumerate(joints):
        if joint.drive not in drives:
            raise Invalid(f"joints[{index}].drive", joint.drive, expected=" or ".join(map(repr, drives)))
        first = motors.setdefault((joint.drive, joint.id), index)
        if first != index:
            expected = f"a value other than that of joints[{first}], also on drives.{joint.drive}"
            raise Invalid(f"joints[{index}].id", joint.id, expected=expected)
    idle = set(drives) - {joint.drive for joint in joints}
    for name in drives:
        if name in idle:
            expected = f"a joint with drive: {name}, or no such drive"
            raise ConfigError(f"drives.{name} moves no joint", expected=expected)


def _kinds() -> str:
    return " or ".join(map(repr, KINDS))
