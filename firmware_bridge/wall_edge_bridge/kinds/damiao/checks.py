"""Whether motors are what their joints say, stand where they may, and may be powered again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wall_edge.errors import DriveError
from wall_edge_bridge.drives import Fault
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.damiao.motor import Facts, Motor
from wall_edge_bridge.kinds.damiao.registers import (
    FAULTS,
    MODELS,
    MOS_HOT,
    OVER_VOLTAGE,
    ROTOR_HOT,
    UNDER_VOLTAGE,
    matches,
)

_COOLER_BY = 15.0
"""°C below where it gave up: a motor at the edge would give up again at once."""
_USUAL_LIMIT = 100.0
"""°C, of a motor that does not tell its own."""
_TURN = 2 * math.pi


def require_model(motor: Motor) -> None:
    """Raises DriveError where the motor's ranges are none of the model's."""
    joint, ranges = motor.joint, motor.codec.ranges
    if matches(ranges, joint.model):
        return
    others = " or ".join(model for model in MODELS if matches(ranges, model))
    instead = f"model: {others}" if others else "model: custom"
    raise DriveError(
        f"joint {joint}: the motor's numbers span {ranges}",
        expected=f"a {joint.model}'s, {' or '.join(map(str, MODELS[joint.model]))}",
        fix=f"set {instead} if that is the motor; whatever is set, its own ranges are used",
    )


def require_reach(motor: Motor) -> None:
    """Raises DriveError where the joint may be sent beyond what the motor's numbers can say."""
    joint, (lower, upper) = motor.joint, motor.reach
    if joint.lower < lower or joint.upper > upper:
        raise DriveError(
            f"joint {joint}: limits {joint.lower:g} to {joint.upper:g} rad",
            expected=f"within {lower:.4g} to {upper:.4g} rad, what its motor can count",
            fix="narrow the limits, mend zero_rad, or widen PMAX with Damiao's tool",
        )


def require_inside(limits: JointLimits, motors: Sequence[Motor], position: Floats, slack: float) -> None:
    """Raises DriveError for a joint beyond its limits; or that it would be inside a turn away."""
    fix = "move the joint by hand, or mend its zero_rad and limits"
    for index, motor in enumerate(motors):
        joint, there = motor.joint, float(position[index])
        allowed = max(slack, motor.resolution)
        if joint.lower - allowed <= there <= joint.upper + allowed:
            continue
        for turns in (1, -1, 2, -2):
            if joint.lower - allowed <= there + turns * _TURN <= joint.upper + allowed:
                fix = (
                    f"it would be inside {turns:+d} turn away: after a power cycle this motor knows its "
                    "angle within one turn only; move the joint near its zero and power-cycle the motor, "
                    "or set its zero anew with Damiao's tool"
                )
        limits.require_inside(position, allowed, "stands at", fix)


def remaining_cause(fault: Fault, facts: Facts, voltage: float | None, temperature: float) -> str:
    """Why a fault that needs a check must stay; empty when its cause is gone."""
    if fault in (FAULTS[OVER_VOLTAGE], FAULTS[UNDER_VOLTAGE]):
        if voltage is None or math.isnan(voltage):
            return "the motor does not tell its voltage"
        least, most = facts.under_voltage, facts.over_voltage
        if (least if fault == FAULTS[UNDER_VOLTAGE] else most) is None:
            return "the motor does not tell at what voltage it gives up"
        if least is not None and not voltage > least:
            return f"its supply is at {voltage:.1f} V, it needs more than {least:g} V"
        if most is not None and not voltage < most:
            return f"its supply is at {voltage:.1f} V, it bears less than {most:g} V"
    if fault in (FAULTS[MOS_HOT], FAULTS[ROTOR_HOT]):
        limit = (facts.over_temperature or _USUAL_LIMIT) - _COOLER_BY
        if not temperature < limit:
            return f"it is at {temperature:.0f} °C, wait until it is below {limit:.0f} °C"
    return ""
