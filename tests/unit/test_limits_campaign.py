"""The campaign against the limiter, small, and whether its judge sees what it must see."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from wall_edge.braking import Bounds
from wall_edge.runtime.limits import Limiter

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts' siblings, not a package

import limits_campaign
from limits_campaign import RATIOS, Run, campaign, outside, ratios

BOUNDS = [Bounds(-1.0, 1.0, 2.0, 20.0, 400.0)]


def test_no_bound_is_exceeded_and_every_bound_is_met() -> None:
    found = campaign(30_000, seed=1, jobs=1)
    assert found.violations == 0, found.first_violation
    assert (found.ticks, found.first_violation) == (30_000, "")
    assert found.splices > 500
    assert found.splice <= 1e-9
    assert found.bent > 1000
    assert min(found.worst.values()) > 0.999  # hostile enough: all bounds are at work
    assert max(found.worst.values()) <= 1.0


def test_the_judge_knows_the_derivatives() -> None:
    """A cubic of 300 rad/s³: at 100 Hz its differences are known."""
    t = np.arange(-3, 20) / 100
    found = ratios((50 * np.maximum(t, 0) ** 3)[3:, None], BOUNDS, 100.0)
    assert found["position"][-1, 0] == pytest.approx(50 * 0.19**3)
    assert found["velocity"][-1, 0] == pytest.approx(50 * (0.19**3 - 0.18**3) * 100 / 2)
    assert found["acceleration"][-1, 0] == pytest.approx(300 * 0.18 / 20)
    assert found["jerk"][-1, 0] == pytest.approx(300 / 400)
    assert {name: ratio.shape for name, ratio in found.items()} == dict.fromkeys(RATIOS, (20, 1))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_judge_sees_one_part_in_a_hundred_thousand(order: int) -> None:
    bound = (2.0, 20.0, 400.0)[order - 1]
    name, rate, n = RATIOS[order], 250.0, 4
    for over, expected in ((1e-5, True), (0.0, False), (-1e-5, False)):
        difference = np.zeros(n)
        difference[2] = bound * (1 + over)
        setpoints = difference
        for _ in range(order):
            setpoints = np.cumsum(setpoints) / rate
        assert (outside(setpoints[:, None], BOUNDS, rate)[name] > 0) == expected


def test_the_judge_sees_positions_beyond_the_range_and_nan() -> None:
    for value in (np.nextafter(1.0, 2.0), np.nextafter(-1.0, -2.0), np.nan):
        assert outside(np.full((9, 1), value), BOUNDS, 250.0)["position"] == 9
    assert not any(outside(np.full((9, 1), 1.0), BOUNDS, 250.0).values())
    assert outside(np.array([[0.0], [np.nan], [0.0]]), BOUNDS, 250.0)["jerk"] > 0


def test_a_violation_is_told_and_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limits_campaign.main(["--ticks", "300", "--jobs", "1", "--json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["ticks"], good["violations"], good["first_violation"]) == (300, 0, "")
    assert good["machine"]
    assert good["date"]

    class Careless(Limiter):
        def __init__(self, bounds: list[Bounds], dt: float) -> None:
            loose = [Bounds(b.lower, b.upper + 1, b.velocity, b.acceleration, 1.1 * b.jerk) for b in bounds]
            super().__init__(loose, dt)

    monkeypatch.setattr(limits_campaign, "Limiter", Careless)
    assert limits_campaign.main(["--ticks", "300", "--jobs", "1"]) == 1
    assert " x " in capsys.readouterr().out


def test_a_run_depends_on_its_seed_alone() -> None:
    assert Run((3, 4), 200).judged() == Run((3, 4), 200).judged()
    assert Run((3, 4), 200).judged() != Run((3, 5), 200).judged()
