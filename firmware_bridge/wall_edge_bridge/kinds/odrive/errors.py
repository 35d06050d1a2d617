"""ODrive's states and errors, as data.

Source: ODrive's public DBC files of firmware 0.5.6 and 0.6.10, and its manual.
"""

from __future__ import annotations

from enum import IntEnum

from wall_edge_bridge.drives import Fault, Reaction


class State(IntEnum):
    """Axis states that matter to a drive; there are others, in which a motor calibrates itself."""

    IDLE = 1
    CLOSED_LOOP = 8


WATCHDOG = Fault("WATCHDOG_TIMER_EXPIRED", Reaction.ONCE)
UNDERVOLTAGE = Fault("DC_BUS_UNDER_VOLTAGE", Reaction.CHECK)
OVERVOLTAGE = Fault("DC_BUS_OVER_VOLTAGE", Reaction.CHECK)
MOTOR_HOT = Fault("MOTOR_OVER_TEMP", Reaction.CHECK)
INVERTER_HOT = Fault("INVERTER_OVER_TEMP", Reaction.CHECK)
INITIALIZING = Fault("INITIALIZING", Reaction.CHECK)

ERRORS_06 = {
    0x1: INITIALIZING,
    0x2: Fault("SYSTEM_LEVEL"),
    0x4: Fault("TIMING_ERROR"),
    0x8: Fault("MISSING_ESTIMATE"),
    0x10: Fault("BAD_CONFIG"),
    0x20: Fault("DRV_FAULT"),
    0x40: Fault("MISSING_INPUT"),
    0x100: OVERVOLTAGE,
    0x200: UNDERVOLTAGE,
    0x400: Fault("DC_BUS_OVER_CURRENT"),
    0x800: Fault("DC_BUS_OVER_REGEN_CURRENT"),
    0x1000: Fault("CURRENT_LIMIT_VIOLATION"),
    0x2000: MOTOR_HOT,
    0x4000: INVERTER_HOT,
    0x8000: Fault("VELOCITY_LIMIT_VIOLATION"),
    0x10000: Fault("POSITION_LIMIT_VIOLATION"),
    0x1000000: WATCHDOG,
    0x2000000: Fault("ESTOP_REQUESTED"),
    0x4000000: Fault("SPINOUT_DETECTED"),
    0x8000000: Fault("BRAKE_RESISTOR_DISARMED"),
    0x10000000: Fault("THERMISTOR_DISCONNECTED"),
    0x40000000: Fault("CALIBRATION_ERROR"),
}
"""By bit of a heartbeat's error."""
ERRORS_05 = {
    0x1: Fault("INVALID_STATE"),
    0x40: Fault("MOTOR_FAILED"),
    0x80: Fault("SENSORLESS_ESTIMATOR_FAILED"),
    0x100: Fault("ENCODER_FAILED"),
    0x200: Fault("CONTROLLER_FAILED"),
    0x800: WATCHDOG,
    0x1000: Fault("MIN_ENDSTOP_PRESSED"),
    0x2000: Fault("MAX_ENDSTOP_PRESSED"),
    0x4000: Fault("ESTOP_REQUESTED"),
    0x20000: Fault("HOMING_WITHOUT_ENDSTOP"),
    0x40000: Fault("OVER_TEMP"),
    0x80000: Fault("UNKNOWN_POSITION"),
}
"""The same of firmware 0.5: the bits mean other things."""
FLAGS_05 = {40: Fault("MOTOR_ERROR"), 48: Fault("ENCODER_ERROR"), 56: Fault("CONTROLLER_ERROR")}
"""By bit of a heartbeat's 64, of firmware 0.5; 0.6 has a result and a flag there, which are no errors."""
