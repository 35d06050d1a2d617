"""The way to the rest pose, behind it the limiter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import ruckig
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.braking import Bounds, stop_of
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.homing import Homing
from wall_edge.runtime.limits import Limiter

Floats = npt.NDArray[np.float64]

DT = 0.004
BOUNDS = [Bounds(-1.0, 1.0, 2.0, 20.0, 400.0), Bounds(0.0, 2.5, 1.0, 8.0, 900.0)]
REST = [0.5, 2.0]


def sampled(homing: Homing, seconds: npt.ArrayLike) -> Floats:
    """The states [n, 3, dof] at these times."""
    times = np.atleast_1d(seconds)
    out = np.full((len(times), 3, 2), np.nan)
    for k, t in enumerate(times):
        homing.at(float(t), out[k])
    return out


def state(*rows: tuple[float, float]) -> Floats:
    return np.array([*rows, *[(0.0, 0.0)] * (3 - len(rows))])


@pytest.mark.parametrize(
    "start",
    [
        state((-1.0, 0.0)),
        state((0.2, 1.0), (-1.5, 0.5)),
        state((0.2, 1.0), (1.0, -0.9), (-19.0, 7.0)),
        state((0.5, 2.0)),
        state((0.0, 1.0), (2.0, 1.0)),  # faster than the nine tenths that it is to keep
    ],
    ids=str,
)
@pytest.mark.parametrize("velocity", [0.3, 100.0])
def test_it_begins_as_the_motion_is_and_ends_at_rest(start: Floats, velocity: float) -> None:
    homing = Homing(start, REST, velocity, BOUNDS)
    np.testing.assert_allclose(sampled(homing, 0.0)[0], start, atol=1e-9)
    for late in (0.0, 1e-9, DT, 100.0):
        end = sampled(homing, homing.duration_s + late)[0]
        np.testing.assert_allclose(end, state((0.5, 2.0)), atol=1e-8)


@pytest.mark.parametrize("velocity", [0.3, 1.2, 100.0])
def test_it_keeps_nine_tenths_of_every_bound_and_the_given_velocity(velocity: float) -> None:
    homing = Homing(state((-0.9, 0.1)), REST, velocity, BOUNDS)
    way = sampled(homing, np.linspace(0, homing.duration_s, 2000))
    fastest = np.abs(way[:, 1]).max(axis=0)
    assert (fastest <= [0.9 * min(velocity, b.velocity) + 1e-9 for b in BOUNDS]).all()
    assert (np.abs(way[:, 2]).max(axis=0) <= [0.9 * b.acceleration + 1e-9 for b in BOUNDS]).all()
    jerk = np.abs(np.diff(way[:, 2], axis=0)).max(axis=0) / (homing.duration_s / 1999)
    assert (jerk <= [0.9 * b.jerk * (1 + 1e-6) for b in BOUNDS]).all()
    # One joint is the slowest and uses what it may; all arrive together.
    shares = fastest / [0.9 * min(velocity, b.velocity) for b in BOUNDS]
    assert shares.max() == pytest.approx(1.0, abs=1e-6)
    for joint in (0, 1):
        assert np.abs(way[-20:-2, 1, joint]).min() > 0


def test_all_joints_arrive_together_and_a_longer_way_takes_longer() -> None:
    near, far = (Homing(state((p, 2.0)), REST, 0.8, BOUNDS).duration_s for p in (0.4, -1.0))
    assert far > near > 0
    assert far == pytest.approx(1.5 / (0.9 * 0.8), abs=0.2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_limiter_follows_it_to_rest_from_any_safe_state(seed: int) -> None:
    """Whatever moved the arm before, it stands at the rest pose soon after the time is over."""
    rng = np.random.default_rng(seed)
    limiter = Limiter(BOUNDS, DT)
    limiter.reset([rng.uniform(b.lower + 0.5, b.upper - 0.5) for b in BOUNDS])
    for _ in range(rng.integers(0, 60)):
        wanted = state((rng.uniform(-1, 1), rng.uniform(0, 2.5)), tuple(rng.uniform(-1, 1, 2)))
        limiter.follow(wanted, wanted)
    homing = Homing(limiter.state, REST, 0.8, BOUNDS)
    now, then = np.empty((3, 2)), np.empty((3, 2))
    ticks = int(homing.duration_s / DT) + 200
    for tick in range(ticks):
        homing.at(tick * DT, now)
        homing.at((tick + 1) * DT, then)
        limiter.follow(now, then)
    np.testing.assert_allclose(limiter.position, REST, atol=1e-4)


def test_the_state_is_only_read() -> None:
    start = state((0.2, 1.0), (1.0, -0.5), (-3.0, 2.0))
    before = start.copy()
    Homing(start, REST, 0.8, BOUNDS)
    np.testing.assert_array_equal(start, before)


@pytest.mark.parametrize(
    ("start", "rest", "velocity"),
    [
        (state((np.nan, 1.0)), REST, 0.8),
        (state((0.0, 1.0)), [0.5, np.inf], 0.8),
        (state((0.0, 1.0)), REST, -1.0),
    ],
)
def test_no_way_is_a_fault(start: Floats, rest: list[float], velocity: float) -> None:
    with pytest.raises(RuntimeFault, match="no way to the rest pose"):
        Homing(start, rest, velocity, BOUNDS)


def test_a_result_that_is_no_trajectory_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Ruckig raises instead; another build of it only says so."""

    class Silent:
        def __init__(self, dof: int) -> None:
            assert dof == 2

        def calculate(self, *_: object) -> ruckig.Result:
            return ruckig.Result.ErrorSynchronizationCalculation

    monkeypatch.setattr(ruckig, "Ruckig", Silent)
    with pytest.raises(RuntimeFault, match=r"Ruckig says .*ErrorSynchronizationCalculation"):
        Homing(state((0.0, 1.0)), REST, 0.8, BOUNDS)


def test_the_first_state_can_be_beyond_nine_tenths_of_its_bounds() -> None:
    """The arm may move at its bounds when it is told to stop; Ruckig first brings it below nine tenths."""
    start = state((0.0, 1.0), (0.999 * 2.0, -0.999), (0.0, 0.0))
    way = sampled(homing := Homing(start, REST, 100.0, BOUNDS), np.linspace(0, 1, 500))
    assert homing.duration_s >= max(
        sum(stop_of(v, 0.0, b)[2:]) for v, b in zip(start[1], BOUNDS, strict=True)
    )
    assert np.abs(way[0, 1]).tolist() == pytest.approx([1.998, 0.999])
    assert (np.abs(way[:, 1]).max(axis=0) <= [2.0, 1.0]).all()
