"""The motors' side of a CAN channel with RobStride motors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.kinds.robstride.codec import Mode
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint, RobStrideSettings
from wall_edge_bridge.kinds.robstride.twin.motor import SimulatedRobStride
from wall_edge_bridge.sim import FrameTwin
from wall_edge_bridge.sim.line import can_frame_bits
from wall_edge_bridge.transport import Frame


class RobStrideTwin(FrameTwin):
    """``motors`` in the order of the joints; their attributes are the quirks of real ones."""

    def __init__(
        self,
        settings: RobStrideSettings,
        joints: Sequence[RobStrideJoint],
        positions: npt.ArrayLike | None = None,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        self._sign = np.array([joint.direction for joint in joints])
        self._zero = np.array([joint.zero_rad for joint in joints])
        angles = self._angles(np.zeros(len(joints)) if positions is None else positions)
        self.motors = [
            SimulatedRobStride(joint, angle, settings.host_id)
            for joint, angle in zip(joints, angles, strict=True)
        ]
        self._more: list[SimulatedRobStride] = []
        if timed:
            self.replies.duration = lambda frame: round(can_frame_bits(frame) * 1e9 / settings.bitrate)

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

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        self.advance(now_ns)
        angles = np.array([motor.rotor.position for motor in self.motors])
        positions: npt.NDArray[np.float64] = self._sign * (angles - self._zero)
        return positions

    def set_positions(self, positions: npt.ArrayLike) -> None:
        for motor, angle in zip(self.motors, self._angles(positions), strict=True):
            motor.rotor.position, motor.rotor.velocity = angle, 0.0

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.mode == Mode.RUN for motor in self.motors)

    def silence(self, index: int, silent: bool = True) -> None:
        self.motors[index].silent = silent

    def lose_torque(self, index: int) -> None:
        self.motors[index].stop()

    def reboot(self, index: int, now_ns: int) -> None:
        self.motors[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.motors[index].offset += self._sign[index] * radians

    def set_fault(self, index: int, name: str) -> None:
        self.replies.put(self.motors[index].fail(name), 0)

    def _reach(self, motor: SimulatedRobStride, frame: Frame, now_ns: int, ready_ns: int) -> None:
        if motor.mit_framing != frame.extended and frame.id & 0xFF == motor.id:
            answers = motor.answer(frame, now_ns) if frame.extended else motor.answer_mit(frame)
            for answer in answers:
                self.replies.put(answer, ready_ns + motor.delay_ns)

    def _angles(self, positions: npt.ArrayLike) -> list[float]:
        angles: list[float] = (self._sign * np.asarray(positions, np.float64) + self._zero).tolist()
        return angles


make_twin = RobStrideTwin
