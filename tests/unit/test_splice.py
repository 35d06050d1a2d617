"""A chunk as a curve, against de Boor's recursion, the quintic's linear system, and finite differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.runtime.splice import Splice

Floats = npt.NDArray[np.float64]

STEPS = np.array([[0.0, 1.0], [1.0, 1.5], [0.5, -1.0], [2.0, 0.25], [2.5, 0.0]])
DT, BLEND = 0.1, 0.12
SCALES = (1.0, 10.0, 100.0)
"""Of position, velocity and acceleration."""

arrays = st.tuples(st.integers(1, 12), st.integers(0, 2**32)).map(
    lambda drawn: np.random.default_rng(drawn[1]).uniform(-3, 3, (drawn[0], 2))
)
states = st.integers(0, 2**32).map(
    lambda seed: np.random.default_rng(seed).uniform(-1, 1, (3, 2)) * np.array(SCALES)[:, None]
)


def at(splice: Splice, seconds: float) -> Floats:
    out = np.full((3, 2), np.nan)
    splice.at(seconds, out)
    return out


def plain(steps: Floats, dt: float = DT) -> Splice:
    """The curve alone: taken over from exactly where it begins."""
    start = np.zeros((3, steps.shape[1]))
    start[0] = steps[0]
    if len(steps) > 1:
        start[1] = (steps[1] - steps[0]) / dt
    return Splice(steps, dt, 0.0, start, BLEND)


def de_boor(steps: Floats, u: float, order: int) -> Floats:
    """The cubic B-spline on whole knots by the textbook's recursion: a derivative at step ``u``."""

    def basis(i: int, degree: int) -> float:
        if degree == 0:
            return float(i <= u < i + 1)
        left = (u - i) / degree * basis(i, degree - 1)
        return left + (i + degree + 1 - u) / degree * basis(i + 1, degree - 1)

    def derived(i: int, degree: int, times: int) -> float:
        if times == 0:
            return basis(i, degree)
        return derived(i, degree - 1, times - 1) - derived(i + 1, degree - 1, times - 1)

    ends = (2 * steps[:1] - steps[1:2], steps, 2 * steps[-1:] - steps[-2:-1])
    points = np.concatenate(ends)  # control point k is in the middle of the four intervals from k - 3 on
    return np.asarray(sum(derived(k - 3, 3, order) * point for k, point in enumerate(points)))


@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 0.999, 1.0, 1.7, 2.0, 2.3, 3.0, 3.9])
@pytest.mark.parametrize("dt", [DT, 0.5])
def test_the_curve_is_the_uniform_cubic_b_spline(u: float, dt: float) -> None:
    got = at(plain(STEPS, dt), u * dt)
    for order, row in enumerate(got):
        np.testing.assert_allclose(row, de_boor(STEPS, u, order) / dt**order, atol=1e-9)


def quintic(state: Floats, blend: float, t: float, order: int) -> Floats:
    """The polynomial that leads ``state`` [3, dof] to nothing within ``blend``, from its six conditions."""

    def powers(at: float, derivative: int) -> list[float]:
        rows = np.polynomial.polynomial.polyder(np.eye(6), derivative) if derivative else np.eye(6)
        return [float(v) for v in np.polynomial.polynomial.polyval(at, rows)]

    conditions = [powers(0.0, d) for d in range(3)] + [powers(blend, d) for d in range(3)]
    factors = np.linalg.solve(np.array(conditions), np.concatenate((state, np.zeros_like(state))))
    return np.asarray(powers(t, order) @ factors)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.37, 0.5, 0.8, 0.99, 1.0, 1.01, 2.0])
@pytest.mark.parametrize("blend", [BLEND, 0.25])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_difference_decays_along_the_quintic(part: float, blend: float, row: int) -> None:
    start, difference = 0.11, np.zeros((3, 2))
    difference[row] = [0.5, -2.0]
    curve = plain(STEPS)
    got = at(Splice(STEPS, DT, start, at(curve, start) + difference, blend), start + part * blend)
    got -= at(curve, start + part * blend)
    for order, left in enumerate(got):
        expected = quintic(difference, blend, part * blend, order) if part < 1 else np.zeros(2)
        np.testing.assert_allclose(left, expected, atol=1e-9 * SCALES[order])


@settings(max_examples=100, deadline=None)
@given(arrays, states, st.floats(0, 1), st.sampled_from([0.02, 0.1, 0.5]), st.floats(0.004, 1))
def test_position_velocity_and_acceleration_continue_where_it_takes_over(
    steps: Floats, state: Floats, when: float, dt: float, blend: float
) -> None:
    start = when * (len(steps) - 1) * dt
    got = at(Splice(steps, dt, start, state, blend), start)
    size = np.array([[3.0], [3.0 / dt], [9.0 / dt**2]]) + np.abs(state)
    assert (np.abs(got - state) <= 1e-9 * size).all()


@settings(max_examples=60, deadline=None)
@given(arrays.filter(lambda steps: len(steps) > 2), states, st.floats(0, 1), st.floats(0.001, 0.999))
def test_rows_are_derivatives_of_each_other(steps: Floats, state: Floats, when: float, part: float) -> None:
    """Central differences, also over the joints of the spline and the end of the blend."""
    end = (len(steps) - 1) * DT
    splice = Splice(steps, DT, when * end / 2, state, BLEND)
    t, h = when * end / 2 + 1e-5 + part * (end - when * end / 2 - 2e-5), 1e-5
    before, now, after = (at(splice, t + s * h) for s in (-1, 0, 1))
    jerk = 100 * (1 + np.abs(steps).max() + np.abs(state).max()) / BLEND**3
    for row in (0, 1):
        slope = (after[row] - before[row]) / (2 * h)
        np.testing.assert_allclose(slope, now[row + 1], atol=jerk * h)
    assert (np.abs(after[2] - before[2]) <= jerk * 2 * h * 30).all()  # no jump in the acceleration


@settings(max_examples=100, deadline=None)
@given(arrays, st.floats(0, 1))
def test_it_stays_within_the_hull_of_four_steps(steps: Floats, part: float) -> None:
    u = part * (len(steps) - 1)
    k = min(int(u), max(0, len(steps) - 2))
    padded = np.concatenate((2 * steps[:1] - steps[1:2], steps, 2 * steps[-1:] - steps[-2:-1]))
    near = padded[k : k + 4] if len(steps) > 1 else steps
    got = at(plain(steps), u * DT)[0]
    assert (got >= near.min(axis=0) - 1e-12).all()
    assert (got <= near.max(axis=0) + 1e-12).all()


def test_it_misses_a_step_by_a_sixth_of_the_second_difference() -> None:
    for k in range(1, len(STEPS) - 1):
        second = STEPS[k - 1] - 2 * STEPS[k] + STEPS[k + 1]
        np.testing.assert_allclose(at(plain(STEPS), k * DT)[0], STEPS[k] + second / 6, atol=1e-12)


def test_it_goes_through_the_first_and_the_last_step() -> None:
    splice = plain(STEPS)
    assert splice.end_s == 4 * DT
    for seconds, step, slope in (
        (0.0, STEPS[0], (STEPS[1] - STEPS[0]) / DT),
        (4 * DT, STEPS[-1], (STEPS[-1] - STEPS[-2]) / DT),
    ):
        got = at(splice, seconds)
        np.testing.assert_allclose(got, [step, slope, [0, 0]], atol=1e-9)


@pytest.mark.parametrize("away", [1e-9, 0.05, 1e6])
def test_beyond_its_ends_it_stands_still(away: float) -> None:
    """Less than a period may lie between the last tick and the end: nobody reads past the last step."""
    np.testing.assert_array_equal(at(plain(STEPS), 4 * DT + away), at(plain(STEPS), 4 * DT))
    if away < 1:
        np.testing.assert_allclose(at(plain(STEPS), -away)[0], STEPS[0], atol=1e-12)


def test_a_straight_line_stays_one() -> None:
    steps = np.array([[0.0, 1.0], [0.5, 0.0]]) * [[0], [1]] + [[0.1, 0.2]]
    line = np.array([steps[0] + k * np.array([0.5, -1.0]) for k in range(6)])
    for t in np.linspace(0, 0.5, 23):
        expected = [line[0] + t / DT * np.array([0.5, -1.0]), [5.0, -10.0], [0.0, 0.0]]
        np.testing.assert_allclose(at(plain(line), t), expected, atol=1e-10)


def test_one_step_is_a_point_and_two_are_a_line() -> None:
    point = Splice(STEPS[:1], DT, 0.0, np.zeros((3, 2)), BLEND)
    assert point.end_s == 0.0
    np.testing.assert_allclose(at(point, 0.0), np.zeros((3, 2)), atol=1e-12)
    np.testing.assert_allclose(at(point, BLEND), [STEPS[0], [0, 0], [0, 0]], atol=1e-12)
    middle = at(plain(STEPS[:2]), DT / 2)
    np.testing.assert_allclose(middle, [[0.5, 1.25], [10.0, 5.0], [0, 0]], atol=1e-12)
