"""RobStride's private protocol: values ↔ CAN frames with a 29-bit identifier. Pure.

Identifier: type (5 bits) | 16 bits of data | the motor a frame goes to, or the host it comes for (8 bits).
Values in the cycle are 16-bit, big-endian, 0 to 65535 over a range; the maker's code truncates, and so do we.
Parameters are little-endian. Source: the maker's manuals and SampleProgram.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from wall_edge_bridge.drives import Fault
from wall_edge_bridge.kinds.robstride.registers import (
    FEEDBACK_FAULTS,
    REPORT_FAULTS,
    REPORT_WARNINGS,
    Parameter,
)
from wall_edge_bridge.transport import Frame

FULL = 65535
ANY_HOST = 0xFE
"""The host to which a motor tells its id."""
ZEROS = bytes(8)
WORDS = struct.Struct(">4H")
STATE_WORDS = struct.Struct(">3Hh")
"""Of feedback: position, velocity, effort; temperature, which may be below zero."""
_PARAMETER = struct.Struct("<HH4s")
_REPORT = struct.Struct("<II")


class Type(IntEnum):
    """What a frame is."""

    GET_ID = 0
    CONTROL = 1
    FEEDBACK = 2
    ENABLE = 3
    STOP = 4
    SET_ID = 7
    READ = 17
    WRITE = 18
    FAULTS = 21


class Mode(IntEnum):
    """What a motor does."""

    RESET = 0
    CALIBRATION = 1
    RUN = 2


class Ranges(NamedTuple):
    """±rad, ±rad/s, ±Nm, 0 to Nm/rad, 0 to Nm·s/rad."""

    position: float
    velocity: float
    effort: float
    kp: float
    kd: float


class State(NamedTuple):
    """One feedback: rad, rad/s, Nm, °C."""

    mode: int
    faults: tuple[Fault, ...]
    position: float
    velocity: float
    effort: float
    temperature: float


def quantize(value: float, low: float, high: float) -> int:
    """0 to 65535 over ``low`` to ``high``; a value beyond is moved onto the bound."""
    return int((min(max(value, low), high) - low) * FULL / (high - low))


def dequantize(raw: int, low: float, high: float) -> float:
    """What ``raw`` stands for."""
    return raw * (high - low) / FULL + low


def identifier(kind: int, data: int, target: int) -> int:
    """The 29 bits."""
    return kind << 24 | data << 8 | target


def request(kind: Type, host: int, motor: int, data: bytes = ZEROS) -> Frame:
    """From a host to a motor."""
    return Frame(identifier(kind, host, motor), data, extended=True)


def stop(host: int, motor: int, *, clear: bool = False) -> Frame:
    """Torque off; with ``clear`` latched faults are forgotten too."""
    return request(Type.STOP, host, motor, bytes([clear]) + bytes(7))


def set_id(host: int, motor: int, new: int) -> Frame:
    """The motor answers under its new id at once."""
    return request(Type.SET_ID, new << 8 | host, motor)


def read(parameter: Parameter, host: int, motor: int) -> Frame:
    """Asks for a parameter."""
    return request(Type.READ, host, motor, _PARAMETER.pack(parameter.address, 0, bytes(4)))


def write(parameter: Parameter, value: float, host: int, motor: int) -> Frame:
    """Sets a parameter until power is lost; the motor answers with feedback."""
    data = struct.pack(parameter.format, value if parameter.format == "<f" else int(value))
    return request(Type.WRITE, host, motor, _PARAMETER.pack(parameter.address, 0, data))


def control(
    ranges: Ranges, motor: int, position: float, velocity: float, kp: float, kd: float, effort: float
) -> Frame:
    """effort = kp · (position error) + kd · (velocity error) + ``effort``; the last is in the identifier."""
    words = WORDS.pack(
        quantize(position, -ranges.position, ranges.position),
        quantize(velocity, -ranges.velocity, ranges.velocity),
        quantize(kp, 0.0, ranges.kp),
        quantize(kd, 0.0, ranges.kd),
    )
    raw = quantize(effort, -ranges.effort, ranges.effort)
    return Frame(identifier(Type.CONTROL, raw, motor), words, extended=True)


def feedback(ranges: Ranges, motor: int, host: int, state: State) -> Frame:
    """The motor's side of ``parse_feedback``."""
    bits = sum(1 << bit for bit, fault in FEEDBACK_FAULTS.items() if fault in state.faults)
    words = STATE_WORDS.pack(
        quantize(state.position, -ranges.position, ranges.position),
        quantize(state.velocity, -ranges.velocity, ranges.velocity),
        quantize(state.effort, -ranges.effort, ranges.effort),
        round(state.temperature * 10),
    )
    return Frame(identifier(Type.FEEDBACK, state.mode << 14 | bits << 8 | motor, host), words, extended=True)


def parse_feedback(frame: Frame, ranges: Ranges) -> State:
    """Of a whole feedback frame, see ``sender``."""
    position, velocity, effort, temperature = STATE_WORDS.unpack(frame.data)
    return State(
        frame.id >> 22 & 3,
        feedback_faults(frame.id >> 16 & 0x3F),
        dequantize(position, -ranges.position, ranges.position),
        dequantize(velocity, -ranges.velocity, ranges.velocity),
        dequantize(effort, -ranges.effort, ranges.effort),
        temperature / 10,
    )


def feedback_faults(bits: int) -> tuple[Fault, ...]:
    """Of the six bits of a feedback's identifier."""
    return tuple(fault for bit, fault in FEEDBACK_FAULTS.items() if bits >> bit & 1)


def sender(frame: Frame, kind: Type, host: int) -> int | None:
    """The motor whose whole frame of ``kind`` for ``host`` this is; None for any other frame."""
    if not frame.extended or len(frame.data) != 8 or frame.id >> 24 != kind or frame.id & 0xFF != host:
        return None
    return frame.id >> 8 & 0xFF


def value_of(frame: Frame, parameter: Parameter) -> float | None:
    """Of a reply to a read; None for another parameter's, and for one that the motor does not support.

    Such a reply has bits 16 to 23 of its identifier set, and zeros that are no value (LeRobot#4070).
    """
    index, _, data = _PARAMETER.unpack(frame.data)
    if index != parameter.address or frame.id >> 16 & 0xFF:
        return None
    return float(struct.unpack(parameter.format, data)[0])


def fault_report(motor: int, host: int, faults: tuple[Fault, ...]) -> Frame:
    """What a motor says unasked when a fault comes (type 21)."""
    word = sum(1 << bit for bit, fault in REPORT_FAULTS.items() if fault in faults)
    return Frame(identifier(Type.FAULTS, motor, host), _REPORT.pack(word, 0), extended=True)


def parse_fault_report(data: bytes) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """Faults and warnings of 8 bytes."""
    faults, warnings = _REPORT.unpack(data)
    return (
        tuple(fault for bit, fault in REPORT_FAULTS.items() if faults >> bit & 1),
        tuple(name for bit, name in REPORT_WARNINGS.items() if warnings >> bit & 1),
    )
