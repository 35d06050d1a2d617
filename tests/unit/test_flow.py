"""Euler integration against a case with a known result."""

from __future__ import annotations

import numpy as np
import pytest

from wall_edge.errors import ConfigError
from wall_edge.flow import integrate


@pytest.mark.parametrize("steps", [1, 2, 9, 10])
def test_linear_growth_compounds_per_step(steps: int) -> None:
    start = np.array([[1.0, -2.0]], dtype=np.float32)
    result = integrate(lambda x, _: x, start, steps)
    np.testing.assert_allclose(result, start * (1 + 1 / steps) ** steps, rtol=1e-5)


def test_times_start_at_zero_and_never_reach_one() -> None:
    seen: list[float] = []
    integrate(lambda x, t: seen.append(t) or x, np.zeros((1, 1), dtype=np.float32), 4)  # type: ignore[func-returns-value]
    assert seen == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_no_steps_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        integrate(lambda x, _: x, np.zeros((1, 1), dtype=np.float32), 0)
