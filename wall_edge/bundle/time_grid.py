"""Times of the flow's integration steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from wall_edge.errors import ConfigError

MAX_STEPS = 1000


def uniform_grid(steps: int) -> tuple[float, ...]:
    """Times of ``steps`` equal steps from 0 to 1: LeRobot takes 10, upstream's September 2025 code 9."""
    if steps < 1:
        raise ConfigError(f"{steps} integration steps", expected="at least 1")
    return tuple(np.linspace(0.0, 1.0, steps + 1).tolist())


def check_grid(grid: Sequence[float]) -> None:
    """Raise :class:`ConfigError` unless the times rise from 0 to 1."""
    rising = all(now < then for now, then in itertools.pairwise(grid))
    if len(grid) < 2 or grid[0] != 0.0 or grid[-1] != 1.0 or not rising:
        raise ConfigError(f"time grid {list(grid)}", expected="times that rise from 0 to 1, both included")
