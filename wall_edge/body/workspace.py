"""Paths of poses kept inside the workspace, before inverse kinematics makes joint positions of them.

Boxes and table planes cut a path off, a speed delays it, and two tips that come too near wait until their
paths part. What joints do between the steps of a chunk is not known here: the servo loop watches it
(:mod:`wall_edge.runtime.motion.workspace`). Poses that are not finite are for the caller to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.body.bounds import bounded_poses, tip_pairs
from wall_edge.body.frames import Frame, fixed_frame
from wall_edge.body.model import RobotModel
from wall_edge.body.separation import Separation
from wall_edge.body.tip_speed import slowed
from wall_edge.config import PoseBounds, RobotConfig

SPEED_SHARE = 0.8
"""Of ``max_speed``, for chunks: joints that go from step to step, and blend one chunk into the next, bring
the tip to somewhat more."""
_TINY = 1e-9
"""m: less is rounding, and leaves a step as it is."""

Path = tuple[Floats, Floats]
"""Positions ``[H, 3]`` and rotations ``[H, 3, 3]``."""


@dataclass(frozen=True, eq=False)
class _Region:
    """Lowest and highest positions ``[3]`` in the axes of the bounds, where ``frame`` is that of the pose."""

    low: Floats
    high: Floats
    frame: Frame

    def nearest(self, positions: Floats) -> Floats:
        """The nearest to ``[H, 3]`` inside; ``positions`` itself where all are."""
        there = self.frame.move(positions)
        kept = np.minimum(np.maximum(there, self.low), self.high)
        outside = (np.abs(kept - there) > _TINY).any(axis=1)
        if not outside.any():
            return positions
        result: Floats = positions.copy()
        result[outside] = self.frame.back(kept[outside])
        return result


class Confinement:
    """What :class:`~wall_edge.config.workspace.WorkspaceConfig` asks of paths; without one, nothing."""

    def __init__(
        self, regions: Mapping[str, _Region], speeds: Mapping[str, float], apart: Separation | None
    ) -> None:
        self._regions, self._speeds, self._apart = regions, speeds, apart

    @classmethod
    def of(cls, config: RobotConfig, model: RobotModel) -> Confinement:
        """Raises KinematicsError for a frame that moves against its pose, or that is not there."""
        workspace = config.workspace
        if workspace is None:
            return cls({}, {}, None)
        assert config.kinematics is not None
        poses, regions, speeds = config.kinematics.poses, {}, {}
        for pose in bounded_poses(workspace, model):
            frame = fixed_frame(model.urdf, poses[pose.name].frame, pose.bounds.frame)
            low, high = _ends(pose.bounds, workspace.margin_m)
            if np.isfinite([*low, *high]).any():
                regions[pose.name] = _Region(low, high, frame)
            if pose.bounds.max_speed is not None:
                speeds[pose.name] = SPEED_SHARE * pose.bounds.max_speed
        pairs = tip_pairs(workspace, model)
        if not pairs:
            return cls(regions, speeds, None)
        assert workspace.tip_distance_m is not None
        root = model.chains[pairs[0][0]].chain.base
        names = dict.fromkeys(name for pair in pairs for name in pair)
        frames = {name: fixed_frame(model.urdf, poses[name].frame, root) for name in names}
        least = workspace.tip_distance_m + workspace.margin_m
        return cls(regions, speeds, Separation(pairs, frames, least, speeds))

    def confine(
        self, poses: Mapping[str, Path], start: Mapping[str, Floats], dt_s: float
    ) -> tuple[dict[str, Path], int]:
        """``poses`` by name, in their own frames, a step every ``dt_s``; and how many steps were changed.

        ``start`` [3]: where each tip is one step before the first. A pose that only ``start`` has stands
        still. Paths stay as continuous as they are, and confining one again changes nothing, unless it
        begins outside.
        """
        before = {name: path[0] for name, path in poses.items()}
        after = dict(before)
        for name, positions in before.items():
            if name in self._regions:
                after[name] = self._regions[name].nearest(positions)
            if name in self._speeds:
                after[name] = slowed(after[name], start[name], self._speeds[name] * dt_s)
        rotations = {name: path[1] for name, path in poses.items()}
        if self._apart is not None:
            after, rotations = self._apart.keep(after, rotations, start, dt_s)
        return {name: (after[name], rotations[name]) for name in poses}, _changed(before, after)


def _ends(bounds: PoseBounds, margin: float) -> tuple[Floats, Floats]:
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    if bounds.box is not None:
        low, high = np.array([bounds.box.x, bounds.box.y, bounds.box.z]).T
    if bounds.table_z is not None:
        low[2] = max(low[2], bounds.table_z)
    return low + margin, high - margin


def _changed(before: Mapping[str, Floats], after: Mapping[str, Floats]) -> int:
    differing = [
        (path != after[name]).any(axis=1) for name, path in before.items() if path is not after[name]
    ]
    return int(np.logical_or.reduce(differing).sum()) if differing else 0
