"""The limiter: values dense around every bound, and whatever hypothesis thinks of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.runtime.limits import Limiter

LOWER, UPPER, VELOCITY, DT = [-1.0, 0.0], [1.0, 2.5], [2.0, 8.0], 0.004
STEP = np.array(VELOCITY) * DT
TINY = 1e-12


def limiter(start: npt.ArrayLike = (0.0, 1.0)) -> Limiter:
    made = Limiter(LOWER, UPPER, VELOCITY, DT)
    made.reset(start)
    return made


def around(value: float, step: float) -> list[float]:
    """Values dense around a bound, on both sides."""
    near = [value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf)]
    return [float(v) for v in near] + [
        value + s * d for d in (1e-9, 1e-6, step, 2 * step, 1.0) for s in (1, -1)
    ]


def check(made: Limiter, before: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> None:
    out = made.limit(wanted).copy()
    assert (out >= LOWER).all()
    assert (out <= UPPER).all()
    slack = TINY * np.maximum(1.0, np.abs(before))
    assert (np.abs(out - before) <= STEP + slack).all()
    allowed = (wanted >= LOWER) & (wanted <= UPPER) & (np.abs(wanted - before) <= STEP)
    np.testing.assert_allclose(out[allowed], wanted[allowed], rtol=0, atol=TINY)


@pytest.mark.parametrize("joint", [0, 1])
def test_dense_around_every_bound(joint: int) -> None:
    bounds = (LOWER[joint], UPPER[joint])
    for edge in bounds:
        for start in around(edge, float(STEP[joint])):
            before = np.array([0.0, 1.0])
            before[joint] = np.clip(start, *bounds)
            for target in [
                *around(edge, float(STEP[joint])),
                *around(before[joint], float(STEP[joint])),
                1e300,
                -1e300,
            ]:
                wanted = np.array([0.0, 1.0])
                wanted[joint] = target
                check(limiter(before), before, wanted)


numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.floats(LOWER[0], UPPER[0]), st.floats(LOWER[1], UPPER[1])),
    st.lists(st.tuples(numbers, numbers), max_size=20),
)
def test_no_sequence_breaks_a_bound(start: tuple[float, float], wanted: list[tuple[float, float]]) -> None:
    made = limiter(start)
    for pair in wanted:
        before, target = made.previous.copy(), np.array(pair)
        if np.isfinite(target).all():
            check(made, before, target)
        else:
            np.testing.assert_array_equal(made.limit(target), before)


@settings(max_examples=100, deadline=None)
@given(st.floats(-10, 10), st.lists(st.floats(-10, 10), min_size=1, max_size=10))
def test_from_outside_it_only_comes_back(start: float, wanted: list[float]) -> None:
    made = limiter((start, 1.0))
    for target in wanted:
        before = float(made.previous[0])
        out = float(made.limit(np.array([target, 1.0]))[0])
        assert abs(out - before) <= STEP[0] + TINY * max(1.0, abs(before))
        assert max(LOWER[0] - out, out - UPPER[0], 0) <= max(LOWER[0] - before, before - UPPER[0], 0)


def test_counts_by_bound_and_joint() -> None:
    made = limiter()
    made.limit(np.array([0.0, 1.0]))
    assert made.counts() == {"position": [0, 0], "velocity": [0, 0], "refused": 0}
    made.limit(np.array([5.0, 1.0]))
    assert made.counts() == {"position": [1, 0], "velocity": [1, 0], "refused": 0}
    made.limit(np.array([np.nan, 1.0]))
    made.limit(np.array([0.0, np.inf]))
    assert made.counts() == {"position": [1, 0], "velocity": [1, 0], "refused": 2}
    made.reset([1.0, 2.5])
    made.limit(np.array([1.0 + 1e-9, 2.5]))
    assert made.counts() == {"position": [2, 0], "velocity": [1, 0], "refused": 2}


def test_denied_until_the_position_is_known() -> None:
    made = Limiter(LOWER, UPPER, VELOCITY, DT)
    with pytest.raises(RuntimeFault, match="reset"):
        made.limit(np.zeros(2))
    for wrong in ([0.0], [0.0, np.nan]):
        with pytest.raises(RuntimeFault, match="2 finite angles"):
            made.reset(wrong)


@pytest.mark.parametrize(
    "bounds",
    [
        ([0.0], [0.0], 1.0, DT),
        ([0.0], [np.inf], 1.0, DT),
        ([0.0], [1.0], 0.0, DT),
        ([0.0], [1.0], np.nan, DT),
        ([0.0], [1.0], 1.0, 0.0),
        ([0.0, 0.0], [1.0], 1.0, DT),
        (0.0, 1.0, 1.0, DT),
    ],
)
def test_impossible_bounds(bounds: tuple[Any, Any, Any, float]) -> None:
    with pytest.raises(ConfigError):
        Limiter(*bounds)
