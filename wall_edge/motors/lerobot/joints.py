"""What ROBOT.yaml can say of a joint that LeRobot calibrated; None is a gap that a person must fill."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from wall_edge_bridge.kinds import kind_named

from wall_edge.checks import between
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.motors.lerobot.calibration import MotorCalibration
from wall_edge.motors.lerobot.units import GRIPPER, Units, end_values, mode_of

TURN = 4096
"""Ticks."""
_RADIANS = 2.0 * math.pi / TURN
_BESIDE_WRAP = 13
"""Ticks (0.02 rad) that limits stay away from where a count begins anew."""
_NEARLY_A_TURN = 4000
_BARELY = 100
"""Ticks (9°): no joint of an arm has so little."""
_UNMEASURED = (-90, 90)
_STAND_INS = {"lower": -1.0, "upper": 1.0, "max_velocity": 1.0}
"""For gaps, to see whether the rest can be meant."""


class JointPlan(NamedTuple):
    """One joint: its entry in ``joints``, what the policy has of it, and what a person should know."""

    keys: dict[str, Any]
    entry: dict[str, Any]
    note: str = ""


def plan_joint(kind: str, name: str, motor: MotorCalibration, units: Units | None, where: str) -> JointPlan:
    """``where`` begins messages. Raises ConfigError for what motors of this kind cannot be."""
    try:
        plan = _PLANS[kind](name, motor, units)
    except Invalid as problem:
        raise Invalid(
            f"{where}: {name}.{problem.key}", problem.value, expected=problem.expected, fix=problem.fix
        ) from None
    values = {key: value for key, value in plan.keys.items() if value is not None}
    from_mapping(kind_named(kind).joint, {**_STAND_INS, **values}, where, path=name)
    return plan


def _feetech(name: str, motor: MotorCalibration, units: Units | None) -> JointPlan:
    """The servo's offset is in its memory, and in every tick that it reports."""
    between("range_min", motor.range_min, 0, TURN - 1, "ticks")
    between("range_max", motor.range_max, 0, TURN - 1, "ticks")
    note = _require_no_wrap(name, motor) or _barely_moved(motor)
    zero = (motor.range_min + motor.range_max + 1) // 2
    ends = max(motor.range_min, _BESIDE_WRAP), min(motor.range_max, TURN - 1 - _BESIDE_WRAP)
    keys = _in_ticks(name, motor, zero, ends)
    return JointPlan(keys, _line(name, motor, units, zero, reversible=True), note)


def _dynamixel(name: str, motor: MotorCalibration, units: Units | None) -> JointPlan:
    """In extended position mode, as LeRobot sets them: an offset beyond a quarter turn counts there alone."""
    zero = (motor.range_min + motor.range_max + 1) // 2
    keys = _in_ticks(name, motor, zero, (motor.range_min, motor.range_max))
    keys |= {"extended": True, "reverse": bool(motor.drive_mode & 1)}
    note = _barely_moved(motor)
    if name.endswith(GRIPPER) and not note:
        note = "LeRobot leaves a gripper in mode 5: set register 11 to 4 (extended position)"
    return JointPlan(keys, _line(name, motor, units, zero, reversible=False), note)


def _on_can(name: str, motor: MotorCalibration, units: Units | None) -> JointPlan:  # noqa: ARG001 - always degrees
    """LeRobot's file has degrees there, and its zero is the motor's own."""
    between("range_min", motor.range_min, -360, 360, "degrees")
    between("range_max", motor.range_max, -360, 360, "degrees")
    ends = (motor.range_min, motor.range_max)
    measured = ends != _UNMEASURED
    lower, upper = (round(math.radians(end), 6) if measured else None for end in ends)
    keys: dict[str, Any] = {"name": name, "id": motor.id, "model": None, "lower": lower, "upper": upper}
    keys |= {"max_velocity": None, "max_acceleration": None, "kp": None, "kd": None}
    keys |= {"zero_rad": 0.0, "direction": 1}
    note = "" if measured else "LeRobot writes -90 to 90 of an OpenArm's joints, unmeasured: a gap here"
    return JointPlan(keys, {"kind": "joint", "joint": name, "unit": "deg"}, note)


_PLANS: dict[str, Callable[[str, MotorCalibration, Units | None], JointPlan]] = {
    "feetech": _feetech,
    "dynamixel": _dynamixel,
    "damiao": _on_can,
    "robstride": _on_can,
}
KINDS = tuple(_PLANS)
"""Kinds of drive that LeRobot has a class for, as we do."""
COUNTED = ("feetech", "dynamixel")
"""Those whose values depend on ``use_degrees``."""


def _in_ticks(name: str, motor: MotorCalibration, zero: int, ends: tuple[int, int]) -> dict[str, Any]:
    lower, upper = (round((end - zero) * _RADIANS, 6) for end in ends)
    keys = {"name": name, "id": motor.id, "lower": lower, "upper": upper}
    keys |= {"max_velocity": None, "max_acceleration": None, "zero_ticks": zero, "direction": 1}
    return keys | {"homing_offset": motor.homing_offset, "range_ticks": [motor.range_min, motor.range_max]}


def _line(
    name: str, motor: MotorCalibration, units: Units | None, zero: int, *, reversible: bool
) -> dict[str, Any]:
    if units is None:
        raise Invalid("units", None, expected="degrees or m100")
    mode = mode_of(name, units)
    values = [round(value, 9) for value in end_values(mode, motor, reversible=reversible)]
    ends = [round((end - zero) * _RADIANS, 9) for end in (motor.range_min, motor.range_max)]
    unit = "own" if mode == "degrees" else "percent"
    return {"kind": "joint", "joint": name, "unit": unit, "values": values, "range": ends}


def _barely_moved(motor: MotorCalibration) -> str:
    """LeRobot refuses a joint that never moved; one that was touched has a range that a policy cannot use."""
    few = motor.range_max - motor.range_min < _BARELY
    return f"its range is less than {_BARELY} ticks: was it moved in lerobot-calibrate?" if few else ""


def _require_no_wrap(name: str, motor: MotorCalibration) -> str:
    """LeRobot writes a whole turn of ``wrist_roll``; of another joint it means that its count wrapped."""
    span = motor.range_max - motor.range_min
    if span < _NEARLY_A_TURN:
        return ""
    if span == TURN - 1 and name.endswith("wrist_roll"):
        return "turns without an end, and its count begins anew there"
    raise Invalid(
        "range_min",
        motor.range_min,
        expected=f"less than {_NEARLY_A_TURN} ticks up to range_max ({motor.range_max}): its count wrapped "
        "inside of its range, or it turns without an end",
        fix="run lerobot-calibrate with this joint in the middle of its range at the first Enter",
    )
