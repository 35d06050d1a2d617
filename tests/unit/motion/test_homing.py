"""The way to the rest pose."""

from __future__ import annotations

import numpy as np
import pytest
import ruckig
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wall_edge.config import Bounds
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.motion.braking import safe
from wall_edge.runtime.motion.homing import Homing
from wall_edge.runtime.motion.limits import Limiter

BOUNDS = [Bounds(-2.0, 2.0, 2.0, 20.0, 400.0, "a"), Bounds(-1.0, 3.0, 1.0, 8.0, 900.0, "b")]
REST = np.zeros((3, 2))
TARGET = [1.0, -0.5]


def at(homing: Homing, seconds: float) -> np.ndarray:
    out = np.full((3, 2), np.nan)
    homing.at(seconds, out)
    return out


def test_from_rest_by_hand() -> None:
    """1 rad at 0.9 · 0.8 rad/s and 360 rad/s³ (18 rad/s² are not reached): 1 / 0.72 + 2 √(0.72 / 360) s."""
    homing = Homing(REST, TARGET, 0.8, BOUNDS)
    assert homing.duration_s == pytest.approx(1 / 0.72 + 2 * 0.002**0.5, rel=1e-9)
    np.testing.assert_allclose(at(homing, 0.0), REST, atol=1e-12)
    np.testing.assert_allclose(at(homing, homing.duration_s / 2)[0], [0.5, -0.25], atol=1e-9)
    assert at(homing, homing.duration_s / 2)[1, 0] == pytest.approx(0.72)
    for late in (homing.duration_s, homing.duration_s + 1e-9, 99.0):
        np.testing.assert_allclose(at(homing, late), [TARGET, [0, 0], [0, 0]], atol=1e-9)


def test_a_joint_slower_than_the_velocity_goes_at_its_own() -> None:
    homing = Homing(REST, [0.0, 2.0], 5.0, BOUNDS)
    assert homing.duration_s == pytest.approx(2 / 0.9 + 0.9 / 7.2 + 7.2 / 810, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([100, 250]), st.floats(0.5, 2))
def test_from_a_moving_start_within_limits_to_rest_at_the_target(
    seed: int, rate: int, velocity: float
) -> None:
    """The limiter follows it to what a jerk that changes between two ticks leaves, some J · dt³.

    Where 0.9 of the jerk is too little to keep the moving start within the velocity bound, to milliradians.
    """
    rng, dt = np.random.default_rng(seed), 1 / rate
    limiter = Limiter(BOUNDS, dt)
    limiter.reset(rng.uniform(-0.4, 0.6, 2))
    push = rng.uniform(-1, 1, (3, 2)) * [[1], [2], [10]]
    for _ in range(rng.integers(1, rate // 4)):
        limiter.follow(push, push)
    start = limiter.state.copy()
    target = rng.uniform(-0.8, 1.5, 2)
    homing = Homing(start, target.tolist(), velocity, BOUNDS)
    np.testing.assert_allclose(at(homing, 0.0), start, rtol=0, atol=1e-9)
    np.testing.assert_allclose(at(homing, homing.duration_s), [target, [0, 0], [0, 0]], rtol=0, atol=1e-7)
    times = np.linspace(0, homing.duration_s, 400)
    way = np.array([at(homing, t) for t in times])
    room = True
    for joint, b in enumerate(BOUNDS):
        fastest = max(
            0.9 * min(velocity, b.velocity), abs(start[1, joint]) + start[2, joint] ** 2 / (1.8 * b.jerk)
        )
        room = room and fastest < 0.98 * b.velocity
        assert np.abs(way[:, 1, joint]).max() <= fastest * (1 + 1e-9)
        assert np.abs(way[:, 2, joint]).max() <= max(0.9 * b.acceleration, abs(start[2, joint])) * (1 + 1e-9)
        assert np.abs(np.diff(way[:, 2, joint])).max() / times[1] <= 0.9 * b.jerk * (1 + 1e-6)
    assume(
        all(
            way[:, 0, i].min() > b.lower + 1e-3 and way[:, 0, i].max() < b.upper - 1e-3
            for i, b in enumerate(BOUNDS)
        )
    )
    out = [limiter.position.copy()]
    for k in range(int(homing.duration_s * rate) + 2):
        wanted = at(homing, (k + 1) * dt)
        limiter.follow(at(homing, k * dt), wanted)
        out.append(limiter.position.copy())
        assert np.abs(limiter.position - wanted[0]).max() < (2 * 900 * dt**3 if room else 5e-3)
        states = zip(*limiter.state.tolist(), strict=True)
        assert all(safe(s, b) for s, b in zip(states, BOUNDS, strict=True))
    for order, bound in enumerate(("velocity", "acceleration", "jerk"), 1):
        worst = np.abs(np.diff(out, order, axis=0)).max(axis=0) * rate**order
        assert (worst <= [(1 + 1e-6) * getattr(b, bound) for b in BOUNDS]).all()
    for _ in range(rate):
        limiter.follow(wanted, wanted)
    np.testing.assert_allclose(limiter.position, target, rtol=0, atol=1e-6)


def test_it_is_there_when_it_stands_there() -> None:
    homing = Homing(np.array([TARGET, [0, 0], [0, 0]]), TARGET, 0.8, BOUNDS)
    assert homing.duration_s == 0.0
    np.testing.assert_allclose(at(homing, 0.004), [TARGET, [0, 0], [0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("target", "velocity"),
    [([np.nan, 0.0], 0.8), ([0.0, np.inf], 0.8), ([1.0, 0.0], 0.0), ([1.0, 0.0], -1.0)],
)
def test_without_a_way(target: list[float], velocity: float) -> None:
    with pytest.raises(RuntimeFault, match=r"^no way to the rest pose: \[ruckig\] "):
        Homing(REST, target, velocity, BOUNDS)


def test_an_answer_that_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __init__(self, dof: int) -> None:
            assert dof == 2

        def calculate(self, *_: object) -> object:
            return ruckig.Result.ErrorExecutionTimeCalculation

    monkeypatch.setattr(ruckig, "Ruckig", Odd)
    with pytest.raises(RuntimeFault, match=r"^no way to the rest pose: Ruckig says .*ErrorExecutionTime"):
        Homing(REST, TARGET, 0.8, BOUNDS)
