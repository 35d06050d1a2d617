"""The two-handed table as a stage: joints become poses by the simulation's own kinematics."""

from __future__ import annotations

import numpy.typing as npt

from wall_edge.array_types import Frame
from wall_edge.config import SimulationConfig
from wall_edge.sim.stage import StageKind
from wall_edge.sim.two_handed import arm
from wall_edge.sim.two_handed.referee import Episode, TwoHandedTable
from wall_edge.sim.two_handed.render import SIZES


class TwoHandedWorld:
    """:class:`TwoHandedTable` under 14 joints, as in `arm.JOINTS`."""

    def __init__(self, simulation: SimulationConfig) -> None:
        self._table = TwoHandedTable(simulation.seed, simulation.time_limit_s)

    @property
    def episode(self) -> Episode:
        return self._table.episode

    def new_episode(self, index: int) -> Episode:
        return self._table.new_episode(index)

    def frames(self, q: npt.ArrayLike) -> dict[str, Frame]:
        return self._table.frames(arm.forward(q))

    def step(self, q: npt.ArrayLike) -> str:
        return self._table.step(arm.forward(q))


TWO_HANDED = StageKind(
    name="two_handed", joints=arm.JOINTS, rest=arm.REST, cameras=SIZES, open=TwoHandedWorld
)
