"""``--precision auto``: what is kept, what is dropped, and who may decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.model.inventory import inventory
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.quantize.auto import CANDIDATES, Search, SearchSamples, candidates, split
from wall_edge_export.quantize.precision import Recipe

from tests.conftest import CASES
from wall_edge.errors import ConfigError

SELECTION, HOLDOUT = [0] * 32, [1] * 32
Noise = Mapping[tuple[str, str, str], float]


class FakeTrials:
    """Chunks whose error is the root of the sum of each family's squared noise; the holdout may see more."""

    def __init__(self, noise: Noise, *, bf16: float = 1e-4, holdout: float = 1.0) -> None:
        self._noise, self._bf16, self._holdout = noise, bf16, holdout
        rng = np.random.default_rng(0)
        self._reference = rng.standard_normal((32, 8, 6))
        self._direction = rng.standard_normal(self._reference.shape)
        self._direction *= np.linalg.norm(self._reference) / np.linalg.norm(self._direction)

    def chunks(self, recipe: Recipe, samples: Sequence[int]) -> Any:
        squared = 0.0
        for graph in CANDIDATES:
            for family, precision in recipe.families(graph).items():
                error = (
                    self._bf16 if precision == "bf16" else self._noise.get((graph, family, precision), 0.0)
                )
                squared += error**2
        share = np.sqrt(squared) * (self._holdout if samples is HOLDOUT else 1.0)
        return self._reference + share * self._direction


def noise(value: float, **special: float) -> Noise:
    """The same error for every candidate, but for some: ``vision_mlp_int8=0.5``."""
    all_of_them = {
        (graph, family, precision): value
        for graph, families in CANDIDATES.items()
        for family, precisions in families.items()
        for precision in precisions
    }
    named = {tuple(name.replace("__", "-").split("_")): error for name, error in special.items()}
    return {**all_of_them, **named}  # type: ignore[dict-item]


def cost(recipe: Recipe) -> int:
    bits = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int8-weights": 8, "int4-weights": 4}
    return sum(1000 * bits[p] for graph in CANDIDATES for p in recipe.families(graph).values())


def run(trials: FakeTrials, limit: float, cost: Callable[[Recipe], int] = cost) -> Any:
    search = Search(trials, cost, limit, lambda _: None)  # type: ignore[arg-type]
    return search.run(SearchSamples(SELECTION, HOLDOUT))  # type: ignore[arg-type]


def test_everything_joins_when_nothing_is_lost() -> None:
    recipe = run(FakeTrials(noise(1e-6)), 0.03).recipe
    assert set(recipe.families("prefix").values()) == {"bf16", "int8", "fp32"}
    assert {recipe.families("expert")[name] for name in ("qkv", "o", "mlp")} == {"int4-weights"}
    assert recipe.families("expert")["action_head"] == "fp32"


def test_a_family_that_costs_too_much_stays_out_and_the_rest_joins() -> None:
    recipe = run(FakeTrials(noise(1e-3, vision_mlp_int8=0.5)), 0.03).recipe
    assert recipe.families("vision")["mlp"] == "bf16"
    assert recipe.families("vision")["attention"] == "int8"


def test_errors_add_up_over_the_families() -> None:
    """Each alone is within the limit; all together are not."""
    result = run(FakeTrials(noise(0.015)), 0.03)
    joined = [
        p for graph in CANDIDATES for p in result.recipe.families(graph).values() if p not in ("bf16", "fp32")
    ]
    assert 1 <= len(joined) < 9
    assert result.error.upper_relative_l2 <= 0.03


def test_the_ranking_has_every_candidate_cheapest_error_first() -> None:
    result = run(FakeTrials(noise(1e-3, expert_o_int4__weights=0.2)), 0.03)
    assert len(result.sensitivity) == sum(
        len(p) for families in CANDIDATES.values() for p in families.values()
    )
    prices = [entry.action_error**2 / entry.bytes_saved for entry in result.sensitivity]
    assert prices == sorted(prices)
    assert (result.sensitivity[-1].graph, result.sensitivity[-1].family) == ("expert", "o")


def test_samples_that_decided_nothing_can_take_families_out_again() -> None:
    lucky = FakeTrials(noise(0.009), holdout=1.5)
    result = run(lucky, 0.03)
    assert result.error.upper_relative_l2 <= 0.03
    bolder = run(FakeTrials(noise(0.009)), 0.03)
    assert cost(result.recipe) > cost(bolder.recipe)


@pytest.mark.parametrize("bf16", [0.1, float("nan"), float("inf")])
def test_a_limit_that_bf16_cannot_keep_is_refused_with_what_it_reaches(bf16: float) -> None:
    with (
        pytest.raises(ConfigError, match=r"--max-action-error 0\.03; expected at least"),
        np.errstate(all="ignore"),
    ):
        run(FakeTrials(noise(1e-3), bf16=bf16), 0.03)


@pytest.mark.parametrize(
    ("case", "without_blocks"), [("two_views", {"mlp"}), ("w05_causal", set()), ("w10_adaptive", {"mlp"})]
)
def test_4_bits_are_no_candidate_where_inputs_take_no_blocks(case: str, without_blocks: set[str]) -> None:
    """40 inputs of a down projection once ended the search, with the advice to choose another recipe."""
    plan = candidates(inventory(hollow_model(Checkpoint(CASES / case).shape)))
    assert {graph: set(families) for graph, families in plan.items()} == {
        graph: set(families) for graph, families in CANDIDATES.items()
    }
    for layer, precisions in plan["expert"].items():
        assert precisions == CANDIDATES["expert"][layer][: 1 if layer in without_blocks else 2]
    assert {graph: plan[graph] for graph in ("vision", "prefix")} == {
        graph: CANDIDATES[graph] for graph in ("vision", "prefix")
    }


def test_only_what_is_planned_is_tried() -> None:
    plan = {**CANDIDATES, "expert": {**CANDIDATES["expert"], "mlp": ("int8-weights",)}}
    search = Search(FakeTrials(noise(1e-6)), cost, 0.03, lambda _: None, plan)  # type: ignore[arg-type]
    result = search.run(SearchSamples(SELECTION, HOLDOUT))  # type: ignore[arg-type]
    assert result.recipe.families("expert")["mlp"] == "int8-weights"
    tried = {(entry.graph, entry.family, entry.precision) for entry in result.sensitivity}
    assert ("expert", "mlp", "int4-weights") not in tried
    assert ("expert", "qkv", "int4-weights") in tried


def test_stretches_of_the_recording_calibrate_select_and_confirm() -> None:
    samples = list(range(96))
    calibration, search = split(samples)  # type: ignore[arg-type]
    assert calibration == samples[:32]
    assert list(search.selection) == samples[32:64]
    assert list(search.holdout) == samples[64:]


@pytest.mark.parametrize("count", [0, 8, 23])
def test_too_few_samples_for_three_parts_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"on {count} samples; expected at least 24"):
        split([None] * count)  # type: ignore[list-item]
