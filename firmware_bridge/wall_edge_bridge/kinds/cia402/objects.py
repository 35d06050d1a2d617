"""Objects, states and error codes of CANopen and its motion profile.

Source: CiA 301 (communication) and CiA 402 / IEC 61800-7-201 (states, codes), by the public copies of their
tables in EDS files and drives' manuals.
"""

from __future__ import annotations

from enum import Enum

from wall_edge_bridge.drives import Fault, Reaction

DEVICE_TYPE, IDENTITY, NAME = 0x1000, 0x1018, 0x1008
CONSUMER_HEARTBEAT, PRODUCER_HEARTBEAT, SYNC_COB = 0x1016, 0x1017, 0x1005
RPDO, RPDO_MAP, TPDO, TPDO_MAP = 0x1400, 0x1600, 0x1800, 0x1A00
ABORT_OPTION, ERROR_CODE, CONTROL, STATUS = 0x6007, 0x603F, 0x6040, 0x6041
FAULT_REACTION_OPTION, MODE, MODE_DISPLAY, POSITION = 0x605E, 0x6060, 0x6061, 0x6064
TARGET, POSITION_LIMITS, INTERPOLATION, SUPPORTED_MODES = 0x607A, 0x607D, 0x60C2, 0x6502

PROFILE_402 = 402
CSP = 8
CSP_BIT = 1 << 7
"""In object 6502."""
RAISE_FAULT = 1
"""Object 6007: a lost connection is a fault."""
QUICK_STOP_RAMP = 2
"""Object 605E: a fault brakes, then switches off."""
NO_PDO = 1 << 31
EVERY_SYNC = 1

NMT_START, NMT_STOP, NMT_PREPARE, NMT_RESET = 0x01, 0x02, 0x80, 0x81
PRE_OPERATIONAL, OPERATIONAL, STOPPED = 0x7F, 0x05, 0x04

DISABLE_VOLTAGE, QUICK_STOP, FAULT_RESET = 0x00, 0x02, 0x80
SHUTDOWN, SWITCH_ON, ENABLE_OPERATION = 0x06, 0x07, 0x0F


class State(Enum):
    """By the statusword."""

    NOT_READY = "not ready to switch on"
    DISABLED = "switch on disabled"
    READY = "ready to switch on"
    SWITCHED_ON = "switched on"
    ENABLED = "operation enabled"
    QUICK_STOP = "quick stop active"
    FAULT_REACTION = "fault reaction active"
    FAULT = "fault"


_FULL, _SHORT = 0x6F, 0x4F
"""Which bits tell a state: bit 5 (quick stop) only of some."""
_BY_FULL = {0x21: State.READY, 0x23: State.SWITCHED_ON, 0x27: State.ENABLED, 0x07: State.QUICK_STOP}
_BY_SHORT = {
    0x00: State.NOT_READY,
    0x40: State.DISABLED,
    0x0F: State.FAULT_REACTION,
    0x08: State.FAULT,
}
POWERED = (State.ENABLED, State.QUICK_STOP, State.FAULT_REACTION)


def state_of(status: int) -> State | None:
    """None of bits that no state has."""
    return _BY_FULL.get(status & _FULL) or _BY_SHORT.get(status & _SHORT)


_STATES = [state_of(status) for status in range(0x80)]


def quick_state_of(status: int) -> State | None:
    """The same, looked up."""
    return _STATES[status & 0x7F]


_CODES = {
    0x1000: "generic_error",
    0x2310: "over_current",
    0x2320: "short_circuit",
    0x3210: "over_voltage",
    0x3220: "under_voltage",
    0x4210: "drive_over_temperature",
    0x4310: "motor_over_temperature",
    0x7305: "encoder_error",
    0x8130: "heartbeat_lost",
    0x8611: "following_error",
}
_CLASSES = (
    (0x8600, 0x86FF, "positioning_error", Reaction.PERSON),
    (0x8100, 0x82FF, "communication_error", Reaction.ONCE),
    (0x2000, 0x2FFF, "current_error", Reaction.PERSON),
    (0x3000, 0x3FFF, "voltage_error", Reaction.CHECK),
    (0x4000, 0x4FFF, "temperature_error", Reaction.CHECK),
    (0x5000, 0x5FFF, "hardware_error", Reaction.PERSON),
    (0x6000, 0x6FFF, "software_error", Reaction.PERSON),
    (0x7000, 0x7FFF, "sensor_error", Reaction.PERSON),
    (0x8000, 0x8FFF, "monitoring_error", Reaction.PERSON),
    (0x9000, 0x9FFF, "external_error", Reaction.PERSON),
    (0xF000, 0xFFFF, "additional_error", Reaction.PERSON),
)
"""By the ranges of CiA 402. A drive itself refuses the reset of a fault whose cause is there still."""
CODES = {name: code for code, name in _CODES.items()}


def fault_of(code: int) -> Fault:
    """The name of an error code (object 603F, or an emergency message), or of its class with the code."""
    for low, high, name, reaction in _CLASSES:
        if low <= code <= high:
            return Fault(_CODES.get(code, f"{name}_{code:04x}"), reaction)
    return Fault(_CODES.get(code, f"error_{code:04x}" if code else "fault"), Reaction.PERSON)
