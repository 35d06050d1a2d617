"""Euler integration against a case with a known result."""

from __future__ import annotations

import numpy as np
import pytest

from wall_edge.array_types import Floats32
from wall_edge.bundle import check_grid, uniform_grid
from wall_edge.errors import ConfigError
from wall_edge.policies.flow import guidance_weight, guided, integrate


@pytest.mark.parametrize("steps", [1, 2, 9, 10])
def test_linear_growth_compounds_per_step(steps: int) -> None:
    start = np.array([[1.0, -2.0]], dtype=np.float32)
    result = integrate(lambda x, _: x, start, uniform_grid(steps))
    np.testing.assert_allclose(result, start * (1 + 1 / steps) ** steps, rtol=1e-5)


def test_times_start_at_zero_and_never_reach_one() -> None:
    seen: list[float] = []
    integrate(lambda x, t: seen.append(t) or x, np.zeros((1, 1), dtype=np.float32), uniform_grid(4))  # type: ignore[func-returns-value]
    assert seen == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_steps_of_unequal_length_weigh_by_their_length() -> None:
    """v = t is summed at the left ends: 0 · 0.1 + 0.1 · 0.5 + 0.6 · 0.4."""
    nothing = np.zeros((1, 1), dtype=np.float32)
    result = integrate(lambda x, t: np.full_like(x, t), nothing, (0.0, 0.1, 0.6, 1.0))
    assert float(result[0, 0]) == pytest.approx(0.29, abs=1e-6)


def test_a_uniform_grid_ends_where_the_action_is() -> None:
    assert uniform_grid(1) == (0.0, 1.0)
    grid = uniform_grid(10)
    assert len(grid) == 11
    assert np.diff(grid) == pytest.approx([0.1] * 10)
    check_grid(grid)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_is_an_error(steps: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        uniform_grid(steps)


@pytest.mark.parametrize(
    "grid",
    [(), (0.0,), (1.0,), (0.0, 0.9), (0.1, 1.0), (0.0, 0.5, 0.5, 1.0), (0.0, 0.6, 0.5, 1.0), (1.0, 0.0)],
)
def test_a_grid_that_does_not_rise_from_0_to_1_is_an_error(grid: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="rise from 0 to 1"):
        check_grid(grid)


def test_a_grid_with_a_hole_is_an_error() -> None:
    with pytest.raises(ConfigError, match="rise from 0 to 1"):
        check_grid((0.0, float("nan"), 1.0))


@pytest.mark.parametrize(
    ("time", "weight"), [(0.0, 5.0), (1.0, 5.0), (0.5, 2.0), (0.2, 4.25), (0.8, 4.25), (0.1, 5.0), (0.9, 5.0)]
)
def test_the_guidance_weight_is_rtcs(time: float, weight: float) -> None:
    """min(β, (1 - t) / (t · r²)) with r² = (1 - t)² / (t² + (1 - t)²): 0.68 / 0.16 at 0.2."""
    assert guidance_weight(time, 5.0) == pytest.approx(weight)


def test_guidance_pulls_where_it_has_weight() -> None:
    """A flow that ends at 1 everywhere; the target is 3, and only the first step is guided."""
    weights = np.array([[1.0], [0.0]], dtype=np.float32)

    def terms(x: Floats32, time: float) -> tuple[Floats32, Floats32]:
        v = (1 - x) / np.float32(1 - time)
        return v, weights * (3 - (x + np.float32(1 - time) * v))

    grid = uniform_grid(10)
    start = np.array([[0.3], [0.3]], dtype=np.float32)
    free = integrate(lambda x, t: terms(x, t)[0], start, grid)
    pulled = integrate(guided(terms, 5.0), start, grid)
    np.testing.assert_allclose(free, 1.0, atol=1e-5)
    assert pulled[1, 0] == free[1, 0]
    assert 1.0 < pulled[0, 0] <= 3.0
    assert integrate(guided(terms, 0.0), start, grid).tolist() == free.tolist()
