"""What must be right before RobStride motors are powered. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge.errors import DriveError
from wall_edge_bridge.drives import Fault
from wall_edge_bridge.kinds.robstride.codec import FULL
from wall_edge_bridge.kinds.robstride.registers import (
    OVERTEMPERATURE,
    OVERVOLTAGE,
    POSITION_RANGES,
    UNDERVOLTAGE,
)
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint, RobStrideSettings

_MOVES_FOR_S = 0.05
"""How far apart two reads of a position may be."""


def require_operation_control(
    joints: Sequence[RobStrideJoint], modes: Sequence[float | None], powered: Sequence[bool]
) -> list[int]:
    """Ids of motors at rest in another run_mode. Raises DriveError for one that has torque in it."""
    others = []
    for joint, mode, runs in zip(joints, modes, powered, strict=True):
        if mode == 0:
            continue
        if runs or mode is None:
            raise DriveError(
                f"joint {joint}: run_mode (parameter 0x7005) is {mode}",
                expected="0, operation control",
                fix="stop the program that uses the motor",
            )
        others.append(joint.id)
    return others


def require_range(joint: RobStrideJoint, state: tuple[float, float], mech_pos: float | None) -> None:
    """``state``: rad and rad/s by feedback; ``mech_pos``: rad as the motor counts. Raises DriveError."""
    if mech_pos is None:
        return
    angle, velocity = state
    lsb = 2 * joint.position_range / FULL
    tolerance = 2 * lsb + abs(velocity) * _MOVES_FOR_S
    if abs(angle - mech_pos) <= tolerance:
        return
    share = angle / joint.position_range
    fitting = [r for r in POSITION_RANGES if abs(share * r - mech_pos) <= tolerance]
    fix = f"set position_range: {fitting[0]:g}" if fitting else "power-cycle the motor near its zero"
    raise DriveError(
        f"joint {joint}: {angle:.4f} rad by its feedback, {mech_pos:.4f} rad by mechPos",
        expected=f"the same, with position_range {joint.position_range:g}",
        fix=fix,
    )


def require_torque_limit(joint: RobStrideJoint, limit: float | None) -> None:
    """A motor whose own limit is beyond the range is of another model. Raises DriveError."""
    effort = joint.ranges.effort
    if limit is not None and limit > effort * 1.001:
        raise DriveError(
            f"joint {joint}: its torque limit (parameter 0x700B) is {limit:g} Nm",
            expected=f"at most {effort:g} Nm, the effort range of {joint.model}",
            fix="set model, or velocity_range and effort_range, to those of the motor",
        )


def remaining_cause(
    fault: Fault, volts: float | None, temperature: float, settings: RobStrideSettings
) -> str:
    """Why a fault that needs a check must stay; empty when its cause is gone."""
    if fault in (UNDERVOLTAGE, OVERVOLTAGE):
        if volts is None:
            return "its supply cannot be read"
        if fault == UNDERVOLTAGE and volts < settings.min_voltage:
            return f"supply at {volts:.1f} V, min_voltage is {settings.min_voltage:g}"
        if fault == OVERVOLTAGE and volts > settings.max_voltage:
            return f"supply at {volts:.1f} V, max_voltage is {settings.max_voltage:g}"
    if fault == OVERTEMPERATURE and not temperature < settings.cool_below:
        return f"at {temperature:.0f} °C, cool_below is {settings.cool_below:g}"
    return ""
