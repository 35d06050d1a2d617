"""CAN motors that turn a rotor each: where they stand, between the joints' angles and the motors' own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives import OffsetJoint
from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.sim.rotor import Rotor


class RotorTwin(FrameTwin):
    """Motors of ``joints``, whose own angle is direction · joint + zero [rad]."""

    def __init__(self, joints: Sequence[OffsetJoint]) -> None:
        super().__init__(joints)
        self.direction = np.array([joint.direction for joint in joints])
        self._zero = np.array([joint.zero_rad for joint in joints])

    @abstractmethod
    def rotors(self) -> list[Rotor]:
        """[dof], of the joints' motors."""

    def angles(self, positions: npt.ArrayLike) -> list[float]:
        """[dof] the motors' own at ``positions`` [dof] rad."""
        angles: list[float] = (self.direction * np.asarray(positions, np.float64) + self._zero).tolist()
        return angles

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        self.advance(now_ns)
        angles = np.array([rotor.position for rotor in self.rotors()])
        positions: npt.NDArray[np.float64] = self.direction * (angles - self._zero)
        return positions

    def set_positions(self, positions: npt.ArrayLike) -> None:
        for rotor, angle in zip(self.rotors(), self.angles(positions), strict=True):
            rotor.position, rotor.velocity = angle, 0.0


class RotorMotor(Protocol):
    """One simulated motor that turns a rotor."""

    rotor: Rotor
    silent: bool
    """Cut off the bus."""
    offset: float
    """rad that it reports beyond where its shaft is."""

    def reboot(self, now_ns: int) -> None: ...


Motor = TypeVar("Motor", bound=RotorMotor)


class MotorsTwin(RotorTwin, Generic[Motor]):
    """``motors`` in the order of the joints, then any that are no joint's."""

    motors: list[Motor]

    def rotors(self) -> list[Rotor]:
        return [motor.rotor for motor in self.motors[: len(self.joints)]]

    def silence(self, index: int, silent: bool = True) -> None:
        self.motors[index].silent = silent

    def reboot(self, index: int, now_ns: int) -> None:
        self.advance(now_ns)
        self.motors[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.motors[index].offset += self.direction[index] * radians
