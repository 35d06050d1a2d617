"""Damiao's frames: bytes ↔ values, no I/O.

Commands go to a motor's own id, requests for registers to 0x7FF; all that a motor says goes to its master
id. MIT command: pos16 vel12 kp12 kd12 effort12, big-endian, each truncated. Feedback: id's low nibble and
state << 4, pos16 vel12 effort12, temperatures of the MOSFETs and the rotor in °C.
Source: Damiao's DM-J4310 manual; the vectors agree with damiao-motor 1.0.6.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wall_edge_bridge.kinds.damiao.registers import REGISTERS, Ranges

REGISTER_ID = 0x7FF
ENABLE = b"\xff" * 7 + b"\xfc"
DISABLE = b"\xff" * 7 + b"\xfd"
CLEAR = b"\xff" * 7 + b"\xfb"
SET_ZERO = b"\xff" * 7 + b"\xfe"
"""Writes to flash at once, even under torque: for the twin to know it. Nothing here sends it."""

READ, WRITE, SAVE, REFRESH = 0x33, 0x55, 0xAA, 0xCC
_ECHOES = frozenset((READ, WRITE, SAVE, REFRESH))

KP_MAX, KD_MAX = 500.0, 5.0
ECHO_STEPS = 0x100
"""Positions this few steps from the lower end of the range look like echoes of registers."""

_REGISTER = struct.Struct("<HBB4s")


class MitFeedback(NamedTuple):
    """In the motor's own sense: rad, rad/s, Nm, °C."""

    state: int
    position: float
    velocity: float
    effort: float
    mos: int
    rotor: int


class MitCodec:
    """Of a motor with these ranges. Values beyond them are clipped; NaN raises ValueError."""

    __slots__ = ("_effort", "_position", "_velocity", "ranges")

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self._position, self._velocity, self._effort = ranges

    def gains(self, kp: float, kd: float) -> int:
        """``kp`` [Nm/rad] and ``kd`` [Nm·s/rad] as they stand in a command."""
        return _steps(kp, 0.0, KP_MAX, 12) << 24 | _steps(kd, 0.0, KD_MAX, 12) << 12

    def command(self, position: float, velocity: float, effort: float, gains: int) -> bytes:
        """8 bytes."""
        p, v, t = self._position, self._velocity, self._effort
        # As _steps, written out: it is called for every joint in every cycle.
        position = p if position > p else -p if position < -p else position
        velocity = v if velocity > v else -v if velocity < -v else velocity
        effort = t if effort > t else -t if effort < -t else effort
        return (
            int((position + p) * 65535 / (p + p)) << 48
            | int((velocity + v) * 4095 / (v + v)) << 36
            | gains
            | int((effort + t) * 4095 / (t + t))
        ).to_bytes(8, "big")

    def parse_command(self, data: bytes) -> tuple[float, float, float, float, float]:
        """Position, velocity, kp, kd, effort, as the motor understands 8 bytes."""
        bits = int.from_bytes(data, "big")
        p, v, t = self.ranges
        return (
            _value(bits >> 48, -p, p, 16),
            _value(bits >> 36 & 0xFFF, -v, v, 12),
            _value(bits >> 24 & 0xFFF, 0.0, KP_MAX, 12),
            _value(bits >> 12 & 0xFFF, 0.0, KD_MAX, 12),
            _value(bits & 0xFFF, -t, t, 12),
        )

    def feedback(self, motor: int, feedback: MitFeedback) -> bytes:
        """8 bytes, as the motor says it."""
        p, v, t = self.ranges
        bits = (
            ((motor & 0xF) | feedback.state << 4) << 56
            | _steps(feedback.position, -p, p, 16) << 40
            | _steps(feedback.velocity, -v, v, 12) << 28
            | _steps(feedback.effort, -t, t, 12) << 16
            | feedback.mos << 8
            | feedback.rotor
        )
        return bits.to_bytes(8, "big")

    def parse_feedback(self, data: bytes) -> MitFeedback:
        """Of 8 bytes that are no echo, see :func:`is_echo`."""
        bits = int.from_bytes(data, "big")
        p, v, t = self._position, self._velocity, self._effort
        return MitFeedback(
            bits >> 60,
            (bits >> 40 & 0xFFFF) * (p + p) / 65535 - p,
            (bits >> 28 & 0xFFF) * (v + v) / 4095 - v,
            (bits >> 16 & 0xFFF) * (t + t) / 4095 - t,
            bits >> 8 & 0xFF,
            bits & 0xFF,
        )


def _steps(value: float, low: float, high: float, bits: int) -> int:
    value = min(max(value, low), high)
    return int((value - low) * ((1 << bits) - 1) / (high - low))


def _value(steps: int, low: float, high: float, bits: int) -> float:
    return steps * (high - low) / ((1 << bits) - 1) + low


class RegisterFrame(NamedTuple):
    """A request on 0x7FF, or the motor's echo of it with a value."""

    motor: int
    operation: int
    register: int
    value: bytes = bytes(4)

    def pack(self) -> bytes:
        """8 bytes."""
        return _REGISTER.pack(*self)

    @classmethod
    def parse(cls, data: bytes) -> RegisterFrame | None:
        """None for other frames."""
        if len(data) != _REGISTER.size:
            return None
        frame = cls(*_REGISTER.unpack(data))
        return frame if frame.operation in _ECHOES and frame.motor <= REGISTER_ID else None


def is_echo(data: bytes, motor: int) -> bool:
    """Whether 8 bytes of ``motor`` echo a request: as feedback it would stand at the range's end."""
    return data[2] in _ECHOES and data[1] == motor >> 8 and data[0] == motor & 0xFF


def pack_value(register: int, value: float) -> bytes:
    """4 bytes, by the register's type."""
    kind = REGISTERS[register].kind
    return struct.pack("<" + kind, int(value) if kind == "I" else value)


def parse_value(register: int, value: bytes) -> float:
    """Of 4 bytes; a whole number where the register holds one."""
    number: float = struct.unpack("<" + REGISTERS[register].kind, value)[0]
    return number
