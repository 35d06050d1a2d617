"""The table of the simulation process: blocks laid anew for each episode, the arm left where it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.sim.blocks import EPISODE_STREAM, STEP_HZ
from wall_edge.sim.tabletop import arm, render
from wall_edge.sim.tabletop.drift import sample_drift
from wall_edge.sim.tabletop.scene import TIME_LIMIT_S, Episode, Status, sample_scene, sample_task


class TabletopWorld:
    """Call `step` at 30 Hz with the true joints; `frames` whenever a camera is read.

    While an episode runs its blocks drift at ``drift_m_s``: from how they were laid, their ways are fixed by
    (seed, index) and the number of steps, whatever the arm does.
    """

    def __init__(self, seed: int = 0, time_limit_s: float = TIME_LIMIT_S, drift_m_s: float = 0.0) -> None:
        self._seed = seed
        self._time_limit_s = time_limit_s
        self._drift_m_s = drift_m_s
        self._q = arm.REST.copy()
        self.episode = self.new_episode(0)

    def new_episode(self, index: int) -> Episode:
        """Lay the blocks of episode ``index`` and start its clock.

        Fixed by (seed, index), except that a layout with a block within 7 cm of the tip, as of the last
        `step`, is drawn again: nobody lays a block under the gripper.
        """
        rng = np.random.default_rng([EPISODE_STREAM, self._seed, index])
        scene = sample_scene(rng, clear_of=arm.tip(self._q)[:2].tolist())
        self.episode = Episode(scene, sample_task(rng, scene), self._time_limit_s)
        # Drawn last: tables with and without drift are laid alike.
        self._drift = sample_drift(rng, self._drift_m_s)
        return self.episode

    def frames(self, q: npt.ArrayLike) -> dict[str, npt.NDArray[np.uint8]]:
        """Both camera frames for joints ``q`` [6]; see `render.render`."""
        return render.render(q, self.episode.scene)

    def step(self, q: npt.ArrayLike) -> Status:
        """Advance blocks and episode by 1/30 s with the true joints ``q`` [6]; a finished one stays."""
        self._q = np.array(q, dtype=np.float64)
        if self.episode.status == "running":
            self._drift.advance(self.episode.scene, 1 / STEP_HZ)
        return self.episode.step(self._q)
