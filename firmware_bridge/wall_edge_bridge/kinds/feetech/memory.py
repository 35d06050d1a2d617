"""What a Feetech servo has in its own memory, compared with the joint that ROBOT.yaml describes."""

from __future__ import annotations

import math
from typing import Any

from wall_edge.errors import DriveError
from wall_edge_bridge.kinds.feetech.bus import Answer, Block
from wall_edge_bridge.kinds.feetech.registers import STS3215, TICKS_PER_TURN, radians_to_ticks
from wall_edge_bridge.kinds.feetech.settings import FeetechJoint

SETTINGS = Block.of(STS3215["min_angle"], STS3215["torque_limit"])
"""One read of 41 bytes a servo, before power."""
_RANGE = ("min_angle", "max_angle")
_EXPECTED = {"operating_mode": 0, "angular_resolution": 1}
_NEEDED = ("max_torque", "torque_limit")
_CHANGE = "change the servo's setting or ROBOT.yaml; nothing was switched"
_CALIBRATED_ANEW = "it is another arm, or was calibrated since: run 'wall-edge init' on its calibration file"


def require_settings(joint: FeetechJoint, answer: Answer) -> None:
    """Refuse a servo that would not go where the joint may be sent, or would report something else.

    Raises DriveError naming joint, register and both values.
    """
    for name, expected in _EXPECTED.items():
        if (actual := answer.value(STS3215[name])) != expected:
            raise _contradiction(joint, name, actual, str(expected))
    for name in _NEEDED:
        if answer.value(STS3215[name]) == 0:
            raise _contradiction(joint, name, 0, "above 0: a servo without torque holds nothing")
    _require_calibration(joint, answer)
    _require_reach(joint, answer)


def calibration_in(answer: Answer) -> dict[str, Any]:
    """The keys of a joint that say what its servo's memory holds."""
    ends = tuple(answer.value(STS3215[name]) for name in _RANGE)
    return {"homing_offset": answer.value(STS3215["homing_offset"]), "range_ticks": ends}


def require_unwrapped(joint: FeetechJoint, tick: int) -> None:
    """Refuse a joint that stands a little beyond its calibrated range, where its count began anew.

    Nearly a whole turn lies between that reading and where the joint is. Raises DriveError.
    """
    if joint.range_ticks in (None, (0, 0)):
        return
    first, last = joint.range_ticks
    below, above = (first - tick) % TICKS_PER_TURN, (tick - last) % TICKS_PER_TURN
    wrapped = tick > first if below < above else tick < last
    if first <= tick <= last or not wrapped:
        return
    raise DriveError(
        f"joint {joint} reads {tick} ticks: {min(below, above)} beyond its range, and its count wraps there",
        expected=f"{first} to {last} as in ROBOT.yaml",
        fix="move it inside by hand; where it must go there, calibrate again with the arm in its middle",
    )


def _require_calibration(joint: FeetechJoint, answer: Answer) -> None:
    memory, fix = calibration_in(answer), f"{_CALIBRATED_ANEW}; nothing was switched"
    if joint.homing_offset is not None and memory["homing_offset"] != joint.homing_offset:
        expected = f"{joint.homing_offset} as in ROBOT.yaml"
        raise _contradiction(joint, "homing_offset", memory["homing_offset"], expected, fix)
    for name, actual, end in zip(_RANGE, memory["range_ticks"], joint.range_ticks or (), strict=False):
        if actual != end:
            raise _contradiction(joint, name, actual, f"{end} as in range_ticks of ROBOT.yaml", fix)


def _require_reach(joint: FeetechJoint, answer: Answer) -> None:
    low, high = (answer.value(STS3215[name]) for name in ("min_angle", "max_angle"))
    if (low, high) == (0, 0):  # any number of turns: the servo clips nothing
        return
    ends = radians_to_ticks([joint.lower, joint.upper], joint.zero_ticks, joint.direction)
    first, last = math.floor(ends.min() + 0.5), math.ceil(ends.max() - 0.5)
    if low > first:
        raise _contradiction(joint, "min_angle", low, f"at most {first}{_reason(joint)}")
    if high < last:
        raise _contradiction(joint, "max_angle", high, f"at least {last}{_reason(joint)}")


def _reason(joint: FeetechJoint) -> str:
    return f", for {joint.lower:.6g} to {joint.upper:.6g} rad of ROBOT.yaml: a servo stops at its own limit"


def _contradiction(
    joint: FeetechJoint, name: str, actual: int, expected: str, fix: str = _CHANGE
) -> DriveError:
    register = STS3215[name]
    unit = f" {register.unit}" if register.unit == "tick" else ""
    return DriveError(
        f"joint {joint}: {name} (register {register.address}) is {actual}{unit}",
        expected=expected,
        fix=fix,
    )
