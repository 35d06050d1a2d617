"""The error of final action chunks: its numbers on known arrays, and what its bound promises."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_export.quantize.action_error import action_error

from wall_edge.array_types import Floats

HORIZON, DOF = 6, 3


def some(observations: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((observations, HORIZON, DOF))


def test_the_same_chunks_have_no_error() -> None:
    chunks = some(5)
    found = action_error(chunks.copy(), chunks)
    assert found.cosine == pytest.approx(1.0, abs=1e-12)
    assert (found.relative_l2, found.upper_relative_l2, found.max_abs) == (0.0, 0.0, 0.0)
    assert found.observations == 5


@pytest.mark.parametrize("factor", [1.1, 0.5, 1.001])
def test_a_scaled_chunk(factor: float) -> None:
    """Every observation is off by the same share: so is every resample of them."""
    chunks = some(4)
    found = action_error(factor * chunks, chunks)
    assert found.cosine == pytest.approx(1.0, abs=1e-12)
    assert found.relative_l2 == pytest.approx(abs(factor - 1))
    assert found.upper_relative_l2 == pytest.approx(abs(factor - 1))
    assert found.max_abs == pytest.approx(abs(factor - 1) * np.abs(chunks).max())


def test_the_opposite_and_the_unrelated_direction() -> None:
    chunks = np.zeros((1, 2, 2))
    chunks[0, 0, 0] = 3.0
    assert action_error(-chunks, chunks).cosine == pytest.approx(-1.0)
    assert action_error(-chunks, chunks).relative_l2 == pytest.approx(2.0)
    other = np.zeros_like(chunks)
    other[0, 1, 1] = 4.0
    assert action_error(other, chunks).cosine == pytest.approx(0.0)
    assert action_error(other, chunks).relative_l2 == pytest.approx(5 / 3)
    assert action_error(other, chunks).max_abs == 4.0


def test_observations_count_by_their_size() -> None:
    """One norm over all of them: a chunk that hardly moves cannot dominate by being small."""
    reference = np.ones((2, 1, 1)) * np.array([3.0, 4.0]).reshape(2, 1, 1)
    found = reference + np.array([0.0, 1.0]).reshape(2, 1, 1)
    assert action_error(found, reference).relative_l2 == pytest.approx(1 / 5)


def test_one_outlier_shows_in_the_bound_and_in_the_largest_error() -> None:
    chunks = some(64)
    found = chunks.copy()
    found[7] += 0.5
    error = action_error(found, chunks)
    assert error.max_abs == pytest.approx(0.5)
    assert error.upper_relative_l2 > 1.3 * error.relative_l2


@given(st.integers(4, 40), st.integers(0, 1000), st.floats(1e-6, 10))
def test_numbers_are_finite_consistent_and_the_same_again(count: int, seed: int, size: float) -> None:
    reference = some(count, seed)
    found = reference + size * some(count, seed + 1)
    error = action_error(found, reference)
    assert error == action_error(found, reference)
    assert all(np.isfinite(getattr(error, field.name)) for field in fields(error))
    assert error.relative_l2 == pytest.approx(np.linalg.norm(found - reference) / np.linalg.norm(reference))
    assert -1 <= error.cosine <= 1
    worst = np.sqrt(np.square(found - reference).sum((1, 2)) / np.square(reference).sum((1, 2))).max()
    assert error.relative_l2 <= worst * (1 + 1e-9)
    assert error.upper_relative_l2 >= error.relative_l2


def test_errors_do_not_depend_on_the_order_of_observations() -> None:
    reference, found = some(20), some(20) + 0.1 * some(20, 3)
    order = np.random.default_rng(1).permutation(20)
    one, other = action_error(found, reference), action_error(found[order], reference[order])
    assert other.relative_l2 == pytest.approx(one.relative_l2)
    assert other.upper_relative_l2 == pytest.approx(one.upper_relative_l2, rel=0.1)


@pytest.mark.parametrize(("spread", "share_covered"), [(0.2, 0.93), (0.7, 0.86)])
@pytest.mark.parametrize("observations", [16, 64])
def test_the_bound_covers(observations: int, spread: float, share_covered: float) -> None:
    """Of 300 sets of observations, the bound is above the truth in nearly all.

    Errors differ from observation to observation by a log-normal factor; the larger spread is the shipped
    policy's in int8. Quantiles of plain resamples, the bound once, covered 77 % of the hardest.
    """
    rng = np.random.default_rng(5)
    truth = 0.02 * np.exp(spread**2)  # sqrt(E[(0.02 · e^(spread · z))²])
    covered = 0
    for _ in range(300):
        reference = rng.standard_normal((observations, HORIZON, DOF))
        share = 0.02 * np.exp(spread * rng.standard_normal((observations, 1, 1)))
        found = reference + share * rng.standard_normal(reference.shape)
        covered += action_error(found, reference).upper_relative_l2 >= truth
    assert covered >= 300 * share_covered


def test_two_observations_bound_hardly_anything() -> None:
    reference = some(2)
    found = reference + np.array([0.1, 0.2]).reshape(2, 1, 1)
    assert action_error(found, reference).upper_relative_l2 > 100


def test_more_observations_tighten_the_bound() -> None:
    def margin(observations: int) -> float:
        rng = np.random.default_rng(2)
        reference = rng.standard_normal((observations, HORIZON, DOF))
        share = np.exp(0.7 * rng.standard_normal((observations, 1, 1)))
        error = action_error(reference + share * rng.standard_normal(reference.shape), reference)
        return error.upper_relative_l2 / error.relative_l2 - 1

    assert 0 < margin(512) < margin(64) / 1.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_passes_no_limit(value: float) -> None:
    reference = some(8)
    found = reference.copy()
    found[3, 2, 1] = value
    with np.errstate(invalid="ignore"):
        error = action_error(found, reference)
    assert not error.relative_l2 <= 1e9
    assert not error.upper_relative_l2 <= 1e9
