"""Rotations: conventions against composed turns, digits near 0 and π, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics import rotations
from wall_edge.kinematics.rotations import SIZES, from_matrix, to_matrix

KINDS = sorted(SIZES)
angles = st.floats(-math.pi, math.pi)
vectors = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.01)


def turn(axis: str, angle: float) -> Floats:
    """Written down a second time: a turn about one axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )


def turned(axis: tuple[float, float, float], angle: float) -> Floats:
    """By quaternion, in the order of the textbooks."""
    x, y, z = math.sin(angle / 2) * np.array(axis) / np.linalg.norm(axis)
    return to_matrix("quaternion", np.array([x, y, z, math.cos(angle / 2)]))


def random_rotations(count: int, seed: int = 0) -> Floats:
    return to_matrix("quaternion", np.random.default_rng(seed).normal(size=(count, 4)))


@given(angles, angles, angles)
def test_rpy_is_about_fixed_axes_and_euler_zyx_about_moving_ones(a: float, b: float, c: float) -> None:
    composed = turn("z", c) @ turn("y", b) @ turn("x", a)
    assert np.allclose(to_matrix("rpy", np.array([a, b, c])), composed, atol=1e-15, rtol=0)
    assert np.allclose(to_matrix("euler_zyx", np.array([c, b, a])), composed, atol=1e-15, rtol=0)


def test_quaternion_and_rotvec_of_a_quarter_turn() -> None:
    half = math.sqrt(0.5)
    for kind, values in (("quaternion", [0, 0, half, half]), ("rotvec", [0, 0, math.pi / 2])):
        assert np.allclose(to_matrix(kind, np.array(values)), turn("z", math.pi / 2), atol=1e-15)
    assert from_matrix("6d", turn("z", math.pi / 2)) == pytest.approx([0, 1, 0, -1, 0, 0], abs=1e-15)
    assert from_matrix("6d_rows", turn("z", math.pi / 2)) == pytest.approx([0, -1, 0, 1, 0, 0], abs=1e-15)


def test_six_numbers_as_upstream_has_them() -> None:
    """``euler_to_matrix_zyx_6d_nb`` of WALL-OSS's tools: two rows of Rz(yaw) Ry(pitch) Rx(roll)."""
    roll, pitch, yaw = 0.3, -0.7, 1.9
    cr, cp, cy, sr, sp, sy = (f(a) for f in (math.cos, math.sin) for a in (roll, pitch, yaw))
    first = [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr]
    second = [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr]
    matrix = to_matrix("rpy", np.array([roll, pitch, yaw]))
    assert from_matrix("6d_rows", matrix) == pytest.approx([*first, *second], abs=1e-15)
    assert np.allclose(to_matrix("6d_rows", 3.0 * np.array([*first, *second])), matrix, atol=1e-15)
    assert np.allclose(to_matrix("6d", np.array([*first, *second])), matrix.T, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    matrices = random_rotations(2000).reshape(20, 100, 3, 3)
    values = from_matrix(kind, matrices)
    assert values.shape == (20, 100, SIZES[kind])
    assert np.abs(to_matrix(kind, values) - matrices).max() < 4e-15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("off", [0.0, 1e-16, 1e-12, 1e-8, 1e-4, 0.1])
@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi])
def test_there_and_back_near_where_kinds_are_singular(kind: str, angle: float, off: float) -> None:
    for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 1, 0), (1, 2, -3)):
        for tilt in (turn("x", 0.3), np.eye(3)):
            matrix = turned(axis, angle - off) @ tilt
            assert np.abs(to_matrix(kind, from_matrix(kind, matrix)) - matrix).max() < 4e-15


@given(vectors, st.floats(0, math.pi))
@example((1.0, 1.0, 0.0), math.pi - 1e-9)
@example((0.2, -1.0, 0.5), 1e-9)
def test_log_has_all_digits(axis: tuple[float, float, float], angle: float) -> None:
    rotvec = angle * np.array(axis) / np.linalg.norm(axis)
    back = rotations.log(rotations.exp(rotvec))
    error = min(np.abs(back - rotvec).max(), np.abs(back + rotvec).max() if angle > 3.14159 else 9)
    assert error < 4e-15
    assert np.linalg.norm(back) <= math.pi + 1e-15


def test_distance_of_the_measured_pair() -> None:
    a, b = to_matrix("rpy", np.array([[3.13, 0.1, 0], [-3.13, 0.1, 0.02]]))
    assert math.degrees(float(rotations.distance(a, b))) == pytest.approx(1.66548, abs=5e-6)


def test_blends_across_pi_the_short_way() -> None:
    a, b = to_matrix("rpy", np.array([[math.pi - 0.02, 0, 0], [-math.pi + 0.02, 0, 0]]))
    middle = rotations.blend(a, b, 0.5)
    assert float(rotations.distance(middle, turn("x", math.pi))) < 1e-14


@given(vectors, st.floats(0, 3.0), st.floats(0, 1))
def test_blend_goes_evenly(axis: tuple[float, float, float], angle: float, weight: float) -> None:
    a = turned((1, -2, 0.5), 2.0)
    b = a @ turned(axis, angle)
    middle = rotations.blend(a, b, weight)
    assert float(rotations.distance(a, middle)) == pytest.approx(weight * angle, abs=1e-13)
    assert float(rotations.distance(middle, b)) == pytest.approx((1 - weight) * angle, abs=1e-13)


def test_blend_takes_a_weight_a_rotation() -> None:
    a, b = random_rotations(5), random_rotations(5, seed=1)
    weights = np.array([0, 0.2, 0.5, 0.9, 1])
    blended = rotations.blend(a, b, weights)
    for i, weight in enumerate(weights):
        assert np.allclose(blended[i], rotations.blend(a[i], b[i], float(weight)), atol=1e-15)
    assert np.allclose(blended[0], a[0], atol=1e-14)
    assert np.allclose(blended[4], b[4], atol=1e-14)


@given(vectors, st.floats(0, 3.0), st.floats(0.01, 1))
def test_mean_of_two_is_the_blend(axis: tuple[float, float, float], angle: float, weight: float) -> None:
    a = turned((0, 1, 1), 3.1)
    b = a @ turned(axis, angle)
    average = rotations.mean(np.stack([a, b]), np.array([1 - weight, weight]))
    assert np.abs(average - rotations.blend(a, b, weight)).max() < 1e-10


def test_mean_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(3)
    near = turned((1, 1, 1), 3.0) @ rotations.exp(rng.normal(size=(6, 4, 3)) * 0.4)
    weights = rng.uniform(0.1, 1, (6, 4))
    one, two = (rotations.mean(near[order], weights[order]) for order in (slice(None), slice(None, None, -1)))
    assert np.abs(one - two).max() < 1e-12
    assert np.abs(one @ one.swapaxes(-1, -2) - np.eye(3)).max() < 1e-14


def test_mean_keeps_to_one_when_the_others_weigh_nothing() -> None:
    pair = np.stack([turn("x", 3.1), turn("x", 0.0)])
    assert np.allclose(rotations.mean(pair, np.array([0.0, 2.0])), np.eye(3), atol=1e-15)


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [math.nan, 1], [math.inf, 1]])
def test_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(KinematicsError, match="weights"):
        rotations.mean(random_rotations(2), np.array(weights))


def test_what_differs_by_half_a_turn_is_ambiguous_and_has_no_mean() -> None:
    pair = np.stack([np.eye(3), turn("y", math.pi - 0.05)])
    assert rotations.ambiguous(*pair)
    assert not rotations.ambiguous(np.eye(3), turn("y", math.pi - 0.15))
    with pytest.raises(KinematicsError, match="180°"):
        rotations.mean(pair, np.ones(2))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_is_refused(kind: str) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        values = np.ones((3, SIZES[kind])) * np.arange(1, SIZES[kind] + 1)
        values[1, 0] = bad
        with pytest.raises(KinematicsError, match=f"{kind} .*finite"):
            to_matrix(kind, values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("quaternion", [0, 0, 0, 0]),
        ("quaternion", [1e-9, 0, 0, 0]),
        ("6d", [0, 0, 0, 0, 1, 0]),
        ("6d", [1, 0, 0, 0, 0, 0]),
        ("6d", [1, 2, 3, 2, 4, 6]),
        ("6d", [1, 2, 3, -1e-3, -2e-3, -3e-3]),
        ("rpy", [0, 1e5, 0]),
        ("rotvec", [1e200, 0, 0]),
        ("rpy", [0, 0]),
        ("quaternion", 1.0),
        ("matrix", [0, 0, 0]),
    ],
)
def test_what_is_no_rotation_is_refused(kind: str, values: list[float]) -> None:
    with pytest.raises(KinematicsError, match="expected"):
        to_matrix(kind, np.array(values, np.float64))


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4),
    st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=6),
)
def test_whatever_is_taken_becomes_a_rotation(quaternion: list[float], columns: list[float]) -> None:
    for kind, values in (("quaternion", quaternion), ("6d", columns), ("6d_rows", columns)):
        try:
            matrix = to_matrix(kind, np.array(values))
        except KinematicsError:
            continue
        assert np.abs(matrix @ matrix.T - np.eye(3)).max() < 1e-14
        assert np.linalg.det(matrix) > 0.999


def test_columns_that_are_not_orthonormal_keep_the_first_direction() -> None:
    matrix = to_matrix("6d", np.array([2.0, 0, 0, 5, 3, 0]))
    assert np.allclose(matrix, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_has_no_jumps(kind: str) -> None:
    """A path through ±π, twice around: components move as little as the rotation does."""
    steps = 60 if kind == "rotvec" else 180  # near a whole turn a rotation vector has no axis
    path = np.stack([turn("x", 0.07 * i) @ turn("z", 0.4 * math.sin(0.1 * i)) for i in range(steps)])
    values = from_matrix(kind, path)
    smooth = rotations.unwrap(kind, values)
    assert np.abs(np.diff(smooth, axis=0)).max() < 0.2
    if not kind.startswith("6d"):
        assert np.abs(np.diff(values, axis=0)).max() > 1  # so there was something to unwrap
    assert float(rotations.distance(to_matrix(kind, smooth), path).max()) < 1e-13


def test_nearest_values_crosses_the_other_branch_of_rpy() -> None:
    """Pitch beyond π/2 is another roll and yaw: the series keeps to the pitch that it had."""
    path = np.stack([turn("y", 0.05 * i) for i in range(60)])
    smooth = rotations.unwrap("rpy", from_matrix("rpy", path))
    assert smooth[-1] == pytest.approx([0, 0.05 * 59, 0], abs=1e-12)
