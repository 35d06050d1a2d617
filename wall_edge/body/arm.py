"""One pose of a robot: its chunk of poses becomes joint positions, or is held where it could be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.body.model import PoseChain
from wall_edge.body.poses import PoseColumns, require_near
from wall_edge.config import KinematicsConfig
from wall_edge.kinematics.aim import FULL, Poses, SolverSettings
from wall_edge.kinematics.inverse import ChunkSolver, Solution
from wall_edge.kinematics.newton import Targets, refined

_TRIES = 12
"""Iterations that tell whether a pose could be reached, were there no limit on speed."""
_LEAST_S = 1e-4


@dataclass(frozen=True, eq=False)
class ArmChunk:
    """``positions [horizon, n]`` of the joints in ``PoseChain.columns``; how many steps are at their pose,

    only near it, or held where the arm was before.
    """

    positions: Floats
    solved: int
    nearest: int
    held: int


class Arm:
    """Inverse kinematics of one pose; ``columns`` says where it stands among the actions."""

    def __init__(
        self,
        chain: PoseChain,
        columns: PoseColumns,
        kinematics: KinematicsConfig,
        unreachable: Literal["nearest", "hold"],
    ) -> None:
        self.chain, self.columns = chain, columns
        self._holds = unreachable == "hold"
        self._turns = bool(columns.rotation) and kinematics.orientation_m > 0
        self._full = self._turns and len(chain.columns) >= FULL
        self._settings = _settings(kinematics, self._full)
        self._solver = ChunkSolver(chain.chain, self._settings)

    def poses(self, values: Floats, start: Floats, previous: Floats | None) -> tuple[Floats, Floats]:
        """The poses in a chunk of policy values ``[horizon, degrees]``, in the pose's frame.

        Where no orientation is asked for, it is that of the plan ``previous [horizon, dof]``, or without one
        of the joints ``start [dof]``, and gives way to positions.
        Raises :class:`PolicyError` for numbers that are no pose, or absurdly far away.
        """
        positions, rotations = self.columns.read(values)
        if rotations is None or not self._turns:
            _, turned = self.chain.forward(start if previous is None else previous)
            rotations = np.broadcast_to(turned, (len(values), 3, 3))
        require_near(self.chain, positions, rotations)
        return positions, rotations

    def follow(
        self, poses: tuple[Floats, Floats], start: Floats, dt_s: float, previous: Floats | None
    ) -> ArmChunk:
        """Follow ``poses`` (``[horizon, 3]``, ``[horizon, 3, 3]`` in the pose's frame), ``dt_s`` apart.

        ``start [dof]``: the joints one step before the first pose; ``previous [horizon, dof]``: what was
        planned for the same steps, if anything was.
        """
        chain, deadline = self.chain, perf_counter() + self._settings.cap_s
        targets = Poses(*chain.frame.undo(*poses))
        seed = chain.chain_positions(start)
        before = None if previous is None else chain.chain_positions(previous)
        solution = self._solver.solve(targets, seed, dt_s, before)
        beyond = np.zeros(len(solution.solved), np.bool_)
        if self._holds and not solution.solved.all():
            late = ~solution.solved
            beyond[late] = ~self._reachable(targets, solution.positions, late, deadline)
            if beyond.any():
                solution = self._without(targets, solution, beyond, seed, dt_s, deadline)
        q, solved, held = solution.positions, int((solution.solved & ~beyond).sum()), int(beyond.sum())
        return ArmChunk(chain.joint_positions(q), solved, len(q) - solved - held, held)

    def _reachable(
        self, poses: Poses, q: Floats, which: npt.NDArray[np.bool_], deadline: float
    ) -> npt.NDArray[np.bool_]:
        """Whether the arm could be at poses that it is not at, in time: some are only late."""
        settings = self._settings
        targets = Targets.of(poses.positions[which], poses.rotations[which])
        weight = settings.orientation_weight if self._full else 0.0
        postures = refined(self.chain.chain, q[which].T, targets, weight, _TRIES, deadline)
        reachable = postures.error_m <= settings.tolerance_m
        return reachable & (postures.error_rad <= settings.tolerance_rad) if self._full else reachable

    def _without(
        self,
        poses: Poses,
        solution: Solution,
        beyond: npt.NDArray[np.bool_],
        seed: Floats,
        dt_s: float,
        deadline: float,
    ) -> Solution:
        """The chunk in which poses ``beyond`` are those of the step before, in the time that is left."""
        rows = np.maximum.accumulate(np.where(beyond, -1, np.arange(len(beyond))))
        q = np.where((rows < 0)[:, None], seed, solution.positions[rows])
        positions, rotations = self.chain.chain.forward(seed[None])
        held = Poses(
            np.where((rows < 0)[:, None], positions, poses.positions[rows]),
            np.where((rows < 0)[:, None, None], rotations, poses.rotations[rows]),
        )
        left_s = max(deadline - perf_counter(), _LEAST_S)
        solver = ChunkSolver(self.chain.chain, replace(self._settings, cap_s=left_s))
        return solver.solve(held, seed, dt_s, q)


def _settings(kinematics: KinematicsConfig, full: bool) -> SolverSettings:
    usual = SolverSettings()
    weight = kinematics.orientation_m
    return SolverSettings(
        orientation_weight=weight if full else usual.orientation_weight,
        # An arm that cannot have every orientation would trade position for it.
        weak_weight=min(weight or usual.weak_weight, usual.weak_weight),
        cap_s=kinematics.cap_ms / 1e3,
        orientation=full,
    )
