"""What RobStride motors say of themselves, as data: parameters, faults, ranges.

Source: the maker's manuals (RS00 of 2026-01, RS01 of 2025-05) as quoted by public drivers, robstride 0.1.0,
robstride-dynamics 0.0.1, and captures in LeRobot#4070 (a read that is not supported).
"""

from __future__ import annotations

from typing import NamedTuple

from wall_edge_bridge.drives import Fault, Reaction


class Parameter(NamedTuple):
    """A value in a motor's memory; ``format`` is struct's, of 4 bytes with its padding."""

    address: int
    format: str
    writable: bool = True


RUN_MODE = Parameter(0x7005, "<Bxxx")
"""0 operation control (what this drive speaks), 1 position, 2 speed, 3 current."""
LIMIT_TORQUE = Parameter(0x700B, "<f")
"""Nm"""
MECH_POS = Parameter(0x7019, "<f", writable=False)
"""rad, turns counted"""
MECH_VEL = Parameter(0x701B, "<f", writable=False)
"""rad/s"""
VBUS = Parameter(0x701C, "<f", writable=False)
"""V"""
MOTOR_TEMPERATURE = Parameter(0x3006, "<hxx", writable=False)
"""0.1 °C"""
TORQUE = Parameter(0x302C, "<f", writable=False)
"""Nm"""
CAN_TIMEOUT = Parameter(0x7028, "<I")
"""The watchdog, in units of 50 µs; 0: off, as from the factory. On expiry the motor stops: mode 0, limp."""

PARAMETERS = {
    p.address: p
    for p in (
        MOTOR_TEMPERATURE,
        TORQUE,
        RUN_MODE,
        Parameter(0x7006, "<f"),  # iq_ref [A]
        Parameter(0x700A, "<f"),  # spd_ref [rad/s]
        LIMIT_TORQUE,
        Parameter(0x7010, "<f"),  # cur_kp
        Parameter(0x7011, "<f"),  # cur_ki
        Parameter(0x7014, "<f"),  # cur_filt_gain
        Parameter(0x7016, "<f"),  # loc_ref [rad]
        Parameter(0x7017, "<f"),  # limit_spd [rad/s]
        Parameter(0x7018, "<f"),  # limit_cur [A]
        MECH_POS,
        Parameter(0x701A, "<f", writable=False),  # iqf [A]
        MECH_VEL,
        VBUS,
        Parameter(0x701E, "<f"),  # loc_kp
        Parameter(0x701F, "<f"),  # spd_kp
        Parameter(0x7020, "<f"),  # spd_ki
        Parameter(0x7021, "<f"),  # spd_filt_gain
        CAN_TIMEOUT,
    )
}
WATCHDOG_UNIT_S = 50e-6

UNDERVOLTAGE = Fault("undervoltage", Reaction.CHECK)
OVERVOLTAGE = Fault("overvoltage", Reaction.CHECK)
OVERTEMPERATURE = Fault("overtemperature", Reaction.CHECK)
_STALL = Fault("stall")
_UNCALIBRATED = Fault("uncalibrated")

FEEDBACK_FAULTS = {
    0: UNDERVOLTAGE,
    1: Fault("overcurrent"),
    2: OVERTEMPERATURE,
    3: Fault("encoder"),
    4: _STALL,
    5: _UNCALIBRATED,
}
"""By bit, from bit 16 of a feedback's identifier on."""
REPORT_FAULTS = {
    0: OVERTEMPERATURE,
    1: Fault("driver"),
    2: UNDERVOLTAGE,
    3: OVERVOLTAGE,
    4: Fault("phase_b_overcurrent"),
    5: Fault("phase_c_overcurrent"),
    7: _UNCALIBRATED,
    8: Fault("hardware_id"),
    9: Fault("position_initialization"),
    14: _STALL,
    16: Fault("phase_a_overcurrent"),
}
"""By bit, of the first word of a fault report (type 21)."""
REPORT_WARNINGS = {0: "motor temperature"}
"""By bit, of its second word; these bound a motor, and are no faults."""


class Model(NamedTuple):
    """Ranges that control and feedback are scaled to, ±: rad/s, Nm, Nm/rad, Nm·s/rad, and who says so."""

    velocity: float
    effort: float
    kp: float
    kd: float
    source: str
    disputed: str = ""
    """What another source says; the ranges must then be given in ROBOT.yaml."""


_SDK = "robstride-dynamics 0.0.1"
MODELS = {
    "RS00": Model(33, 14, 500, 5, "manual 2026-01", f"50 rad/s and 17 Nm by {_SDK}"),
    "RS01": Model(44, 17, 500, 5, f"manual 2025-05, {_SDK}, robstride 0.1.0"),
    "RS02": Model(44, 17, 500, 5, f"manual 2025-05, {_SDK}"),
    "RS03": Model(20, 60, 5000, 100, "manual 2025-05", f"50 rad/s by {_SDK}"),
    "RS04": Model(15, 120, 5000, 100, f"manual 2025-05, {_SDK}, robstride 0.1.0"),
    "RS05": Model(50, 5.5, 500, 5, "manual 2025-12", f"33 rad/s and 17 Nm by {_SDK}"),
    "RS06": Model(50, 36, 5000, 100, "manual 2025-12", f"20 rad/s and 60 Nm by {_SDK}"),
}
POSITION_RANGES = (12.5, 12.57)
"""rad, ±: firmware before 0.0.2.6, and since."""
