"""The pose campaign itself: a small one, and what it must not overlook."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import workspace_cost
from benchmarks.fuzz import pose_fuzz
from benchmarks.fuzz.pose_fuzz import BOUNDS, Tally, campaign
from benchmarks.fuzz.pose_robot import READY, TIP_DISTANCE_M, manifest_of, pose_robot
from wall_edge.body.body import Body
from wall_edge.runtime.motion.workspace import WorkspaceWatch


def test_no_chunk_leads_out_of_the_workspace() -> None:
    tally = campaign(1200, seed=2, jobs=1, length=300)
    assert tally.violations == []
    for kind in ("not finite", "millimetres"):
        assert tally.counts[f"refused: {kind}"] == tally.counts[f"chunks: {kind}"]
    assert sum(kind.startswith("chunks: ") for kind in tally.counts) > 5
    assert tally.worst["speed"] > -0.3  # it was an attack: tips were as fast as they may be
    assert 0.99 < tally.joints["jerk"] <= 1 + 1e-6


def test_a_watch_that_looks_away_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkspaceWatch, "require_setpoint", lambda *_, **__: True)
    monkeypatch.setattr(WorkspaceWatch, "require_measured", lambda *_: None)
    tally = campaign(1200, seed=2, jobs=1, length=300)
    assert any("speed" in violation for violation in tally.violations)


@pytest.mark.parametrize("bound", BOUNDS)
def test_each_bound_is_judged(bound: str) -> None:
    """One setpoint out of three is beyond it; the same while it brakes is beyond the tolerance as well."""
    config = pose_robot(250)
    body = Body.of(config, manifest_of(config))
    path = np.tile(np.array(READY * 2), (3, 1))
    if bound == "box":
        path[1:, 0] = 2.3  # the pan: behind the base
    elif bound == "table":
        path[1:, [1, 2, 3]] = [1.2, 0.9, -1.9]
    elif bound == "tips":
        path[1:, [0, 7]] = [-1.5, 1.5]
        path[1:, [1, 2, 8, 9]] = [-0.4, 0.6, -0.4, 0.6]
    else:
        path[1, 0] = 0.1
    for braking in (1, 3):
        tally = Tally()
        pose_fuzz._judge(tally, path, braking, config, body, "here")
        phase = " while braking" if braking == 1 else ""
        assert any(f"here: {bound}{phase} " in violation for violation in tally.violations), tally


def test_the_ready_pose_is_inside() -> None:
    config = pose_robot(250)
    body = Body.of(config, manifest_of(config))
    assert body.model is not None
    beyond = pose_fuzz._beyond(body.model, np.tile(np.array(READY * 2), (2, 1)))
    assert all(values.max() < 0 for values in beyond.values())
    assert beyond["tips"].max() == pytest.approx(TIP_DISTANCE_M - 0.34)


def test_the_command_says_where_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert pose_fuzz.main(["--ticks", "200", "--jobs", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["violations"] == 0
    assert {"machine", "python", "versions", "date"} <= report.keys()


def test_what_it_costs_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert workspace_cost.main(["--seconds", "0.2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"machine", "python", "versions", "date"} <= report.keys()
    assert report["watch, a tick of two arms [us]"]["p50"] > 0


def test_an_episode_is_a_function_of_its_number() -> None:
    one, same, other = (pose_fuzz.episode(number, seed=5, ticks=60) for number in (3, 3, 5))
    assert one == same
    assert one != other
