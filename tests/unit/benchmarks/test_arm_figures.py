"""The figures of inverse kinematics: that the command runs, and that shares hold on a few paths."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.kinematics import arm_figures
from benchmarks.kinematics.paths import KINDS, dexterity, paths
from tests.arms import arm_chain
from wall_edge.kinematics.rotations import from_matrix


def test_the_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    report = arm_figures.main(["--quick", "--arm", "ur5"])
    printed = capsys.readouterr().out
    assert "ur5 chunk of two arms: chunks 21" in printed
    assert "machine: " in printed
    arm = report["arms"]["ur5"]
    assert set(arm) == {"joints", "tick", "chunk of two arms", "poses", *KINDS}
    assert arm["poses"]["solved"] == 1
    for kind in KINDS:
        assert arm[kind]["of_velocity_limit"] <= 1 + 1e-9
        assert arm[kind]["solved"] > 0.9


def test_paths_are_what_they_are_called() -> None:
    chain, rng = arm_chain("piper"), np.random.default_rng(0)
    poses = {kind: next(paths(chain, kind, rng)).poses for kind in KINDS}
    jumps = np.abs(np.diff(from_matrix("rpy", poses["pi"].rotations), axis=0))
    assert jumps.max() > np.pi
    path = next(paths(chain, "singular", rng))
    followed = arm_figures.ChunkSolver(chain, arm_figures.PATIENT).solve(path.poses, path.seed, 1 / 30)
    everywhere = rng.uniform(*arm_figures.ranges(chain), (500, 6))
    assert dexterity(chain, followed.positions).min() < 0.2 * np.median(dexterity(chain, everywhere))
