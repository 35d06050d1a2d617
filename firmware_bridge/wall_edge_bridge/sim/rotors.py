"""CAN motors that turn a rotor each: where they stand, between the joints' angles and the motors' own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

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
