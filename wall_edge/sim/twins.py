"""The motors of a simulated robot: a twin for each of its drives, whatever their kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import ByteTwin, FrameTwin

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig


class Motor(NamedTuple):
    """One motor: the twin that it belongs to, and which of that twin's it is."""

    twin: ByteTwin | FrameTwin
    number: int


class RobotTwins:
    """Twins by the name of their drive, joints by their place in ``config.joints``.

    The joints stand at ``positions`` [dof] rad, without torque. Replies take no time on the line.
    """

    def __init__(self, config: RobotConfig, positions: npt.ArrayLike) -> None:
        places = {joint.name: index for index, joint in enumerate(config.joints)}
        start = np.asarray(positions, np.float64)
        self.dof = config.dof
        self.by_drive: dict[str, ByteTwin | FrameTwin] = {}
        self._indices: dict[str, npt.NDArray[np.intp]] = {}
        for name, settings in config.drives.items():
            joints = config.joints_of(name)
            indices = self._indices[name] = np.array([places[joint.name] for joint in joints])
            twin = kind_named(settings.kind).make_twin(settings, joints, start[indices], timed=False)
            self.by_drive[name] = twin

    def positions(self, now_ns: int) -> Floats:
        """[dof] rad, where the joints are at this moment, finer than what the motors report."""
        positions = np.zeros(self.dof)
        for name, twin in self.by_drive.items():
            positions[self._indices[name]] = twin.positions(now_ns)
        return positions

    def set_positions(self, positions: npt.ArrayLike) -> None:
        """Put the joints at ``positions`` [dof] rad, as by hand."""
        there = np.asarray(positions, np.float64)
        for name, twin in self.by_drive.items():
            twin.set_positions(there[self._indices[name]])

    def motor(self, joint: int) -> Motor:
        """That of one joint."""
        for name, indices in self._indices.items():
            if joint in indices:
                return Motor(self.by_drive[name], indices.tolist().index(joint))
        raise IndexError(joint)

    @property
    def motors(self) -> list[Motor]:
        """Of all joints, in their order."""
        return [self.motor(joint) for joint in range(self.dof)]
