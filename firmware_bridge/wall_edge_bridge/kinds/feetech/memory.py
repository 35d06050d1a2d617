"""What a Feetech servo has in its own memory, compared with the joint that ROBOT.yaml describes."""

from __future__ import annotations

import math

from wall_edge.errors import DriveError
from wall_edge_bridge.kinds.feetech.bus import Answer, Block
from wall_edge_bridge.kinds.feetech.registers import STS3215, radians_to_ticks
from wall_edge_bridge.kinds.feetech.settings import FeetechJoint

SETTINGS = Block.of(STS3215["min_angle"], STS3215["torque_limit"])
"""One read of 41 bytes a servo, before power."""
_EXPECTED = {"operating_mode": 0, "angular_resolution": 1}
_NEEDED = ("max_torque", "torque_limit")


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
    offset = answer.value(STS3215["homing_offset"])
    if joint.homing_offset is not None and offset != joint.homing_offset:
        raise _contradiction(joint, "homing_offset", offset, f"{joint.homing_offset} as in ROBOT.yaml")
    _require_reach(joint, answer)


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


def _contradiction(joint: FeetechJoint, name: str, actual: int, expected: str) -> DriveError:
    register = STS3215[name]
    unit = f" {register.unit}" if register.unit == "tick" else ""
    return DriveError(
        f"joint {joint}: {name} (register {register.address}) is {actual}{unit}",
        expected=expected,
        fix="change the servo's setting or ROBOT.yaml; nothing was switched",
    )
