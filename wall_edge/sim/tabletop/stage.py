"""The tabletop as a stage."""

from __future__ import annotations

from wall_edge.config import SimulationConfig
from wall_edge.sim.stage import StageKind
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld
from wall_edge.sim.tabletop.render import CAMERAS, SIZE


def _open(simulation: SimulationConfig) -> TabletopWorld:
    return TabletopWorld(simulation.seed, simulation.time_limit_s, simulation.drift_mm_s / 1000)


TABLETOP = StageKind(
    name="tabletop",
    joints=arm.JOINTS,
    rest=arm.REST,
    cameras=dict.fromkeys(CAMERAS, (SIZE, SIZE)),
    open=_open,
    drifts=True,
)
