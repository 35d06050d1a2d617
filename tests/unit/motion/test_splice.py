"""A chunk's curve, and how it takes over from the motion before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.array_types import Floats
from wall_edge.runtime.motion.splice import Splice


def at(splice: Splice, seconds: float, dof: int = 2) -> Floats:
    out = np.full((3, dof), np.nan)
    splice.at(seconds, out)
    return out


def resting(positions: Any, dt: float = 0.1) -> Splice:
    """The curve alone: nothing is left of the motion before it."""
    steps = np.array(positions, float).reshape(len(positions), -1)
    return Splice(steps, dt, -10.0, np.zeros((3, steps.shape[1])), 0.001)


def bspline(steps: Floats, dt: float, seconds: float) -> Floats:
    """Position, velocity and acceleration by de Boor's recursion: uniform knots, a phantom at each end."""
    first = 2 * steps[0] - steps[1] if len(steps) > 1 else steps[0]
    last = 2 * steps[-1] - steps[-2] if len(steps) > 1 else steps[-1]
    points = np.array([first, *steps, last])
    x = min(seconds / dt, len(steps) - 1)

    def basis(i: int, degree: int, u: float) -> float:
        """Of control point ``i``, whose knots are i - 2 … i + 2 for the cubic."""
        if degree == 0:
            return 1.0 if i <= u < i + 1 else 0.0
        return (u - i) / degree * basis(i, degree - 1, u) + (i + degree + 1 - u) / degree * basis(
            i + 1, degree - 1, u
        )

    def value(points: Floats, degree: int, u: float) -> Floats:
        return np.asarray(sum(basis(i, degree, u) * point for i, point in enumerate(points)))

    # Point k of ``points`` is step k - 1, whose cubic is centred on x = k - 1: u = x + 3.
    u = min(x + 3, len(points) - 1e-12)
    d1, d2 = np.diff(points, axis=0), np.diff(points, 2, axis=0)
    return np.array([value(points, 3, u), value(d1, 2, u - 1) / dt, value(d2, 1, u - 2) / dt**2])


RAMP = np.array([[0.0, 10.0], [1.0, 20.0], [3.0, 0.0], [3.0, -6.0]])

chunks = st.builds(
    lambda seed, length, scale: scale * np.random.default_rng(seed).normal(size=(length, 2)),
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.sampled_from([1e-3, 1.0, 57.3]),
)
periods = st.sampled_from([0.02, 1 / 30, 0.1, 0.5])


class TestTheCurve:
    @settings(max_examples=100, deadline=None)
    @given(chunks, periods, st.floats(0, 1.1))
    def test_is_de_boors(self, steps: Floats, dt: float, part: float) -> None:
        made = resting(steps, dt)
        assert made.end_s == (len(steps) - 1) * dt
        seconds = part * made.end_s
        scale = np.abs(steps).max() / np.array([[1.0], [dt], [dt * dt]])
        assert (np.abs(at(made, seconds) - bspline(steps, dt, seconds)) <= 1e-8 * scale).all()

    @pytest.mark.parametrize("k", [1, 2])
    def test_misses_a_step_by_a_sixth_of_the_second_difference(self, k: int) -> None:
        before, step, after = RAMP[k - 1 : k + 2]
        expected = [
            step + (before - 2 * step + after) / 6,
            (after - before) / 0.2,
            (before - 2 * step + after) / 0.01,
        ]
        np.testing.assert_allclose(at(resting(RAMP), 0.1 * k), expected, rtol=1e-12, atol=1e-12)

    def test_halfway_between_two_steps(self) -> None:
        """Weights 1, 23, 23, 1 of 48; -1, -5, 5, 1 of 8; 1, -1, -1, 1 of 2."""
        weights = np.array([[1, 23, 23, 1], [-1, -5, 5, 1], [1, -1, -1, 1]]) / [[48], [8], [2]]
        expected = weights @ RAMP / [[1], [0.1], [0.01]]
        np.testing.assert_allclose(at(resting(RAMP), 0.15), expected, rtol=1e-12, atol=1e-12)

    def test_begins_at_the_first_step_and_ends_at_the_last(self) -> None:
        made = resting(RAMP)
        first = [RAMP[0], (RAMP[1] - RAMP[0]) / 0.1, [0, 0]]
        last = [RAMP[-1], (RAMP[-1] - RAMP[-2]) / 0.1, [0, 0]]
        for seconds in (0.0, -1e-9, -3.0):
            np.testing.assert_allclose(at(made, seconds), first, rtol=0, atol=1e-11)
        for seconds in (made.end_s, made.end_s + 1e-9, 99.0):
            np.testing.assert_allclose(at(made, seconds), last, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.05, 1.0])
    def test_a_single_step_stands(self, seconds: float) -> None:
        made = resting([[1.5, -2.0]])
        assert made.end_s == 0.0
        np.testing.assert_allclose(at(made, seconds), [[1.5, -2.0], [0, 0], [0, 0]], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("seconds", [0.0, 0.03, 0.1])
    def test_two_steps_are_a_straight_line(self, seconds: float) -> None:
        expected = [[1 + 20 * seconds, 5 - 10 * seconds], [20, -10], [0, 0]]
        np.testing.assert_allclose(at(resting([[1, 5], [3, 4]]), seconds), expected, rtol=0, atol=1e-10)

    @settings(max_examples=100, deadline=None)
    @given(chunks, st.floats(0, 1))
    def test_stays_inside_the_hull_of_its_neighbours(self, steps: Floats, part: float) -> None:
        made = resting(steps)
        k = int(part * (len(steps) - 1))
        near = steps[max(0, k - 1) : k + 3]
        position, slack = at(made, part * made.end_s)[0], 1e-12 * np.abs(steps).max()
        assert (position >= near.min(axis=0) - slack).all()
        assert (position <= near.max(axis=0) + slack).all()

    def test_is_a_copy_of_its_steps(self) -> None:
        steps = RAMP.copy()
        made = resting(steps)
        before = at(made, 0.17)
        steps[:] = 99
        assert (at(made, 0.17) == before).all()


def quintic(difference: Floats, blend: float, t: float) -> Floats:
    """The polynomial with this value, slope, curvature at 0 and none at ``blend``: six equations."""

    def row(x: float, order: int) -> list[float]:
        unit = np.eye(6)
        return [float(np.polynomial.Polynomial(e).deriv(order)(x)) for e in unit]

    # In units of the blend, where the equations are well conditioned.
    scale = np.array([[1.0], [blend], [blend * blend]])
    equations = np.array([row(x, order) for x in (0.0, 1.0) for order in (0, 1, 2)])
    coefficients = np.linalg.solve(equations, np.concatenate((difference * scale, np.zeros_like(difference))))
    return np.array([row(t / blend, order) for order in (0, 1, 2)]) @ coefficients / scale


class TestTakeOver:
    @settings(max_examples=150, deadline=None)
    @given(chunks, periods, st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([0.008, 0.1, 0.5]))
    def test_continues_position_velocity_and_acceleration(
        self, steps: Floats, dt: float, seed: int, part: float, blend: float
    ) -> None:
        state = np.random.default_rng(seed).normal(size=(3, 2)) * [[1.0], [3.0], [20.0]]
        start = part * (len(steps) - 1) * dt
        made = Splice(steps, dt, start, state, blend)
        scale = np.maximum(np.abs(state).max(), np.abs(steps).max()) / np.array([[1.0], [dt], [dt * dt]])
        assert (np.abs(at(made, start) - state) <= 1e-9 * scale).all()
        over = start + blend * (1 + 1e-6)
        np.testing.assert_array_equal(at(made, over), at(resting(steps, dt), over))
        np.testing.assert_array_equal(at(made, start + 9.0), at(resting(steps, dt), start + 9.0))

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 2**32), st.floats(0, 1.2), st.sampled_from([0.008, 0.1, 0.5]))
    def test_what_is_left_is_the_quintic(self, seed: int, part: float, blend: float) -> None:
        rng = np.random.default_rng(seed)
        steps, state = rng.normal(size=(8, 2)), rng.normal(size=(3, 2)) * [[1.0], [3.0], [20.0]]
        made, alone, start = Splice(steps, 0.1, 0.13, state, blend), resting(steps), 0.13
        left = at(made, start + part * blend) - at(alone, start + part * blend)
        expected = quintic(state - at(alone, start), blend, part * blend) * (part < 1)
        scale = max(1.0, float(np.abs(steps).max())) / np.array([[1.0], [blend], [blend**2]])
        assert (np.abs(left - expected) <= 1e-9 * scale).all()

    @pytest.mark.parametrize("row", [0, 1, 2])
    def test_halfway_through_the_blend(self, row: int) -> None:
        """A unit of position, velocity or acceleration, onto a chunk that stands at 0: by hand."""
        b = 0.2
        state = np.zeros((3, 1))
        state[row] = 1.0
        made = Splice(np.zeros((5, 1)), 0.1, 0.1, state, b)
        expected = (
            (0.5, -1.875 / b, 0.0),
            (0.15625 * b, -0.4375, -1.5 / b),
            (b * b / 64, -b / 32, -0.25),
        )[row]
        np.testing.assert_allclose(at(made, 0.1 + b / 2, 1)[:, 0], expected, rtol=1e-12, atol=1e-12)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 2**32), st.floats(0.02, 0.98))
    def test_velocity_and_acceleration_are_the_derivatives(self, seed: int, part: float) -> None:
        rng = np.random.default_rng(seed)
        steps, state = rng.normal(size=(6, 2)), rng.normal(size=(3, 2)) * [[1.0], [3.0], [20.0]]
        made, h = Splice(steps, 0.1, 0.0, state, 0.3), 1e-5
        t = part * made.end_s
        low, here, high = at(made, t - h), at(made, t), at(made, t + h)
        central = (high - low)[:2] / (2 * h)
        # The third derivative jumps at a step and at the blend's end, so the second is good to h times that.
        np.testing.assert_allclose(central[0], here[1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(central[1], here[2], rtol=0, atol=0.3)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_stream_of_chunks_has_no_jumps(self, seed: int) -> None:
        """Each taken over somewhere in the last one's way, without a jump of a millionth of its scale."""
        rng = np.random.default_rng(seed)
        state = np.zeros((3, 2))
        scale = np.array([[1.0], [10.0], [100.0]])
        for _ in range(12):
            steps, dt = rng.normal(size=(rng.integers(1, 20), 2)), rng.choice([0.02, 0.1])
            start = rng.uniform(0, 1) * (len(steps) - 1) * dt
            made = Splice(steps, dt, start, state, rng.choice([0.01, 0.1, 0.4]))
            assert (np.abs(at(made, start) - state) <= 1e-6 * scale).all()
            # Just after the splice it has moved as velocity and acceleration say.
            h = 1e-9
            moved = state[0] + h * state[1]
            assert (np.abs(at(made, start + h)[0] - moved) <= 1e-9).all()
            state = at(made, start + rng.uniform(0, 1) * (made.end_s - start))
