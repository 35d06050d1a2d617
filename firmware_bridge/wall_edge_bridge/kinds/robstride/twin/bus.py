"""The motors' side of a CAN channel with RobStride motors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy.typing as npt

from wall_edge_bridge.kinds.robstride.codec import Mode
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint, RobStrideSettings
from wall_edge_bridge.kinds.robstride.twin.motor import SimulatedRobStride
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.rotors import MotorsTwin
from wall_edge_bridge.transport import Frame


class RobStrideTwin(MotorsTwin[SimulatedRobStride]):
    """``motors`` in the order of the joints; their attributes are the quirks of real ones."""

    def __init__(
        self,
        settings: RobStrideSettings,
        joints: Sequence[RobStrideJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        angles = self.angles(positions)
        self.motors = [
            SimulatedRobStride(joint, angle, settings.host_id)
            for joint, angle in zip(joints, angles, strict=True)
        ]
        self._more: list[SimulatedRobStride] = []
        if timed:
            self.replies.duration = can_duration(settings.bitrate)

    def add_twin(self, index: int) -> SimulatedRobStride:
        """A second motor with the id of a joint's."""
        motor = copy.deepcopy(self.motors[index])
        motor.uid = bytes([*motor.uid[:7], 2])
        self._more.append(motor)
        return motor

    def advance(self, now_ns: int) -> None:
        for motor in (*self.motors, *self._more):
            motor.advance(now_ns)

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        self.advance(now_ns)
        ready_ns = self.replies.request(frame, now_ns)
        if not frame.fd and not frame.remote:
            for motor in (*self.motors, *self._more):
                if motor.hears(now_ns):
                    self._reach(motor, frame, now_ns, ready_ns)
        return self.replies.collect(now_ns)

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.mode == Mode.RUN for motor in self.motors)

    def lose_torque(self, index: int) -> None:
        self.motors[index].stop()

    def set_fault(self, index: int, name: str) -> None:
        self.replies.put(self.motors[index].fail(name), 0)

    def _reach(self, motor: SimulatedRobStride, frame: Frame, now_ns: int, ready_ns: int) -> None:
        if motor.mit_framing != frame.extended and frame.id & 0xFF == motor.id:
            answers = motor.answer(frame, now_ns) if frame.extended else motor.answer_mit(frame)
            for answer in answers:
                self.replies.put(answer, ready_ns + motor.delay_ns)


make_twin = RobStrideTwin
