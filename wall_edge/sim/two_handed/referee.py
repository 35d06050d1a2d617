"""The referee of the two-handed task, and the table it watches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats, Frame
from wall_edge.sim.blocks import BLOCKS, EPISODE_STREAM, TOUCH_RADIUS, TOUCH_STEPS, Scene, Touches
from wall_edge.sim.two_handed import expert, render
from wall_edge.sim.two_handed.hands import HANDS, Hands
from wall_edge.sim.two_handed.scene import TIME_LIMIT_S, Task, sample_scene, sample_task

Status = Literal["running", "success", "wrong_block", "wrong_hand", "timeout"]


class Episode(Touches):
    """One attempt, judged once a step (30 Hz) by where both tips truly are."""

    def __init__(self, scene: Scene, task: Task, time_limit_s: float = TIME_LIMIT_S) -> None:
        """Start the clock; raises `ConfigError` for a time limit below one step or a colour not laid out."""
        super().__init__(scene, (task.first.colour, task.second.colour), time_limit_s)
        self.task = task
        self.status: Status = "running"
        self.least_tip_distance_m: float = np.inf
        self._held = np.zeros((len(HANDS), BLOCKS), dtype=np.int64)

    @property
    def instruction(self) -> str:
        """The whole task in words."""
        return self.task.instruction

    @property
    def subgoal(self) -> str:
        """The true current subgoal in words."""
        return self.task.subgoal(self.touched)

    def step(self, tips: Floats) -> Status:
        """Judge one step with both tips [2, 3] in the table frame (m); a finished episode stays as it is."""
        if self.status != "running":
            return self.status
        self.steps += 1
        apart = float(np.linalg.norm(tips[0] - tips[1]))
        self.least_tip_distance_m = min(self.least_tip_distance_m, apart)
        away = self.scene.touch_points() - tips[:, None]
        near = (away**2).sum(axis=-1) <= TOUCH_RADIUS**2
        self._held = np.where(near, self._held + 1, 0)
        for hand, block in np.argwhere((self._held >= TOUCH_STEPS) & ~self.scene.touched):
            if self.status == "running":
                self._touch(int(hand), int(block))
        if self.status == "running" and self.steps >= self._limit:
            self.status = "timeout"
        return self.status

    def _touch(self, hand: int, block: int) -> None:
        if block != self._order[self.touched]:
            self.status = "wrong_block"
        elif hand != self.task.touch(self.touched).hand:
            self.status = "wrong_hand"
        else:
            self.scene.touched[block] = True
            if self.touched == len(self._order):
                self.status = "success"


class TwoHandedTable:
    """Call `step` at 30 Hz with both hands' true slots; `frames` whenever a camera is read."""

    def __init__(self, seed: int = 0, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._seed, self._time_limit_s = seed, time_limit_s
        self._tips: Floats = expert.HOME
        self.episode = self.new_episode(0)

    def new_episode(self, index: int) -> Episode:
        """Lay the blocks of episode ``index`` and start its clock.

        Fixed by (seed, index), except that a layout with a block within 7 cm of a tip, as of the last `step`,
        is drawn again: nobody lays a block under a gripper.
        """
        rng = np.random.default_rng([EPISODE_STREAM, self._seed, index])
        scene = sample_scene(rng, clear_of=self._tips[:, :2])
        self.episode = Episode(scene, sample_task(rng, scene), self._time_limit_s)
        return self.episode

    def frames(self, slots: npt.ArrayLike) -> dict[str, Frame]:
        """All camera frames for both hands' ``slots`` [14]; see `render.render`."""
        return render.render(slots, self.episode.scene)

    def step(self, slots: npt.ArrayLike) -> Status:
        """Advance the episode by 1/30 s with both hands at ``slots`` [14]; a finished one stays."""
        self._tips = Hands.of(slots).position
        return self.episode.step(self._tips)
