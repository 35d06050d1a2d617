"""The stages by the name that ``simulation.world`` gives them."""

from __future__ import annotations

from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError
from wall_edge.sim.stage import StageKind
from wall_edge.sim.tabletop.stage import TABLETOP
from wall_edge.sim.two_handed.stage import TWO_HANDED

STAGES: dict[str, StageKind] = {kind.name: kind for kind in (TABLETOP, TWO_HANDED)}


def stage_of(config: RobotConfig) -> StageKind:
    """That of a simulated robot. Raises ConfigError for a robot that lives on none, or on another."""
    if config.simulation is None:
        raise ConfigError(
            f"{config.name} is not simulated", expected="simulated: true and a simulation section"
        )
    kind = STAGES.get(config.simulation.world)
    if kind is None:
        raise ConfigError(
            f"{config.name} lives in {config.simulation.world}",
            expected=f"{' or '.join(STAGES)}, the worlds in virtual time",
            fix="use 'wall-edge run'",
        )
    kind.require(config)
    return kind
