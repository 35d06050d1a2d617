"""Explicit Euler integration of the flow-matching velocity field."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .errors import ConfigError

Floats = npt.NDArray[np.float32]


def integrate(velocity: Callable[[Floats, float], Floats], noise: Floats, steps: int) -> Floats:
    """From ``noise`` at time 0 to the action at time 1, ``[horizon, dof]`` both, in equal steps.

    LeRobot takes 10 steps (``linspace(0, 1, 11)``), upstream's September 2025 code 9.
    """
    if steps < 1:
        raise ConfigError(f"{steps} integration steps", expected="at least 1")
    times = np.linspace(0.0, 1.0, steps + 1, dtype=np.float32)
    x = noise
    for now, then in itertools.pairwise(times):
        x = x + (then - now) * velocity(x, float(now))
    return x
