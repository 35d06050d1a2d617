"""moteus controllers on the other side of a CAN FD channel.

They are as strict as mjbots' firmware: a frame without the bit that asks for an answer gets none; a register
left out of a command is its default, and a position left out is 0.0; a fault and an expired watchdog obey
nothing but a stop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import (
    MAX_LENGTH,
    REPLY_BIT,
    Action,
    Part,
    from_raw,
    pad,
    parse,
    refusal,
    to_raw,
    write,
)
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint, MoteusSettings
from wall_edge_bridge.kinds.moteus.twin import memory
from wall_edge_bridge.kinds.moteus.twin.motor import MoteusMotor
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.rotor import Rotor
from wall_edge_bridge.sim.rotors import RotorTwin
from wall_edge_bridge.transport import Frame

_TURN = 2 * np.pi
_EVERYBODY = 0x7F
_SHORT = 0x7FF


class MoteusTwin(RotorTwin):
    """``motors``, one a joint, and ``extras`` that no joint has: a second one under an id, or a stranger."""

    def __init__(
        self,
        settings: MoteusSettings,
        joints: Sequence[MoteusJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        angles = self.angles(positions)
        self.motors = [MoteusMotor(joint.id, angle) for joint, angle in zip(joints, angles, strict=True)]
        self.extras: list[MoteusMotor] = []
        if timed:
            self.replies.duration = can_duration(settings.bitrate, settings.data_bitrate)

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        """Motors hear CAN FD and classic frames alike, whatever their bit rate switching."""
        self.advance(now_ns)
        arrival_ns = self.replies.request(frame, now_ns)
        destination, source = frame.id & 0xFF, frame.id >> 8
        if not frame.remote and source <= 0xFF and frame.extended == (frame.id > _SHORT):
            for motor in (*self.motors, *self.extras):
                if destination in (motor.id, _EVERYBODY) and motor.hears(now_ns):
                    answer = self._answer(motor, frame.data, now_ns)
                    if source & REPLY_BIT:
                        self.replies.put(_reply(motor, source, answer, frame), arrival_ns)
        return self.replies.collect(now_ns)

    @staticmethod
    def _answer(motor: MoteusMotor, data: bytes, now_ns: int) -> bytes:
        """Answers tell how things were before the frame's command, which is carried out at its end."""
        answer, commanded = b"", False
        for part in parse(data):
            if part.action is Action.WRITE:
                wrote, errors = _write(motor, part)
                commanded |= wrote
                answer += errors
            elif part.action is Action.READ:
                answer += _read(motor, part)
            if len(answer) > MAX_LENGTH:
                break
        if commanded:
            motor.apply(now_ns)
        return answer[:MAX_LENGTH]

    def advance(self, now_ns: int) -> None:
        for motor in (*self.motors, *self.extras):
            motor.advance(now_ns)

    def rotors(self) -> list[Rotor]:
        return [motor.rotor for motor in self.motors]

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.torque_on for motor in self.motors)

    def silence(self, index: int, silent: bool = True) -> None:
        self.motors[index].silent = silent

    def lose_torque(self, index: int) -> None:
        self.motors[index].lose_torque()

    def reboot(self, index: int, now_ns: int) -> None:
        self.motors[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.motors[index].offset += radians * self.joints[index].direction / _TURN

    def set_fault(self, index: int, name: str) -> None:
        """By the drive's names; the expired watchdog too."""
        motor = self.motors[index]
        if name == reg.WATCHDOG_EXPIRED.name:
            motor.expire()
        else:
            motor.fail(reg.CODES[name])


def _write(motor: MoteusMotor, part: Part) -> tuple[bool, bytes]:
    wrote_mode, errors = False, b""
    for offset, raw in enumerate(part.values):
        register = part.register + offset
        value = from_raw(raw, part.type, memory.scale_of(register))
        code = memory.store(motor, register, value)
        if code:
            errors += refusal(Action.WRITE_ERROR, register, code)
        wrote_mode |= register == reg.MODE and not code
    return wrote_mode, errors


def _read(motor: MoteusMotor, part: Part) -> bytes:
    values: list[float] = []
    for register in range(part.register, part.register + part.registers):
        entry = memory.reading(motor, register)
        if entry is None:
            head = write(part.type, part.register, values, Action.REPLY) if values else b""
            return head + refusal(Action.READ_ERROR, register, memory.UNKNOWN_REGISTER)
        values.append(to_raw(entry[0], part.type, entry[1]))
    return write(part.type, part.register, values, Action.REPLY)


def _reply(motor: MoteusMotor, source: int, answer: bytes, request: Frame) -> Frame:
    arbitration = motor.id << 8 | source & ~REPLY_BIT
    return Frame(arbitration, pad(answer), arbitration > _SHORT, request.fd or len(answer) > 8, request.brs)


make_twin = MoteusTwin
