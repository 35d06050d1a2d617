"""Times of the flow's integration steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wall_edge.checks import between
from wall_edge.errors import ConfigError

MAX_STEPS = 1000
EARLIEST_END = 0.9
"""Of the last time: what was trained ends at 0.999 or 1."""


@dataclass(frozen=True)
class TimeSchedule:
    """How a number of integration steps becomes times: equal steps t are moved to
    ``scale · shift · t / (1 + (shift - 1) · t)``.

    The first family takes the equal steps as they are; later checkpoints end at 0.999
    (github.com/X-Square-Robot/wall-x 1.1, ``noise_scheduler``: ``s`` and ``time_shift``).
    """

    scale: float = 1.0
    shift: float = 1.0

    def __post_init__(self) -> None:
        between("scale", self.scale, EARLIEST_END, 1.0)
        between("shift", self.shift, 1e-3, 1e3)

    def grid(self, steps: int) -> tuple[float, ...]:
        """Times of ``steps`` steps: LeRobot takes 10, upstream's September 2025 code 9."""
        if steps < 1:
            raise ConfigError(f"{steps} integration steps", expected="at least 1")
        times = np.linspace(0.0, 1.0, steps + 1)
        shifted = self.shift * times / (1.0 + (self.shift - 1.0) * times)
        shifted[-1] = 1.0  # rounded, a shift of 0.1 ends beyond it
        return tuple((self.scale * shifted).tolist())


def check_grid(grid: Sequence[float]) -> None:
    """Raise :class:`ConfigError` unless the times rise from 0 to 1 or shortly before it."""
    rising = all(now < then for now, then in itertools.pairwise(grid))
    ends = len(grid) >= 2 and grid[0] == 0.0 and EARLIEST_END <= grid[-1] <= 1.0
    # In float32, as the loop takes them: a step at 1 would divide by 0 where actions are masked.
    if not ends or not rising or not np.all(np.diff(np.asarray(grid, dtype=np.float32)) > 0):
        raise ConfigError(
            f"time grid {list(grid)}", expected=f"times that rise from 0 to between {EARLIEST_END} and 1"
        )
