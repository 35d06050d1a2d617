"""A ROBOT.yaml of what LeRobot's calibration files say, with gaps that keep it from being loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from wall_edge_bridge.drives import CanSettings
from wall_edge_bridge.kinds import kind_named

from wall_edge.motors.lerobot.geometry import Geometry
from wall_edge.motors.lerobot.joints import JointPlan

GAP = "GAP"
_HINTS = {
    "bundle": "the folder that 'wall-edge export … --out' writes, relative to this file",
    "rest": "where the arm can go limp without falling [rad], one number a joint",
    "port": "its port, best its name under /dev/serial/by-id",
    "channel": "its channel, as can0; data_bitrate: 5000000 where its motors speak CAN FD",
    "joints": "what a joint must never exceed: max_velocity [rad/s], max_acceleration [rad/s²]",
    "gains": "and the motors' model, kp [Nm/rad], kd [Nm·s/rad], limits [rad] that nobody measured",
    "geometry": "URDF position = scale · position here + offset; scale is 1 or -1, offset in rad",
    "poses": "NAME: {base: LINK, tip: LINK, frame: LINK}; {} where the policy commands joints",
    "cameras": "NAME: {kind: opencv, device: …, width: …, height: …, rate_hz: …}, named as in training",
}


@dataclass
class Draft:
    """Arms that were read, by the name of their bus, and what a person said beside them."""

    name: str
    kind: str
    sources: Sequence[str]
    """The calibration files, for the first line."""
    ports: Mapping[str, str | None]
    """By bus."""
    plans: Mapping[str, Sequence[JointPlan]]
    """By bus."""
    geometry: Geometry | None = None
    bounds: Mapping[str, float | None] = field(default_factory=dict)
    """max_velocity and max_acceleration for all joints."""

    def document(self) -> dict[str, Any]:
        """The data; None is a gap."""
        data: dict[str, Any] = {"name": self.name, "bundle": None, "control": {"rest": None}}
        data["drives"] = {bus: self._drive(port) for bus, port in self.ports.items()}
        data["joints"] = [self._joint(bus, plan) for bus, plans in self.plans.items() for plan in plans]
        entries = [plan.entry for plans in self.plans.values() for plan in plans]
        data["embodiment"] = {"action": {f"{entry['joint']}.pos": entry for entry in entries}}
        if self.geometry is not None:
            data["kinematics"] = self.geometry.section
        return data | {"cameras": None}

    def _drive(self, port: str | None) -> dict[str, Any]:
        on_can = issubclass(kind_named(self.kind).settings, CanSettings)
        rate = {"bitrate": 1_000_000} if on_can else {"baudrate": 1_000_000}
        return {"kind": self.kind, "channel" if on_can else "port": port, **rate}

    def _joint(self, bus: str, plan: JointPlan) -> dict[str, Any]:
        keys = {"name": plan.keys["name"], **({"drive": bus} if len(self.ports) > 1 else {}), **plan.keys}
        fastest = [self.geometry.speeds.get(keys["name"]) if self.geometry else None]
        fastest.append(self.bounds.get("max_velocity"))
        keys["max_velocity"] = min((each for each in fastest if each is not None), default=None)
        keys["max_acceleration"] = self.bounds.get("max_acceleration")
        return keys


def gaps(data: object, path: str = "") -> Iterator[str]:
    """Dotted keys of what is null."""
    if data is None:
        yield path
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from gaps(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from gaps(value, f"{path}[{index}]")


def spelt(draft: Draft) -> str:
    """The document as YAML with comments: what is a gap, and what fills it."""
    data = draft.document()
    files = ", ".join(draft.sources)
    lines = [
        f"# From LeRobot's {files} by 'wall-edge init'. null is a gap: until it is filled, loading this file",
        "# ends at it by its name. docs/lerobot.md says how to find each value.",
        f"name: {_flow(data['name'])}",
        _filled("bundle: ", data["bundle"], "bundle"),
        "control:",
        _filled("  rest: ", data["control"]["rest"], "rest"),
        "drives:",
    ]
    for bus, drive in data["drives"].items():
        place = "channel" if "channel" in drive else "port"
        lines.append(_filled(f"  {bus}: ", drive, place))
    lines += ["", *_joints(data["joints"]), "", *_embodiment(data["embodiment"]["action"])]
    if "kinematics" in data:
        lines += ["", *_kinematics(data["kinematics"])]
    return "\n".join([*lines, "", _filled("cameras: ", data["cameras"], "cameras"), ""])


def _joints(joints: Sequence[Mapping[str, Any]]) -> list[str]:
    if "zero_ticks" in joints[0]:
        lines = ["# 0 rad is the middle of the swept range. Limits are its ends, or 0.02 rad before a wrap."]
        lines.append("# homing_offset and range_ticks are compared with the motor's memory before power.")
    else:
        lines = ["# 0 rad is the motor's own zero. LeRobot 0.4 sets an OpenArm's anew whenever it connects."]
    if any(joint["max_velocity"] is None or joint["max_acceleration"] is None for joint in joints):
        lines.append(f"# {GAP}: {_HINTS['joints']}")
    if "kp" in joints[0]:
        lines.append(f"# {GAP}: {_HINTS['gains']}")
    return [*lines, "joints:", *(f"  - {_flow(joint)}" for joint in joints)]


def _embodiment(entries: Mapping[str, Any]) -> list[str]:
    lines = ["# What the policy has, in LeRobot's own numbers; values stand for the ends of range [rad]."]
    return [
        *lines,
        "embodiment:",
        "  action:",
        *(f"    {name}: {_flow(entry)}" for name, entry in entries.items()),
    ]


def _kinematics(section: Mapping[str, Any]) -> list[str]:
    return [
        "kinematics:",
        f"  urdf: {_flow(section['urdf'])}",
        _filled("  poses: ", section["poses"], "poses"),
        f"  joints:  # {GAP}: {_HINTS['geometry']}",
        *(f"    {name}: {_flow(entry)}" for name, entry in section["joints"].items()),
    ]


def _filled(key: str, value: object, hint: str) -> str:
    line = f"{key}{_flow(value)}"
    return f"{line}  # {GAP}: {_HINTS[hint]}" if list(gaps(value)) else line


def _flow(value: object) -> str:
    """On one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()
