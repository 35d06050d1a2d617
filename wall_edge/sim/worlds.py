"""The simulated worlds by the name that ``simulation.world`` gives them."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon.world import World
from wall_edge.sim.world.plug import StageWorld
from wall_edge.sim.world.stages import STAGES

WORLDS: dict[str, Callable[[], World]] = dict.fromkeys(STAGES, StageWorld)


def open_world(config: RobotConfig) -> World | None:
    """The world that ROBOT.yaml asks for; None for a real robot."""
    return None if config.simulation is None else WORLDS[config.simulation.world]()
