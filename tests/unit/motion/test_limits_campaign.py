"""The limits campaign itself: a small one, and what it must not overlook."""

from __future__ import annotations

import json

import numpy as np
import pytest

import benchmarks.limits_campaign as limits_campaign
from benchmarks.limits_campaign import Tally, campaign, episode, judge
from wall_edge.config import Bounds
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.motion.splice import Splice


def test_no_stream_of_chunks_leads_out_of_the_bounds() -> None:
    tally = campaign(20_000, seed=1, jobs=1)
    assert tally.ticks == 20_000
    assert tally.violations == []
    assert tally.worst["splice"] < 1e-6
    assert all(0.99 < tally.worst[name] <= 1 for name in ("position", "velocity", "acceleration", "jerk"))
    # It was an attack: everything that may happen did.
    assert tally.counts["splices"] > 100
    assert tally.counts["following"] > 5000
    assert min(tally.counts[name] for name in ("ended", "empty", "held", "bent steps")) > 100
    assert (
        min(tally.counts[f"refused: {reason}"] for reason in ("epoch", "order", "future", "nan", "range")) > 5
    )


def test_an_episode_is_a_function_of_its_number() -> None:
    one, same, other = (episode(number, seed=5, ticks=300) for number in (3, 3, 4))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("setpoints", "named"),
    [
        ([0, 0.2, 0.5, 1.0 + 1e-9], "position"),
        ([0.0, 0.0, 2.1e-2], "velocity"),
        ([0.0, 0.0, 2.1e-3], "acceleration"),
        ([0.0, 0.0, 0.5e-3, 1.5e-3, 2.1e-3], "jerk"),
        ([0.0, np.nan], "position"),
        ([0.0, 0.3e-3, 1.0e-3, 1.7e-3, 2.1e-3], ""),
    ],
)
def test_what_is_out_of_bounds_is_seen(setpoints: list[float], named: str) -> None:
    tally = Tally()
    judge(np.array(setpoints), Bounds(-1.0, 1.0, 2.0, 20.0, 400.0), 0.01, tally, "here")
    assert any(said.startswith(f"here: {named} ") for said in tally.violations) == bool(named)


def test_a_limiter_that_lets_everything_through_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def through(self: Limiter, _now: np.ndarray, then: np.ndarray) -> np.ndarray:
        return self._keep([tuple(state) for state in then.T.tolist()])

    monkeypatch.setattr(Limiter, "follow", through)
    assert limits_campaign.main(["--ticks", "600", "--jobs", "1", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ticks"] == 600
    assert report["violations"] > 0
    assert report["worst ratio"]["jerk"] > 1
    assert {"machine", "python", "versions", "date"} <= set(report)


def test_a_splice_that_jumps_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Splice, "_decay", lambda _self, _s: None)
    tally = campaign(600, seed=0, jobs=1)
    assert any("a splice at tick" in said for said in tally.violations)


def test_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert limits_campaign.main(["--ticks", "200", "--jobs", "1"]) == 0
    assert "\nviolations: 0\n" in capsys.readouterr().out
