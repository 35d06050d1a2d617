"""What a checkpoint's statistics contradict of what ROBOT.yaml says: units, limits, the workspace, the robot.

No file of a checkpoint says units or frames. What can be seen is where the values of training lie: nowhere
that this robot can be, or where only another unit puts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from wall_edge.bundle import Degree, Embodiment
from wall_edge.config import EmbodimentConfig, JointEntry, RobotConfig
from wall_edge.errors import CheckpointError
from wall_edge_export.inputs.statistics import Side, Statistics

_GRIPPERS = ("gripper", "jaw", "claw", "finger", "hand")
_ROOM = 0.05
"""Of a range's width: how far beside it values of training may lie before they miss it."""
_BEYOND = 0.01
"""Of the width of a per cent's range: LeRobot clamps to it."""
Ends = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class _Extent:
    """Lowest and highest value of a degree of freedom in training, of the state and of absolute actions."""

    degree: Degree
    low: float
    high: float


def refuse_contradictions(statistics: Statistics, embodiment: Embodiment, robot: RobotConfig | None) -> None:
    """Raise :class:`CheckpointError` naming a degree of freedom that cannot be what it is said to be."""
    extent = _extents(statistics, embodiment)
    section = robot.embodiment if robot is not None else None
    ends = _ends(section)
    for one in extent.values():
        if one.degree.part == "joint":
            _refuse_unit(statistics, one, ends.get(one.degree.of))
    _refuse_placeholders(statistics, embodiment)
    _refuse_columns(statistics, embodiment)
    if robot is not None:
        limits = {joint.name: (joint.lower, joint.upper) for joint in robot.joints}
        for one in extent.values():
            if one.degree.part == "joint":
                _refuse_far_joint(statistics, one, limits[one.degree.of], ends.get(one.degree.of))
            if one.degree.part == "position":
                _refuse_far_position(statistics, one, robot)


def _extents(statistics: Statistics, embodiment: Embodiment) -> dict[tuple[str, str, int, str], _Extent]:
    """By what is moved, and in which unit: a state may have another than the action."""
    extents: dict[tuple[str, str, int, str], _Extent] = {}
    for side, layout in ((statistics.action, embodiment.action), (statistics.state, embodiment.state)):
        for degree, low, high in _values(side, layout.degrees):
            key = (degree.part, degree.of, degree.index, degree.unit)
            other = extents.get(key)
            if other is not None:
                low, high = min(low, other.low), max(high, other.high)
            extents[key] = _Extent(degree, low, high)
    return extents


def _values(side: Side, degrees: tuple[Degree, ...]) -> Iterator[tuple[Degree, float, float]]:
    for degree in degrees if side.extent is not None else ():
        if degree.part != "held" and degree.reference == "absolute" and side.extent is not None:
            low, high = (float(values[degree.slot]) for values in side.extent)
            if math.isfinite(low) and math.isfinite(high):
                yield degree, low, high


def _ends(section: EmbodimentConfig | None) -> Mapping[str, Ends]:
    """By joint: the policy's values at both ends of its range, and its positions there."""
    if section is None:
        return {}
    entries = (*section.observed.values(), *section.action.values())
    mapped = [(entry, entry.ends) for entry in entries if isinstance(entry, JointEntry)]
    return {entry.joints[0]: ends for entry, ends in mapped if ends is not None}


def _refuse_unit(statistics: Statistics, extent: _Extent, ends: Ends | None) -> None:
    """Per cent taken for degrees leaves half of a gripper's travel, and the other way about.

    LeRobot's arms give a gripper in 0 to 100 of its range (``motors_bus.py``, ``RANGE_0_100``) and everything
    else in degrees or -100 to 100, clamped: a gripper whose ``values`` all lie within 0 and 100, and
    any joint that spans both ends exactly, is no angle.
    """
    joint, unit, low, high = extent.degree.of, extent.degree.unit, extent.low, extent.high
    what = f"{statistics.folder}: {joint} went from {low:.4g} to {high:.4g}"
    if unit in ("rad", "deg"):
        named = any(word in joint.lower() for word in _GRIPPERS)
        whole = abs(high - 100) < 1e-3 and min(abs(low), abs(low + 100)) < 1e-3
        if whole or (named and low >= -0.5 and 2 * math.pi < high <= 100.5):
            raise CheckpointError(
                f"{what}, per cent of its range, and not {unit}",
                expected="percent as its unit",
                fix=f"describe {joint} under embodiment in ROBOT.yaml: kind: joint, unit: percent, and range",
            )
    if unit == "percent" and ends is not None:
        first, last = sorted(ends[0])
        room = _BEYOND * (last - first)
        if low < first - room or high > last + room:
            raise CheckpointError(
                f"{what}, and its per cent from {first:g} to {last:g}",
                expected="values within",
                fix=f"set values of {joint} in ROBOT.yaml ([-100, 100]?), or its unit to deg",
            )


def _refuse_placeholders(statistics: Statistics, embodiment: Embodiment) -> None:
    """Of what a robot's data did not have, upstream says min 0, delta 1 (``wall_x/model/action_head.py``)."""
    if statistics.robot is None:
        return
    for side, layout in ((statistics.state, embodiment.state), (statistics.action, embodiment.action)):
        for pose in dict.fromkeys(d.of for d in layout.degrees if d.part == "position"):
            slots = [layout.degrees[column].slot for column in layout.columns("position", pose)]
            if side.extent is not None and all(
                np.array_equal(values[slots], [end] * 3)
                for values, end in zip(side.extent, (0.0, 1.0), strict=True)
            ):
                raise CheckpointError(
                    f"{statistics.folder}: robot {statistics.robot} had no {pose}: min 0, delta 1",
                    expected="statistics of its position",
                    fix=f"set model.robot in ROBOT.yaml, or describe what {pose} is in as padding",
                )


def _refuse_columns(statistics: Statistics, embodiment: Embodiment) -> None:
    """Upstream's ``rotation_6D`` is two rows of a matrix (``x2robot_utils/geometry.py``), no columns."""
    for layout in (embodiment.state, embodiment.action) if statistics.robot is not None else ():
        for degree in layout.degrees:
            rows = degree.part == "rotation" and "rotation_6D" in degree.name
            if rows and layout.rotations[degree.of] == "6d":
                raise CheckpointError(
                    f"{statistics.folder}: {degree.name} as two columns (6d), which turns it the other way",
                    expected="form: 6d_rows, as upstream writes it",
                    fix="correct it under embodiment in ROBOT.yaml",
                )


def _refuse_far_joint(
    statistics: Statistics, extent: _Extent, limits: tuple[float, float], ends: Ends | None
) -> None:
    low, high = extent.low, extent.high
    if extent.degree.unit == "deg":
        low, high = math.radians(low), math.radians(high)
    if ends is not None and extent.degree.unit in ("percent", "own"):
        (first, last), (start, end) = ends
        low, high = sorted(start + (value - first) / (last - first) * (end - start) for value in (low, high))
    if _missed((low, high), limits):
        unit = "m" if extent.degree.unit == "m" else "rad"
        raise _missing(statistics, extent.degree.of, (low, high), limits, unit, "the joint's limits")


def _refuse_far_position(statistics: Statistics, extent: _Extent, robot: RobotConfig) -> None:
    """Where the workspace's axes are those of the pose's numbers; others need the arm's geometry."""
    if robot.workspace is None or robot.kinematics is None:
        return
    pose = extent.degree.of
    bounds = robot.workspace.poses.get(pose)
    if bounds is None or bounds.frame != robot.kinematics.poses[pose].frame:
        return
    axis = "xyz"[extent.degree.index]
    box = None if bounds.box is None else getattr(bounds.box, axis)
    if box is not None and _missed((extent.low, extent.high), box):
        raise _missing(statistics, f"{axis} of {pose}", (extent.low, extent.high), box, "m", "the workspace")


def _missed(extent: tuple[float, float], allowed: tuple[float, float]) -> bool:
    room = _ROOM * (allowed[1] - allowed[0])
    return extent[1] < allowed[0] - room or extent[0] > allowed[1] + room


def _missing(
    statistics: Statistics,
    what: str,
    extent: tuple[float, float],
    allowed: tuple[float, float],
    unit: str,
    whose: str,
) -> CheckpointError:
    of = "" if statistics.robot is None else f" of robot {statistics.robot}"
    other = "take this robot's policy" if statistics.robot is None else "set model.robot to this robot's"
    return CheckpointError(
        f"{statistics.folder}: statistics{of}: {what} went from {extent[0]:.4g} to {extent[1]:.4g} {unit}",
        expected=f"some of {whose}, {allowed[0]:.4g} to {allowed[1]:.4g} {unit}",
        fix=f"{other}, or correct unit, frame, range or limits in ROBOT.yaml",
    )
