"""The motors' side of a CAN channel with ODrives."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy.typing as npt

from wall_edge_bridge.kinds.odrive.errors import State
from wall_edge_bridge.kinds.odrive.settings import ODriveJoint, ODriveSettings
from wall_edge_bridge.kinds.odrive.twin.motor import SimulatedODrive
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.rotors import MotorsTwin
from wall_edge_bridge.transport import Frame

_QUEUE_NS = 120_000_000
"""What nobody fetched for so long is lost, as in a receive queue."""


class ODriveTwin(MotorsTwin[SimulatedODrive]):
    """``motors`` in the order of the joints; their attributes are the quirks of real ones."""

    def __init__(
        self,
        settings: ODriveSettings,
        joints: Sequence[ODriveJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        angles = self.angles(positions)
        self.motors = [
            SimulatedODrive(joint, angle, settings, phase)
            for phase, (joint, angle) in enumerate(zip(joints, angles, strict=True))
        ]
        self._more: list[SimulatedODrive] = []
        if timed:
            self.replies.duration = can_duration(settings.bitrate)

    def add_twin(self, index: int) -> SimulatedODrive:
        """A second axis with the node id of a joint's."""
        motor = copy.deepcopy(self.motors[index])
        motor.serial += 0x1000
        self._more.append(motor)
        return motor

    @property
    def due_ns(self) -> int | None:
        said_ns = min(motor.due_ns() for motor in self._all())
        return said_ns if self.replies.due_ns is None else min(said_ns, self.replies.due_ns)

    def advance(self, now_ns: int) -> None:
        said = [message for motor in self._all() for message in motor.speak(now_ns, now_ns - _QUEUE_NS)]
        for at, frame, heartbeat in sorted(said, key=lambda message: message[0]):
            (self.replies.say if heartbeat else self.replies.put)(frame, at)
        for motor in self._all():
            motor.advance(now_ns)

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        self.advance(now_ns)
        ready_ns = self.replies.request(frame, now_ns)
        if not frame.fd and not frame.extended:
            for motor in self._all():
                if motor.hears(now_ns):
                    for answer in motor.answer(frame, now_ns):
                        self.replies.put(answer, ready_ns)
        return self.replies.collect(now_ns)

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.state == State.CLOSED_LOOP for motor in self.motors)

    def lose_torque(self, index: int) -> None:
        self.motors[index].stop()

    def set_fault(self, index: int, name: str) -> None:
        self.motors[index].fail(name)

    def _all(self) -> list[SimulatedODrive]:
        return [*self.motors, *self._more]


make_twin = ODriveTwin
