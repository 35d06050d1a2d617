"""The simulated worlds by the name that ``simulation.world`` gives them."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon.world import World
from wall_edge.sim.tabletop.world import Tabletop

WORLDS: dict[str, Callable[[], World]] = {"tabletop": Tabletop}


def open_world(config: RobotConfig) -> World | None:
    """The world that ROBOT.yaml asks for; None for a real robot."""
    return None if config.simulation is None else WORLDS[config.simulation.world]()
