"""What a simulated moteus answers when its registers are read, and what it takes when they are written.

Source: docs/protocol/registers.md of github.com/mjbots/moteus; error codes by mjlib's multiplex protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.twin.motor import WRITABLE_MODES, MoteusMotor

_TURN = 2 * math.pi
UNKNOWN_REGISTER, NOT_WRITABLE = 1, 2

_Reading = tuple[Callable[[MoteusMotor], float], reg.Scale | None]
_READABLE: dict[int, _Reading] = {
    reg.MODE: (lambda motor: motor.mode, reg.COUNT),
    reg.POSITION: (lambda motor: motor.position, reg.ANGLE),
    reg.VELOCITY: (lambda motor: motor.rotor.velocity / _TURN, reg.SPEED),
    reg.TORQUE: (lambda motor: motor.rotor.effort, reg.TORQUES),
    0x004: (lambda motor: motor.rotor.effort, reg.CURRENT),
    0x005: (lambda _: 0.0, reg.CURRENT),
    0x006: (lambda _: math.nan, reg.ANGLE),
    0x007: (lambda motor: motor.rotor.effort * motor.rotor.velocity, reg.WATTS),
    reg.MOTOR_TEMPERATURE: (lambda motor: motor.motor_temperature, reg.CELSIUS),
    0x00B: (lambda motor: float(abs(motor.rotor.velocity) < 0.01), reg.COUNT),
    0x00C: (lambda _: 2, reg.COUNT),
    reg.VOLTAGE: (lambda motor: motor.voltage, reg.VOLTS),
    reg.TEMPERATURE: (lambda motor: motor.temperature, reg.CELSIUS),
    reg.FAULT: (lambda motor: motor.reported_fault(), reg.COUNT),
    reg.MODEL: (lambda _: 0x0C, reg.COUNT),
    reg.FIRMWARE: (lambda _: 0x010A, reg.COUNT),
    reg.REGISTER_MAP: (lambda motor: motor.register_map, reg.COUNT),
    0x110: (lambda motor: motor.id, reg.COUNT),
    reg.SERIAL: (lambda motor: motor.serial[0], reg.COUNT),
    reg.SERIAL + 1: (lambda motor: motor.serial[1], reg.COUNT),
    reg.SERIAL + 2: (lambda motor: motor.serial[2], reg.COUNT),
    0x150: (lambda motor: motor.serial[0], reg.COUNT),
    0x151: (lambda motor: motor.serial[1], reg.COUNT),
    0x152: (lambda motor: motor.serial[2], reg.COUNT),
    0x153: (lambda _: 0, reg.COUNT),
    0x158: (lambda _: 0, reg.COUNT),
}


def reading(motor: MoteusMotor, register: int) -> tuple[float, reg.Scale | None] | None:
    """A register's value and scale; None for one that the motor does not know."""
    if register in motor.unsupported:
        return None
    if register in _READABLE:
        value, scale = _READABLE[register]
        return value(motor), scale
    if register in reg.COMMANDS:
        return motor.command[register], reg.COMMANDS[register][1]
    return None


def scale_of(register: int) -> reg.Scale | None:
    """Of a register that may be written."""
    return reg.COMMANDS[register][1] if register in reg.COMMANDS else reg.COUNT


def store(motor: MoteusMotor, register: int, value: float) -> int:
    """Into the motor's next command; 0, or an error's code."""
    if register in motor.unsupported:
        return UNKNOWN_REGISTER
    if register == reg.MODE:
        if math.isnan(value) or int(value) not in WRITABLE_MODES:
            return UNKNOWN_REGISTER
        motor.begin_command(int(value))
        return 0
    if register in reg.COMMANDS:
        motor.command[register] = value
        return 0
    return NOT_WRITABLE if register in _READABLE else UNKNOWN_REGISTER
