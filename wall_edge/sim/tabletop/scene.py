"""Blocks on the table, the task in words, and the referee that watches the tip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from wall_edge.sim.blocks import BLOCKS, COLOURS, SPACING, TOUCH_RADIUS, TOUCH_STEPS, Scene, Touches
from wall_edge.sim.tabletop import arm

Status = Literal["running", "success", "wrong_block", "timeout"]

# Sector in which the tip can touch a block and hover above it with the tool vertical.
RADIUS = (0.115, 0.20)
HALF_ANGLE = 1.15

TIME_LIMIT_S = 12.0


def sample_scene(
    rng: np.random.Generator, clear_of: Sequence[float] | None = None, clearance: float = 0.07
) -> Scene:
    """Three blocks of different colours, at least `SPACING` apart, uniform over the reachable sector.

    ``clear_of`` (x, y in metres) keeps every block ``clearance`` away from that point.
    """
    colours = rng.permutation(len(COLOURS))[:BLOCKS].astype(np.int64)
    while True:
        # Plain floats: numpy would take five times as long for three points.
        places = [_place(*draw) for draw in rng.random((BLOCKS, 2)).tolist()]
        if min(math.dist(a, b) for a, b in combinations(places, 2)) < SPACING:
            continue
        if clear_of is not None and min(math.dist(place, clear_of) for place in places) < clearance:
            continue
        return Scene(colours, np.array(places))


def _place(outwards: float, sideways: float) -> tuple[float, float]:
    """A point (x, y) of the sector, uniform in area for uniform arguments in 0 … 1."""
    radius = math.sqrt(RADIUS[0] ** 2 + outwards * (RADIUS[1] ** 2 - RADIUS[0] ** 2))
    angle = (2 * sideways - 1) * HALF_ANGLE
    return radius * math.cos(angle), radius * math.sin(angle)


@dataclass(frozen=True)
class Task:
    """Touch the block of colour ``first``, then that of colour ``second`` (indices into `COLOURS`)."""

    first: int
    second: int

    @property
    def instruction(self) -> str:
        """The whole task in words."""
        return f"touch the {COLOURS[self.first]} block, then the {COLOURS[self.second]} block."

    def subgoal(self, touched: int) -> str:
        """The next thing to do in words, when ``touched`` blocks of the task are done (0, or more)."""
        return f"touch the {COLOURS[self.target(touched)]} block."

    def target(self, touched: int) -> int:
        """Colour index of the block to touch next; the second one stays the target when both are done."""
        return self.second if touched else self.first


def sample_task(rng: np.random.Generator, scene: Scene) -> Task:
    """Two different blocks of the scene in a random order."""
    first, second = rng.permutation(scene.colours)[:2]
    return Task(int(first), int(second))


class Episode(Touches):
    """The referee of one attempt, called once a step (30 Hz) with the arm's true joints."""

    least_tip_distance_m: None = None
    """A lone tip is near no other."""

    def __init__(self, scene: Scene, task: Task, time_limit_s: float = TIME_LIMIT_S) -> None:
        """Start the clock; raises `ConfigError` for a time limit below one step or a colour not laid out."""
        super().__init__(scene, (task.first, task.second), time_limit_s)
        self.task = task
        self.status: Status = "running"
        self._held = np.zeros(BLOCKS, dtype=np.int64)

    @property
    def instruction(self) -> str:
        """The whole task in words."""
        return self.task.instruction

    @property
    def subgoal(self) -> str:
        """The true current subgoal in words."""
        return self.task.subgoal(self.touched)

    def step(self, q: npt.ArrayLike) -> Status:
        """Judge one step with true joints ``q`` [6]; a finished episode stays as it is."""
        if self.status != "running":
            return self.status
        self.steps += 1
        near = ((self.scene.touch_points() - arm.tip(q)) ** 2).sum(axis=1) <= TOUCH_RADIUS**2
        self._held = np.where(near, self._held + 1, 0)
        for index in np.flatnonzero((self._held >= TOUCH_STEPS) & ~self.scene.touched):
            self._touch(int(index))
        if self.status == "running" and self.steps >= self._limit:
            self.status = "timeout"
        return self.status

    def _touch(self, index: int) -> None:
        if index != self._order[self.touched]:
            self.status = "wrong_block"
            return
        self.scene.touched[index] = True
        if self.touched == len(self._order):
            self.status = "success"
