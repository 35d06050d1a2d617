"""What a moteus calls things: registers, modes, faults and scales.

Source: docs/protocol/registers.md and fw/error.h of github.com/mjbots/moteus (register map 5).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from wall_edge_bridge.drives import Fault, Reaction

MODE, POSITION, VELOCITY, TORQUE = 0x000, 0x001, 0x002, 0x003
MOTOR_TEMPERATURE, VOLTAGE, TEMPERATURE, FAULT = 0x00A, 0x00D, 0x00E, 0x00F
COMMAND_POSITION, COMMAND_VELOCITY, COMMAND_TORQUE = 0x020, 0x021, 0x022
COMMAND_KP_SCALE, COMMAND_KD_SCALE, COMMAND_MAX_TORQUE = 0x023, 0x024, 0x025
COMMAND_STOP_POSITION, COMMAND_TIMEOUT = 0x026, 0x027
MODEL, FIRMWARE, REGISTER_MAP, SERIAL = 0x100, 0x101, 0x102, 0x120
REGISTER_MAPS = (4, 5)
"""Those with the scales below."""

STOPPED, FAULTED, ZERO_VELOCITY, BRAKE, POSITION_MODE, TIMED_OUT = 0, 1, 12, 15, 10, 11
PREPARING = (2, 3, 4)
"""Between stopped and any other mode, for some ms."""
DEFAULT_TIMEOUT_S = 0.1
"""What 0 in COMMAND_TIMEOUT means (servo.default_timeout_s); NaN is no watchdog at all."""


class Scale(NamedTuple):
    """What one step of an integer is worth: of 8, 16 and 32 bits."""

    int8: float
    int16: float
    int32: float


ANGLE = Scale(0.01, 1e-4, 1e-5)
"""turns"""
SPEED = Scale(0.1, 0.00025, 1e-5)
"""turns/s"""
ACCELERATION = Scale(0.05, 0.001, 1e-5)
"""turns/s²"""
TORQUES = Scale(0.5, 0.01, 0.001)
"""Nm"""
CURRENT = Scale(1.0, 0.1, 0.001)
"""A"""
VOLTS = Scale(0.5, 0.1, 0.001)
CELSIUS = Scale(1.0, 0.1, 0.001)
SECONDS = Scale(0.01, 0.001, 1e-6)
WATTS = Scale(10.0, 0.05, 1e-4)
FRACTION = Scale(1 / 127, 1 / 32767, 1 / 2147483647)
COUNT = None
"""An integer as it is."""

COMMANDS: dict[int, tuple[float, Scale | None]] = {
    COMMAND_POSITION: (0.0, ANGLE),
    COMMAND_VELOCITY: (0.0, SPEED),
    COMMAND_TORQUE: (0.0, TORQUES),
    COMMAND_KP_SCALE: (1.0, FRACTION),
    COMMAND_KD_SCALE: (1.0, FRACTION),
    COMMAND_MAX_TORQUE: (math.nan, TORQUES),
    COMMAND_STOP_POSITION: (math.nan, ANGLE),
    COMMAND_TIMEOUT: (0.0, SECONDS),
    0x028: (math.nan, SPEED),
    0x029: (math.nan, ACCELERATION),
    0x02A: (math.nan, VOLTS),
    0x02B: (1.0, FRACTION),
    0x02C: (math.nan, CURRENT),
    0x02D: (0.0, COUNT),
}
"""What a register of a command is where the frame that wrote the mode left it out, and its scale.

An unspecified position is 0.0, not the present one: that is NaN.
"""

_NAMES = {
    1: "dma_stream_transfer_error",
    2: "dma_stream_fifo_error",
    3: "uart_overrun",
    4: "uart_framing_error",
    5: "uart_noise",
    6: "uart_buffer_overrun",
    7: "uart_parity_error",
    32: "calibration_fault",
    33: "motor_driver_fault",
    34: "over_voltage",
    35: "encoder_fault",
    36: "motor_not_configured",
    37: "pwm_cycle_overrun",
    38: "over_temperature",
    39: "start_outside_limit",
    40: "under_voltage",
    41: "config_changed",
    42: "theta_invalid",
    43: "position_invalid",
    44: "driver_enable_fault",
    45: "stop_position_deprecated",
    46: "timing_violation",
    47: "bemf_feedforward_no_accel_limit",
    48: "invalid_limits",
    49: "position_control_error",
    50: "velocity_control_error",
}
LIMITERS = {
    96: "max_velocity",
    97: "max_power",
    98: "max_voltage",
    99: "max_current",
    100: "fet_temperature",
    101: "motor_temperature",
    102: "max_torque",
    103: "position_bounds",
    104: "flux_braking",
    105: "field_weakening",
}
_FIRST_LIMITER = 96
WATCHDOG_EXPIRED = Fault("watchdog_expired", Reaction.ONCE)
"""Mode 11, latched: the motor damps and obeys nothing but a stop."""
_REACTIONS = {
    "over_voltage": Reaction.CHECK,
    "under_voltage": Reaction.CHECK,
    "over_temperature": Reaction.CHECK,
    "config_changed": Reaction.ONCE,
}
FAULTS = {code: Fault(name, _REACTIONS.get(name, Reaction.PERSON)) for code, name in _NAMES.items()}
CODES = {fault.name: code for code, fault in FAULTS.items()}


class Condition(NamedTuple):
    """What a mode and a fault code mean together."""

    faults: tuple[Fault, ...]
    limiters: tuple[str, ...]


def condition(mode: int, code: int) -> Condition:
    """From 96 on a code says what bounds a working motor, and is no fault."""
    faults: tuple[Fault, ...] = (WATCHDOG_EXPIRED,) if mode == TIMED_OUT else ()
    limiters: tuple[str, ...] = ()
    if code >= _FIRST_LIMITER and mode != FAULTED:
        limiters = (LIMITERS.get(code, f"limiter_{code}"),)
    elif code or mode == FAULTED:
        faults += (FAULTS.get(code, Fault(f"fault_{code}")),)
    return Condition(faults, limiters)
