"""One relative error and one check for values that are not finite, used wherever either is asked."""

from __future__ import annotations

import numpy as np
import pytest

from wall_edge.arrays import relative_l2, require_finite
from wall_edge.errors import CheckpointError


def test_relative_l2_is_the_share_of_the_norm() -> None:
    golden = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert relative_l2(golden, golden) == 0
    assert relative_l2(golden + np.array([[0.5, 0], [0, 0]]), golden) == pytest.approx(0.1)
    assert relative_l2(2 * golden, golden) == pytest.approx(1)


def test_relative_l2_loses_nothing_to_narrow_types() -> None:
    golden = np.full(1 << 16, 300.0, np.float16)  # whose squares and sums leave float16
    assert relative_l2(golden + np.float16(3), golden) == pytest.approx(0.01)
    assert relative_l2(np.array([200], np.uint8), np.array([250], np.uint8)) == pytest.approx(0.2)


def test_relative_l2_beside_zeros() -> None:
    zeros = np.zeros(3, np.float32)
    assert relative_l2(zeros, zeros) == 0
    assert relative_l2(zeros + 1, zeros) == float("inf")
    assert np.isnan(relative_l2(np.array([np.nan]), np.array([1.0])))


def test_nothing_is_near_to_what_is_no_number() -> None:
    nan, one, zero = np.array([np.nan]), np.array([1.0]), np.array([0.0])
    assert relative_l2(one, nan) == relative_l2(nan, zero) == float("inf")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_name(value: float) -> None:
    require_finite(np.zeros((2, 3)), "a weight", CheckpointError)
    require_finite(np.array([], np.int64), "nothing", CheckpointError)
    with pytest.raises(CheckpointError) as caught:
        require_finite([0.0, value], "a weight", CheckpointError, fix="copy it again")
    assert str(caught.value) == (
        "a weight holds values that are not finite; expected finite values; copy it again"
    )
