"""Damiao motors from their side of the CAN bus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from wall_edge_bridge.kinds.damiao.codec import REFRESH, REGISTER_ID, RegisterFrame
from wall_edge_bridge.kinds.damiao.others import GET_ID_REPLY, robstride_get_id
from wall_edge_bridge.kinds.damiao.registers import DISABLED, ENABLED, FAULTS
from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.twin.motor import SimulatedMotor
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.rotors import MotorsTwin
from wall_edge_bridge.transport import Frame

STATES = {fault.name: state for state, fault in FAULTS.items()}


class DamiaoTwin(MotorsTwin[SimulatedMotor]):
    """``motors`` in the order of the joints, then any that ``add`` put beside them.

    They hear each other: what one says on another's id is a command to that one.
    """

    def __init__(
        self,
        settings: DamiaoSettings,
        joints: Sequence[DamiaoJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        self._fd = settings.data_bitrate is not None
        self.motors = [
            SimulatedMotor(joint.id, joint.reply_id, joint.model, angle)
            for joint, angle in zip(joints, self.angles(positions), strict=True)
        ]
        self.echoes = False
        """Requests for feedback are echoed on the master id before they are answered, as some adapters do."""
        if timed:
            self.replies.duration = can_duration(settings.bitrate, settings.data_bitrate)

    def add(self, motor: SimulatedMotor) -> None:
        """Another motor on the bus, that is no joint."""
        self.motors.append(motor)

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        at_ns = self.replies.request(frame, now_ns)
        self._hear(frame, at_ns, None)
        return self.replies.collect(now_ns)

    def advance(self, now_ns: int) -> None:
        for motor in self.motors:
            motor.advance(now_ns)

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.state == ENABLED for motor in self.motors[: len(self.joints)])

    def lose_torque(self, index: int) -> None:
        self.motors[index].fail(DISABLED)

    def set_fault(self, index: int, name: str) -> None:
        self.motors[index].fail(STATES[name])

    def _hear(self, frame: Frame, at_ns: int, speaker: SimulatedMotor | None) -> None:
        """``frame`` arrives at all motors but its speaker."""
        if frame.remote or frame.fd != self._fd or frame.fd != frame.brs:
            return  # a classic controller destroys CAN FD frames; one set to CAN FD wants bit rate switching
        for motor in self.motors:
            if motor is not speaker and not motor.deaf(at_ns):
                self._hear_as(motor, frame, at_ns)

    def _hear_as(self, motor: SimulatedMotor, frame: Frame, at_ns: int) -> None:
        if motor.robstride:
            if (frame.extended, frame.id) == (True, robstride_get_id(motor.id).id):
                self.replies.put(Frame(motor.id << 8 | GET_ID_REPLY, bytes(8), extended=True), at_ns)
            return
        if frame.extended:
            return
        # Its answer goes where its master id was when it was asked.
        reply_id, data = motor.reply_id, None
        request = RegisterFrame.parse(frame.data) if frame.id == REGISTER_ID else None
        if request and request.motor == motor.id:
            if self.echoes and request.operation == REFRESH:
                self._say(motor, reply_id, frame.data, at_ns)
            data = motor.answer(request, at_ns)
        elif frame.id == motor.id:
            data = motor.hear(frame.data, at_ns)
        if data is not None:
            self._say(motor, reply_id, data, at_ns)

    def _say(self, motor: SimulatedMotor, reply_id: int, data: bytes, at_ns: int) -> None:
        reply = Frame(reply_id, data, fd=self._fd, brs=self._fd)
        self.replies.put(reply, at_ns)
        self._hear(reply, at_ns, motor)
