"""Which of several ways to write a rotation a policy was trained on, and where nobody can tell."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embodiments import pose_degrees
from wall_edge.bundle import Layout, RotationForm
from wall_edge.kinematics.rotations import distance, from_matrix, to_matrix
from wall_edge.policies.rotation_range import ambiguous, middle_of, valid_rotations, written_in_range

PI = np.pi


def rotation(form: RotationForm, low: list[float], high: list[float]) -> Layout:
    """A layout of one rotation with these ranges."""
    degrees = pose_degrees("arm", form)[3:]
    middle, half = (np.array(high) + low) / 2, (np.array(high) - low) / 2
    return Layout(degrees, tuple(middle.tolist()), tuple(half.tolist()), rotations={"arm": form})


WHOLE = rotation("rpy", [-PI, -PI / 2, -PI], [PI, PI / 2, PI])
TURNED = rotation("rpy", [-0.5, -0.5, 0.0], [0.5, 0.5, 2 * PI])


@pytest.mark.parametrize(
    ("layout", "given_values", "written"),
    [
        (TURNED, [0.1, 0.2, -1.0], [0.1, 0.2, 2 * PI - 1.0]),  # yaw was 0 to 2π in training
        (TURNED, [0.1, 0.2, 1.0], [0.1, 0.2, 1.0]),
        (TURNED, [2.0, 0.2, 1.0], [2.0, 0.2, 1.0]),  # outside either way: stays
        (WHOLE, [3.1, 1.2, -3.1], [3.1, 1.2, -3.1]),
        (rotation("euler_zyx", [2, -1, -1], [4, 1, 1]), [-3.0, 0.0, 0.0], [2 * PI - 3.0, 0.0, 0.0]),
        (rotation("quaternion", [-1, -1, -1, -1], [1, 1, 1, 0]), [0.0, 0.6, 0.0, 0.8], [0, -0.6, 0, -0.8]),
        (rotation("quaternion", [-1] * 4, [1] * 4), [0.0, 0.6, 0.0, 0.8], [0.0, 0.6, 0.0, 0.8]),
        (rotation("rotvec", [-0.1, -0.1, 2.5], [0.1, 0.1, 4.0]), [0, 0, -3.0], [0, 0, 2 * PI - 3.0]),
        (rotation("6d", [0.0] * 6, [0.1] * 6), [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]),
    ],
)
def test_what_lies_outside_of_the_statistics_is_written_another_way(
    layout: Layout, given_values: list[float], written: list[float]
) -> None:
    values = np.array([given_values] * 2, np.float64)
    np.testing.assert_allclose(written_in_range(layout, values), [written] * 2, atol=1e-12)
    np.testing.assert_array_equal(values, [given_values] * 2)


@given(
    st.sampled_from(get_args(RotationForm)),
    st.tuples(*[st.floats(-PI, PI)] * 3),
    st.lists(st.floats(-4, 4), min_size=6, max_size=6),
)
def test_it_stays_the_same_rotation(form: RotationForm, turn: tuple[float, ...], middle: list[float]) -> None:
    values = from_matrix(form, to_matrix("rotvec", np.array(turn)))
    count = len(values)
    degrees = pose_degrees("arm", form)[3:]
    layout = Layout(degrees, tuple(middle[:count]), (0.5,) * count, rotations={"arm": form})
    found = written_in_range(layout, values)
    assert distance(to_matrix(form, found), to_matrix(form, values)) < 1e-7


@pytest.mark.parametrize(
    ("layout", "values", "expected"),
    [
        (WHOLE, [3.1, 0.0, 0.0], True),  # -3.18 is as good
        (WHOLE, [0.0, 0.0, -3.1], True),
        (WHOLE, [2.0, 0.0, 0.0], False),
        (WHOLE, [0.0, 1.55, 0.0], True),  # (π, π - 1.55, π) is as good
        (WHOLE, [0.0, 1.0, 0.0], False),
        (rotation("rpy", [-1, -1, -1], [1, 1, 1]), [1.0, 1.0, -1.0], False),
        (rotation("rpy", [-1.8, -0.5, -1.8], [1.8, 0.5, 1.8]), [0.0, 0.0, 3.1], True),  # mean, deviation
        (rotation("rpy", [-1.8, -0.5, -1.8], [1.8, 0.5, 1.8]), [0.0, 0.0, 2.5], False),
        (rotation("rpy", [2, -1, -1], [4.2, 1, 1]), [PI, 0.0, 0.0], False),  # the range goes across π
        (rotation("quaternion", [-1] * 4, [1] * 4), [0.0, 0.0, 0.6, 0.8], True),
        (rotation("quaternion", [-1, -1, -1, 0], [1] * 4), [0.0, 0.0, 0.6, 0.8], False),
        (rotation("quaternion", [-1, -1, -1, 0], [1] * 4), [0.0, 0.0, 1.0, 0.01], True),
        (rotation("rotvec", [-PI] * 3, [PI] * 3), [0.0, 3.0, 0.0], True),
        (rotation("rotvec", [-PI] * 3, [PI] * 3), [0.6, 0.6, 0.6], False),
        (rotation("rotvec", [-PI] * 3, [PI] * 3), [0.0, 0.0, 0.0], False),
        (rotation("6d", [-1] * 6, [1] * 6), [-1, 0, 0, 0, -1, 0], False),
    ],
)
def test_where_a_policy_might_write_it_otherwise(layout: Layout, values: list[float], expected: bool) -> None:
    found = ambiguous(layout, np.array([values, values], np.float64))
    assert found.shape == (2, len(values))
    assert found.all() if expected else not found.any()


def test_joints_and_positions_are_never_ambiguous() -> None:
    degrees = pose_degrees("arm", "rpy")
    layout = Layout(degrees, (0.0,) * 6, (PI,) * 6, rotations={"arm": "rpy"})
    found = ambiguous(layout, np.full((4, 6), 3.1))
    assert not found[:, :3].any()
    assert found[:, 3:].all()


@pytest.mark.parametrize("form", get_args(RotationForm))
@pytest.mark.parametrize("seed", [0, 1])
def test_numbers_drawn_at_random_become_rotations(form: RotationForm, seed: int) -> None:
    degrees = pose_degrees("arm", form)
    count = len(degrees)
    layout = Layout(degrees, (0.0,) * count, (1.0,) * count, rotations={"arm": form})
    values = np.random.default_rng(seed).uniform(-1, 1, count)
    found = valid_rotations(layout, values)
    np.testing.assert_array_equal(found[:3], values[:3])
    columns = layout.columns("rotation", "arm")
    np.testing.assert_allclose(from_matrix(form, to_matrix(form, found[columns])), found[columns], atol=1e-12)
    middle = middle_of(layout)  # of 0, which no quaternion is: then it is no turn
    np.testing.assert_allclose(to_matrix(form, middle[columns]), np.eye(3), atol=1e-12)
