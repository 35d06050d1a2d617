"""Coloured blocks on a table: what every simulated world has its robot touch.

A touch is a tip staying within `TOUCH_RADIUS` of a block's touch point, 5 mm above the centre of its top face
so that the fingertip never presses into it, for `TOUCH_STEPS` consecutive steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.errors import ConfigError

COLOURS = ("red", "green", "blue", "yellow", "purple")
BLOCKS = 3
BLOCK_SIZE = 0.04
SPACING = 0.075

STEP_HZ = 30
TOUCH_HEIGHT = BLOCK_SIZE + 0.005
TOUCH_RADIUS = 0.025
TOUCH_STEPS = 6

# First word of every seed: training draws and evaluation episodes never share a random stream.
TRAIN_STREAM = 1
EPISODE_STREAM = 2


@dataclass
class Scene:
    """Three blocks: ``colours`` [3] indices into `COLOURS`, ``xy`` [3, 2] in metres, ``touched`` [3]."""

    colours: npt.NDArray[np.int64]
    xy: Floats
    touched: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(BLOCKS, dtype=np.bool_))

    def index(self, colour: int) -> int:
        """Which block has this colour; raises `ConfigError` if none does."""
        for index, present in enumerate(self.colours.tolist()):
            if present == colour:
                return index
        names = ", ".join(COLOURS[present] for present in self.colours)
        raise ConfigError(f"no block of colour {colour} in the scene", expected=f"one of {names}")

    def touch_points(self) -> Floats:
        """[3, 3] in metres: where a tip touches each block."""
        return np.column_stack((self.xy, np.full(len(self.xy), TOUCH_HEIGHT)))


class Touches:
    """What every referee counts: blocks touched in an order, within a time."""

    def __init__(self, scene: Scene, colours: Sequence[int], time_limit_s: float) -> None:
        """Start the clock; raises `ConfigError` for a time limit below one step or a colour not laid out."""
        self._limit = round(time_limit_s * STEP_HZ)
        if self._limit < 1:
            raise ConfigError(f"time limit {time_limit_s} s", expected=f"at least one step of 1/{STEP_HZ} s")
        self.scene = scene
        self.steps = 0
        self._order = [scene.index(colour) for colour in colours]

    @property
    def touched(self) -> int:
        """How many touches of the task are done."""
        return int(self.scene.touched[self._order].sum())

    @property
    def target_xy(self) -> Floats:
        """Position [2] (m) of the block to touch next; the last one's when all are done."""
        xy: Floats = self.scene.xy[self._order[min(self.touched, len(self._order) - 1)]]
        return xy

    @property
    def seconds(self) -> float:
        """Time on the episode's clock."""
        return self.steps / STEP_HZ
