"""What a motor has in its own memory, compared with the joint that ROBOT.yaml describes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wall_edge.errors import DriveError
from wall_edge_bridge.kinds.dynamixel.models import MODELS, NUMBERS, OTHERS, model_name
from wall_edge_bridge.kinds.dynamixel.registers import (
    EXTENDED_MODE,
    POSITION_MODE,
    RESOLUTION,
    TABLE,
)
from wall_edge_bridge.kinds.dynamixel.replies import Answer, Block
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelJoint, DynamixelSettings

SETTINGS = Block.of("model", "torque_enable")
"""One read of 65 bytes a motor, before power."""
_RANGE = ("min_position", "max_position")
_CHANGE = "change the motor's setting or ROBOT.yaml; nothing was switched"
_CALIBRATED_ANEW = "it is another arm, or was calibrated since: run 'wall-edge init' on its calibration file"
_TORQUE_BY_GOAL = 0x08
_REVERSE = 0x01
_MODES = {0: "current", 1: "velocity", 3: "position", 4: "extended position", 5: "current-based position"}


def require_model(joint: DynamixelJoint, answer: Answer) -> None:
    """Refuse a motor that is not of the X series, or not of the joint's model. Raises DriveError."""
    number = answer.value("model")
    if number not in MODELS:
        series = "a Dynamixel of another series" if number in OTHERS else "no Dynamixel that is known here"
        raise _contradiction(
            joint, "model", f"{model_name(number)}, {series}", "a model of the X series, with its table"
        )
    if joint.model is not None and number != NUMBERS[joint.model]:
        raise _contradiction(joint, "model", model_name(number), f"{joint.model} as in ROBOT.yaml")


def require_settings(
    joint: DynamixelJoint, answer: Answer, settings: DynamixelSettings, ids: Sequence[int]
) -> None:
    """Refuse a motor that would not go where the joint may be sent, or would report something else.

    ``ids`` are all on the bus. Raises DriveError naming joint, register and both values.
    """
    require_model(joint, answer)
    _require_mode(joint, answer)
    if answer.value("protocol") != 2:
        raise _contradiction(joint, "protocol", answer.value("protocol"), "2")
    shadow = answer.value("shadow_id")
    if shadow in ids and shadow != joint.id:
        raise _contradiction(
            joint, "shadow_id", shadow, "no id of another joint: it obeys that one's goals too"
        )
    _require_calibration(joint, answer)
    if answer.value("pwm_limit") == 0:
        raise _contradiction(joint, "pwm_limit", 0, "above 0: a motor without torque holds nothing")
    _require_delay(joint, answer, settings, len(ids))
    if not joint.extended:
        _require_reach(joint, answer)


def calibration_in(answer: Answer) -> dict[str, Any]:
    """The keys of a joint that say what its motor's memory holds."""
    return {
        "homing_offset": answer.value("homing_offset"),
        "range_ticks": tuple(answer.value(name) for name in _RANGE),
    }


def require_same_turn(joint: DynamixelJoint, tick: int) -> None:
    """Refuse a joint that reads whole turns off its calibrated range: after power-on a motor knows one turn.

    Raises DriveError.
    """
    first, last = joint.range_ticks or (0, 0)
    if joint.range_ticks is None or first <= tick <= last or (tick - first) % RESOLUTION + first > last:
        return
    raise DriveError(
        f"joint {joint} reads {tick} ticks: whole turns off its range, as its count began anew at power-on",
        expected=f"{first} to {last} as in ROBOT.yaml",
        fix="power-cycle the motor with the joint in the middle of its range, or calibrate again",
    )


def _require_calibration(joint: DynamixelJoint, answer: Answer) -> None:
    memory, fix = calibration_in(answer), f"{_CALIBRATED_ANEW}; nothing was switched"
    if joint.homing_offset is not None and memory["homing_offset"] != joint.homing_offset:
        expected = f"{joint.homing_offset} as in ROBOT.yaml"
        raise _contradiction(joint, "homing_offset", memory["homing_offset"], expected, fix)
    for name, actual, end in zip(_RANGE, memory["range_ticks"], joint.range_ticks or (), strict=False):
        if actual != end:
            raise _contradiction(joint, name, actual, f"{end} as in range_ticks of ROBOT.yaml", fix)


def _require_mode(joint: DynamixelJoint, answer: Answer) -> None:
    mode, expected = answer.value("operating_mode"), EXTENDED_MODE if joint.extended else POSITION_MODE
    if mode != expected:
        words = f"{mode} ({_MODES.get(mode, 'unknown')})"
        raise _contradiction(joint, "operating_mode", words, f"{expected} ({_MODES[expected]})")
    bits = answer.value("drive_mode")
    if bits & _TORQUE_BY_GOAL:
        raise _contradiction(
            joint, "drive_mode", bits, f"bit 3 off: a goal must not switch the torque on, so {bits & ~8}"
        )
    if bool(bits & _REVERSE) != joint.reverse:
        expected_bits = bits ^ _REVERSE
        raise _contradiction(
            joint,
            "drive_mode",
            bits,
            f"{expected_bits}, as reverse: {str(joint.reverse).lower()} of ROBOT.yaml",
        )


def _require_delay(joint: DynamixelJoint, answer: Answer, settings: DynamixelSettings, motors: int) -> None:
    delay_us = 2 * answer.value("return_delay")
    if delay_us <= settings.return_delay_us:
        return
    raise DriveError(
        f"joint {joint}: return_delay (register 9) is {delay_us // 2}, so it waits "
        f"{delay_us} µs before each reply: at most {1e6 / (motors * delay_us):.0f} Hz with {motors} of them",
        expected=f"at most {settings.return_delay_us} µs as in ROBOT.yaml",
        fix="write 0 to register 9 with the maker's tool, or say return_delay_us and a lower rate_hz",
    )


def _require_reach(joint: DynamixelJoint, answer: Answer) -> None:
    low, high = answer.value("min_position"), answer.value("max_position")
    ends = [joint.ticks_at(joint.lower), joint.ticks_at(joint.upper)]
    first, last = math.floor(min(ends) + 0.5), math.ceil(max(ends) - 0.5)
    if low > first:
        raise _contradiction(joint, "min_position", low, f"at most {first}{_reason(joint)}")
    if high < last:
        raise _contradiction(joint, "max_position", high, f"at least {last}{_reason(joint)}")


def _reason(joint: DynamixelJoint) -> str:
    return f", for {joint.lower:.6g} to {joint.upper:.6g} rad of ROBOT.yaml: a motor refuses goals beyond it"


def _contradiction(
    joint: DynamixelJoint, name: str, actual: object, expected: str, fix: str = _CHANGE
) -> DriveError:
    register = TABLE[name]
    unit = f" {register.unit}" if register.unit == "tick" else ""
    return DriveError(
        f"joint {joint}: {name} (register {register.address}) is {actual}{unit}",
        expected=expected,
        fix=fix,
    )
