"""One step at a time: half turns, limits, poses out of reach, and single poses from anywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.arms import ENDS, arm_chain
from wall_edge.config_loader import Invalid
from wall_edge.kinematics.aim import Poses, SolverSettings
from wall_edge.kinematics.newton import CLOSE_M, CLOSE_RAD, Targets, compared, refined, turn_to
from wall_edge.kinematics.rotations import exp, log
from wall_edge.kinematics.search import ranges, search


def reachable(name: str, count: int, seed: int = 4) -> tuple[np.ndarray, Poses]:
    chain = arm_chain(name)
    q = np.random.default_rng(seed).uniform(*ranges(chain), (count, len(chain.joints)))
    return q, Poses(*chain.forward(q))


def test_a_turn_is_the_logarithm() -> None:
    q, poses = reachable("ur5", 200)
    chain = arm_chain("ur5")
    motion = chain.motion(np.roll(q, 1, 0).T)
    expected = log(poses.rotations @ motion.columns.transpose(2, 0, 1))
    turn = turn_to(motion, Targets.of(poses.positions, poses.rotations))
    assert np.abs(turn.T - expected).max() < 1e-8
    assert np.linalg.norm(expected, axis=1).max() > 3


@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-9, 1e-7, 1e-4])
def test_half_a_turn_is_no_place_to_rest(off: float) -> None:
    """The sine of half a turn is 0: a solver by sines alone would call the opposite orientation reached."""
    chain, q = arm_chain("ur5"), np.array([[0.3, -1.2, 1.5, -0.7, 0.9, 0.5]])
    positions, rotations = chain.forward(q)
    targets = Targets.of(positions, rotations @ exp(np.array([0.0, 0.0, math.pi - off])))
    start = compared(chain, q.T, targets)
    assert start.error_rad[0] == pytest.approx(math.pi - off, abs=1e-6)
    end = refined(chain, q.T, targets, 0.2, 60)
    assert end.error_rad[0] < CLOSE_RAD
    assert end.error_m[0] < CLOSE_M


def test_what_comes_out_is_within_limits_and_what_it_says() -> None:
    for name in ENDS:
        chain = arm_chain(name)
        q, poses = reachable(name, 100)
        targets = Targets.of(poses.positions, poses.rotations)
        end = refined(chain, np.roll(q, 1, 0).T, targets, 0.2, 10)
        assert (end.q >= chain.lower[:, None]).all()
        assert (end.q <= chain.upper[:, None]).all()
        again = compared(chain, end.q, targets)
        assert np.abs(again.error_m - end.error_m).max() < 1e-12
        assert np.abs(again.error_rad - end.error_rad).max() < 1e-7


def test_a_posture_does_not_depend_on_its_neighbours() -> None:
    chain = arm_chain("panda")
    q, poses = reachable("panda", 20)
    targets, start = Targets.of(poses.positions, poses.rotations), np.roll(q, 1, 0).T
    together = refined(chain, start, targets, 0.2, 8)
    for i in range(20):
        alone = refined(chain, start[:, i : i + 1], targets.at(slice(i, i + 1)), 0.2, 8)
        assert np.abs(alone.q[:, 0] - together.q[:, i]).max() < 1e-6


def test_a_pose_out_of_reach_is_approached() -> None:
    """A thousand times too far, as metres read as millimetres: the arm stretches towards it."""
    chain, q = arm_chain("ur5"), np.array([[0.3, -1.2, 1.5, -0.7, 0.9, 0.5]])
    positions, rotations = chain.forward(q)
    end = refined(chain, q.T, Targets.of(positions * 1000, rotations), 0.0, 60)
    reach = chain.forward(end.q.T)[0][0]
    assert np.linalg.norm(reach) > 0.9
    assert reach @ positions[0] / np.linalg.norm(reach) / np.linalg.norm(positions[0]) > 0.98


@pytest.mark.parametrize("name", ENDS)
def test_single_poses_from_anywhere(name: str) -> None:
    chain, settings = arm_chain(name), SolverSettings()
    _, poses = reachable(name, 60)
    middle = np.mean(ranges(chain), 0)
    once, _ = search(chain, poses, middle, restarts=0)
    solved, found = search(chain, poses, middle, restarts=60)
    assert solved.mean() >= 0.98
    assert once.mean() < 1  # so restarts were of use
    positions, rotations = chain.forward(found.q.T[solved])
    assert np.linalg.norm(positions - poses.positions[solved], axis=1).max() <= settings.tolerance_m
    if len(chain.joints) >= 6:
        turns = log(rotations @ poses.rotations[solved].swapaxes(-1, -2))
        assert np.linalg.norm(turns, axis=1).max() <= settings.tolerance_rad


def test_a_pose_that_nothing_reaches_is_not_solved() -> None:
    chain = arm_chain("piper")
    _, poses = reachable("piper", 2)
    far = Poses(poses.positions + np.array([[0, 0, 5.0], [0, 0, 0]]), poses.rotations)
    solved, found = search(chain, far, np.mean(ranges(chain), 0), restarts=20)
    assert solved.tolist() == [False, True]
    assert found.error_m[0] > 3


@pytest.mark.parametrize(
    ("key", "value"),
    [("cap_s", 0.0), ("cap_s", math.nan), ("tolerance_m", 1e-6), ("orientation_weight", -1.0)],
)
def test_settings_that_cannot_be_meant(key: str, value: float) -> None:
    with pytest.raises(Invalid, match=key):
        SolverSettings(**{key: value})
