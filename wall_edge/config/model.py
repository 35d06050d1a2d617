"""The ``model`` section of ROBOT.yaml, for export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.bundle import MAX_BINS, MAX_STEPS, ActionSpace, Reference, check_grid
from wall_edge.checks import (
    MAX_SIDE,
    between,
    counted,
    require_text,
)
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class ModelConfig:
    """What export has to know where the checkpoint does not say it; null leaves it to the checkpoint."""

    robot: str | None = None
    """Whose normalisation statistics to take, in a checkpoint that holds several."""
    horizon: int | None = None
    """Steps in an action chunk."""
    action_rate_hz: float | None = None
    """Steps of a chunk a second."""
    action_reference: Reference | None = None
    """Whether actions are values, offsets from the observed state, or from the chunk's first step."""
    integration_steps: int | None = None
    """Flow integration steps of equal length: 10 as LeRobot, 9 as upstream."""
    time_grid: tuple[float, ...] | None = None
    """Times of the integration steps, rising from 0 to 1 or shortly before it; instead of
    integration_steps."""
    resolution: int | None = None
    """Longest side of a frame after the first resize [pixels]."""
    unit: Literal["rad", "deg"] | None = None
    """What the checkpoint's normalisation statistics are in; LeRobot's files do not say."""
    state_bins: int | None = None
    """Of a policy that reads the state as text: into how many bins each value's range was cut."""
    prompt_action_space: ActionSpace | None = None
    """What the system turn calls the actions, of a policy that was trained with one that describes the
    robot."""

    def __post_init__(self) -> None:
        between("horizon", self.horizon, 1, 1024, "steps")
        between("action_rate_hz", self.action_rate_hz, 0.1, 1000, "Hz")
        between("integration_steps", self.integration_steps, 1, 1000)
        between("resolution", self.resolution, 28, MAX_SIDE, "pixels")
        between("state_bins", self.state_bins, 2, MAX_BINS)
        if self.robot is not None:
            require_text("robot", self.robot, 255)
        if self.time_grid is not None:
            counted("time_grid", self.time_grid, 2, MAX_STEPS + 1)
            if self.integration_steps is not None:
                raise Invalid("time_grid", list(self.time_grid), expected="none beside integration_steps")
            check_grid(self.time_grid)
