"""The ``simulation`` section of ROBOT.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import (
    between,
)


@dataclass(frozen=True)
class SimulationConfig:
    """The simulated world."""

    world: Literal["tabletop", "two_handed"] = "tabletop"
    seed: int = 0
    drift_mm_s: float = 0.0
    """Speed at which every block wanders over the table [mm/s], 0 to 100."""
    time_limit_s: float = 12.0
    """An episode that takes longer has failed [s], 0.1 to 3600."""

    def __post_init__(self) -> None:
        between("seed", self.seed, 0, 2**32 - 1)
        between("drift_mm_s", self.drift_mm_s, 0, 100, "mm/s")
        between("time_limit_s", self.time_limit_s, 0.1, 3600, "s")
