"""A Damiao motor's registers, states and models, as data.

Source: Damiao's DM-J4310 manual and debugging tool, as tabulated by damiao-motor 1.0.6, motorbridge 0.5.6 and
LeRobot 0.4.4, which agree on numbers and types; 60 (the supply) only in damiao-motor.
"""

from __future__ import annotations

from typing import NamedTuple

from wall_edge_bridge.drives import Fault, Reaction

UV_VALUE, OT_VALUE = 0, 2
MST_ID, ESC_ID, TIMEOUT, CTRL_MODE = 7, 8, 9, 10
SW_VER, SN, GR = 14, 15, 20
PMAX, VMAX, TMAX = 21, 22, 23
OV_VALUE, CAN_BR, SUB_VER, VBUS = 29, 35, 36, 60

TIMEOUT_UNIT_S = 50e-6
TIMEOUT_MOST = 0xFFFFFFFF
"""Units of the watchdog; 0 turns it off."""
MIT_MODE = 1
MODES = {1: "MIT", 2: "position and velocity", 3: "velocity", 4: "force and position"}
"""By the control mode register."""


class Register(NamedTuple):
    """``kind`` is f (float32) or I (uint32), little-endian; ``written`` whether the host may."""

    name: str
    kind: str
    written: bool


def _table() -> dict[int, Register]:
    table = {}
    for written, kind, names in (
        (True, "f", {0: "UV_Value", 1: "KT_Value", 2: "OT_Value", 3: "OC_Value", 4: "ACC", 5: "DEC"}),
        (True, "f", {6: "MAX_SPD", 21: "PMAX", 22: "VMAX", 23: "TMAX", 24: "I_BW", 25: "KP_ASR"}),
        (True, "f", {26: "KI_ASR", 27: "KP_APR", 28: "KI_APR", 29: "OV_Value", 30: "GREF", 31: "Deta"}),
        (True, "f", {32: "V_BW", 33: "IQ_c1", 34: "VL_c1"}),
        (True, "I", {7: "MST_ID", 8: "ESC_ID", 9: "TIMEOUT", 10: "CTRL_MODE", 35: "can_br"}),
        (False, "f", {11: "Damp", 12: "Inertia", 17: "Rs", 18: "Ls", 19: "Flux", 20: "Gr", 50: "u_off"}),
        (False, "f", {51: "v_off", 52: "k1", 53: "k2", 54: "m_off", 55: "dir", 60: "VBus", 61: "Tpcb"}),
        (False, "f", {62: "Tmtr", 80: "p_m", 81: "xout"}),
        (False, "I", {13: "hw_ver", 14: "sw_ver", 15: "SN", 16: "NPP", 36: "sub_ver"}),
    ):
        table.update({number: Register(name, kind, written) for number, name in names.items()})
    return dict(sorted(table.items()))


REGISTERS = _table()


class Ranges(NamedTuple):
    """What the numbers in MIT frames span, each from minus to plus."""

    position: float
    """PMAX, rad"""
    velocity: float
    """VMAX, rad/s"""
    effort: float
    """TMAX, Nm"""

    def __str__(self) -> str:
        return f"±{self.position:g} rad, ±{self.velocity:g} rad/s, ±{self.effort:g} Nm"


MODELS = {
    "DM3507": (Ranges(12.5, 30, 10), Ranges(12.566, 50, 5)),
    "DM4310": (Ranges(12.5, 30, 10),),
    "DM4310_48V": (Ranges(12.5, 50, 10),),
    "DM4310P": (Ranges(12.5, 50, 10),),
    "DM4340": (Ranges(12.5, 8, 28), Ranges(12.5, 10, 28)),
    "DM4340_48V": (Ranges(12.5, 10, 28),),
    "DM4340P": (Ranges(12.5, 10, 28),),
    "DM6006": (Ranges(12.5, 45, 20),),
    "DM6248P": (Ranges(12.566, 20, 120),),
    "DM8006": (Ranges(12.5, 45, 40),),
    "DM8009": (Ranges(12.5, 45, 54),),
    "DM10010L": (Ranges(12.5, 25, 200),),
    "DM10010": (Ranges(12.5, 20, 200),),
    "DMH3510": (Ranges(12.5, 280, 1),),
    "DMH6215": (Ranges(12.5, 45, 10),),
    "DMG6220": (Ranges(12.5, 45, 10),),
}
"""Ranges as models leave the factory, the first being the likelier where sources disagree."""


def matches(ranges: Ranges, model: str) -> bool:
    """Whether a motor with these ranges may be that model; any may be a model that is not in the table."""
    return model not in MODELS or any(
        all(abs(is_ / usual - 1) < 0.01 for is_, usual in zip(ranges, each, strict=True))
        for each in MODELS[model]
    )


DISABLED, ENABLED, LOST_COMMUNICATION = 0x0, 0x1, 0xD
OVER_VOLTAGE, UNDER_VOLTAGE, MOS_HOT, ROTOR_HOT = 0x8, 0x9, 0xB, 0xC
FAULTS = {
    0x2: Fault("sensor fault 2"),
    0x3: Fault("sensor fault 3"),
    0x4: Fault("sensor fault 4"),
    OVER_VOLTAGE: Fault("over-voltage", Reaction.CHECK),
    UNDER_VOLTAGE: Fault("under-voltage", Reaction.CHECK),
    0xA: Fault("over-current"),
    MOS_HOT: Fault("MOS over-temperature", Reaction.CHECK),
    ROTOR_HOT: Fault("rotor over-temperature", Reaction.CHECK),
    LOST_COMMUNICATION: Fault("lost communication", Reaction.ONCE),
    0xE: Fault("overload"),
}
"""By the state nibble of feedback; 2 to 4 as found in recovered firmware."""


def faults_of(state: int) -> tuple[Fault, ...]:
    """Empty of a motor that is well, powered or not."""
    if state in (DISABLED, ENABLED):
        return ()
    return (FAULTS.get(state) or Fault(f"unknown state {state}"),)


FAULTS_BY_STATE = tuple(faults_of(state) for state in range(16))
