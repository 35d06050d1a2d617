"""Chunks: solved, continuous, within limits, speeds and time, whatever poses a policy sends."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kinematics.paths import DT, KINDS, Path, paths
from tests.arms import ENDS, arm_chain
from wall_edge.errors import KinematicsError
from wall_edge.kinematics import inverse, newton
from wall_edge.kinematics.aim import Poses, SolverSettings
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.inverse import ChunkSolver, Solution, shifted
from wall_edge.kinematics.rotations import distance, exp, log, to_matrix

HORIZON, EXECUTED = 32, 8
PATIENT = SolverSettings(cap_s=10)
"""A busy machine changes no result."""


def chunk(path: Path, start: int) -> Poses:
    steps = slice(start, start + HORIZON)
    return Poses(path.poses.positions[steps], path.poses.rotations[steps])


def first_path(name: str, kind: str, seed: int = 1) -> Path:
    return next(paths(arm_chain(name), kind, np.random.default_rng(seed)))


def require_bounds(chain: Chain, solution: Solution, seed: np.ndarray) -> None:
    steps = np.abs(np.diff(solution.positions, axis=0, prepend=seed[None]))
    assert (steps <= chain.velocity * DT * (1 + 1e-9)).all()
    inside = np.clip(solution.positions, chain.lower - 1e-12, chain.upper + 1e-12)
    assert (solution.positions == inside).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENDS)
def test_a_stream_of_chunks_follows_its_path(name: str, kind: str) -> None:
    chain, path = arm_chain(name), first_path(name, kind)
    solver, seed, plan = ChunkSolver(chain, PATIENT), path.seed, None
    for start in range(0, 25, EXECUTED):
        solution = solver.solve(chunk(path, start), seed, DT, plan)
        require_bounds(chain, solution, seed)
        assert solution.solved.mean() > 0.9
        assert not solution.capped
        assert solution.cold or start
        seed = solution.positions[EXECUTED - 1]
        plan = shifted(solution.positions, EXECUTED, chain.velocity * DT)
    reached, rotations = chain.forward(solution.positions)
    last = chunk(path, start)
    off = np.linalg.norm(reached - last.positions, axis=1)
    assert solution.error_m == pytest.approx(off, abs=1e-12)
    assert solution.error_rad == pytest.approx(distance(last.rotations, rotations), abs=1e-7)
    assert (solution.error_m[solution.solved] <= 1e-4).all()


def test_a_plan_makes_the_next_chunk_warm_and_the_same_poses_the_same_positions() -> None:
    chain, path = arm_chain("ur5"), first_path("ur5", "pi")
    solver = ChunkSolver(chain, PATIENT)
    one = solver.solve(chunk(path, 0), path.seed, DT)
    again = solver.solve(chunk(path, 0), path.seed, DT)
    assert one.cold
    assert (one.positions == again.positions).all()
    plan = shifted(one.positions, EXECUTED, chain.velocity * DT)
    two = solver.solve(chunk(path, EXECUTED), one.positions[EXECUTED - 1], DT, plan)
    assert not two.cold
    assert np.abs(two.positions[:-EXECUTED] - one.positions[EXECUTED:]).max() < 1e-3


def test_poses_through_pi_are_followed_without_a_jump() -> None:
    """Roll, pitch and yaw jump on this path; no joint does."""
    chain, path = arm_chain("piper"), first_path("piper", "pi")
    solution = ChunkSolver(chain, PATIENT).solve(path.poses, path.seed, DT)
    assert solution.solved.all()
    assert np.abs(np.diff(solution.positions, axis=0)).max() < 0.08


def test_the_first_step_starts_at_the_seed_however_far_the_pose_is() -> None:
    chain, path = arm_chain("ur5"), first_path("ur5", "pi")
    seed = np.clip(path.seed + 0.5, chain.lower, chain.upper)
    solution = ChunkSolver(chain, PATIENT).solve(chunk(path, 0), seed, DT)
    require_bounds(chain, solution, seed)
    assert not solution.solved[0]
    assert solution.solved[-1]  # it catches up
    assert solution.error_m[0] > 0.01


def test_a_seed_beyond_a_limit_is_led_back() -> None:
    chain, path = arm_chain("piper"), first_path("piper", "pi")
    seed = path.seed.copy()
    seed[2] = chain.upper[2] + 0.3
    solution = ChunkSolver(chain, PATIENT).solve(chunk(path, 0), seed, DT)
    steps = np.diff(solution.positions, axis=0, prepend=seed[None])
    assert (np.abs(steps) <= chain.velocity * DT * (1 + 1e-9)).all()
    assert steps[0, 2] < 0
    assert solution.positions[-1, 2] <= chain.upper[2]


def test_five_joints_follow_positions_exactly_and_orientations_as_they_can() -> None:
    chain, path = arm_chain("so101"), first_path("so101", "pi")
    tilted = Poses(path.poses.positions, path.poses.rotations @ exp(np.array([0.15, 0.1, 0.0])))
    solution = ChunkSolver(chain, PATIENT).solve(tilted, path.seed, DT)
    alone = ChunkSolver(chain, SolverSettings(cap_s=10, weak_weight=1e-3)).solve(tilted, path.seed, DT)
    assert solution.solved.all()
    assert solution.error_m.max() <= 1e-4
    assert solution.error_rad.min() > 0.02
    assert solution.error_rad.mean() < alone.error_rad.mean()
    assert solution.error_rad.max() < 0.3
    steps = np.abs(np.diff(solution.positions, axis=0)).max(1)
    assert steps.max() < 4 * np.median(steps)  # nearly stretched: plain Gauss and Newton shook by 0.3 rad


HOSTILE = {
    "millimetres": lambda poses, _: Poses(poses.positions * 1000, poses.rotations),
    "flips": lambda poses, rng: Poses(
        poses.positions,
        poses.rotations @ exp(np.array([np.pi, 0, 0]) * rng.integers(0, 2, (HORIZON, 1))),
    ),
    "noise": lambda poses, rng: Poses(
        poses.positions + rng.normal(0, 0.3, (HORIZON, 3)),
        poses.rotations @ exp(rng.normal(0, 1.0, (HORIZON, 3))),
    ),
    "base": lambda poses, _: Poses(np.zeros((HORIZON, 3)), poses.rotations),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_bound_is_exceeded_by_hostile_poses(name: str, hostile: str) -> None:
    chain, path, rng = arm_chain(name), first_path(name, "limits"), np.random.default_rng(2)
    solver, seed, plan = ChunkSolver(chain, PATIENT), path.seed, None
    for start in (0, EXECUTED):
        solution = solver.solve(HOSTILE[hostile](chunk(path, start), rng), seed, DT, plan)
        require_bounds(chain, solution, seed)
        assert np.isfinite(solution.positions).all()
        if hostile in ("millimetres", "noise"):
            assert solution.solved.mean() < 0.5
        seed, plan = (
            solution.positions[EXECUTED - 1],
            shifted(solution.positions, EXECUTED, chain.velocity * DT),
        )


def test_time_that_runs_out_leaves_a_bounded_plan() -> None:
    chain, path = arm_chain("panda"), first_path("panda", "pi")
    hurried = ChunkSolver(chain, SolverSettings(cap_s=1e-4))
    solution = hurried.solve(chunk(path, 0), path.seed, DT)
    assert solution.capped
    require_bounds(chain, solution, path.seed)
    patient = ChunkSolver(chain, PATIENT).solve(chunk(path, 0), path.seed, DT)
    assert solution.solved.sum() < patient.solved.sum()
    reached, _ = chain.forward(solution.positions)
    off = np.linalg.norm(reached - chunk(path, 0).positions, axis=1)
    assert solution.error_m == pytest.approx(off, abs=1e-12)  # what is flagged is what was sent


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["positions", "rotations", "seed", "previous"])
def test_what_is_not_finite_is_refused(part: str, bad: float) -> None:
    path = first_path("so101", "pi")
    poses = chunk(path, 0)
    values = {
        "positions": poses.positions.copy(),
        "rotations": poses.rotations.copy(),
        "seed": path.seed.copy(),
        "previous": np.repeat(path.seed[None], HORIZON, 0),
    }
    values[part].reshape(-1)[3] = bad
    solver = ChunkSolver(arm_chain("so101"), PATIENT)
    with pytest.raises(KinematicsError, match=f"{part} with NaN"):
        solver.solve(Poses(values["positions"], values["rotations"]), values["seed"], DT, values["previous"])


def test_a_speed_without_bound_and_none() -> None:
    path, chain = first_path("so101", "pi"), arm_chain("so101")
    poses = chunk(path, 0)
    for velocity, moves in ((np.inf, True), (0.0, False)):
        odd = replace(chain, velocity=np.full(5, velocity))
        plan = np.repeat(path.seed[None], HORIZON, 0) + 0.3
        solution = ChunkSolver(odd, PATIENT).solve(poses, path.seed, DT, plan)
        assert bool(solution.solved.all()) == moves
        assert moves or (solution.positions == path.seed).all()
    for dt in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(KinematicsError, match="dt"):
            ChunkSolver(chain, PATIENT).solve(poses, path.seed, dt)


def test_shapes_that_do_not_fit_are_refused() -> None:
    path = first_path("so101", "pi")
    poses, solver = chunk(path, 0), ChunkSolver(arm_chain("so101"), PATIENT)
    for arguments, name in (
        ((Poses(poses.positions, poses.rotations[:5]), path.seed, DT), "rotations"),
        ((Poses(poses.positions[:0], poses.rotations[:0]), path.seed, DT), "positions"),
        ((poses, np.zeros(6), DT), "seed"),
        ((poses, path.seed, DT, np.zeros((31, 5))), "previous"),
    ):
        with pytest.raises(KinematicsError, match=f"{name} of shape"):
            solver.solve(*arguments)


@given(st.integers(1, 12), st.integers(-2, 14))
@settings(max_examples=50)
def test_a_plan_is_shifted_and_drawn_on(horizon: int, executed: int) -> None:
    plan = np.cumsum(np.random.default_rng(horizon).uniform(-0.2, 0.2, (horizon, 3)), 0)
    most = np.array([0.05, 0.3, np.inf])
    moved = shifted(plan, executed, most)
    left = max(horizon - max(executed, 0), 1)
    assert moved.shape == plan.shape
    assert (moved[:left] == plan[horizon - left :]).all()
    assert (np.abs(np.diff(moved[left - 1 :], axis=0)) <= most + 1e-12).all()


def test_a_horizon_of_one_and_of_odd_lengths() -> None:
    chain, path = arm_chain("ur5"), first_path("ur5", "pi")
    for horizon in (1, 2, 3, 9, 50):
        poses = Poses(path.poses.positions[:horizon], path.poses.rotations[:horizon])
        solution = ChunkSolver(chain, PATIENT).solve(poses, path.seed, DT)
        assert solution.solved.all()
        warm = ChunkSolver(chain, PATIENT).solve(poses, path.seed, DT, solution.positions)
        assert not warm.cold
        assert np.abs(warm.positions - solution.positions).max() < 1e-3


def test_positions_stay_put_for_a_pose_that_stays() -> None:
    chain, path = arm_chain("panda"), first_path("panda", "pi")
    positions, rotations = chain.forward(path.seed[None])
    poses = Poses(np.repeat(positions, HORIZON, 0), np.repeat(rotations, HORIZON, 0))
    solution = ChunkSolver(chain, PATIENT).solve(poses, path.seed, DT)
    assert (solution.positions == path.seed).all()
    assert np.linalg.norm(log(to_matrix("rpy", np.zeros(3)))) == 0


@pytest.mark.parametrize("looks", [2, 3, 5, 8, 12, 16, 20])
@pytest.mark.parametrize("name", ENDS)
def test_where_time_runs_out_the_arm_stays(name: str, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not go on in the direction that it had, which the poses may have left."""
    chain, path = arm_chain(name), first_path(name, "pi")
    clock = iter([0.0] * looks)
    for module in (inverse, newton):
        monkeypatch.setattr(module, "perf_counter", lambda: next(clock, math.inf))
    solution = ChunkSolver(chain).solve(chunk(path, 0), path.seed, DT)
    assert solution.capped
    before = np.concatenate([path.seed[None], solution.positions[:-1]])
    stays = (np.abs(solution.positions - before) < 1e-12).all(axis=1)
    assert (solution.solved | stays).all()
