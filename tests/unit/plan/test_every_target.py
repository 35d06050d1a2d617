"""wall-oss-flow on every target, in every recipe, with one to three cameras: memory is stated or refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from wall_edge_engines.build.targets.memory import SYSTEM_BYTES
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import named_target, targets
from wall_edge_engines.plan.memory import MemoryPlan, plan_memory
from wall_edge_export.plan.source import PlanSource, plan_source
from wall_edge_export.quantize.precision import load_recipe, recipe_names
from wall_edge_export.quantize.weight_bytes import weight_bytes

from tests.unit.plan.workloads import workload

CAMERAS = (1, 2, 3)
_SUM = re.compile(r"takes ([^=]*) = (\d+\.\d\d) GB")


@pytest.fixture(scope="module")
def sources() -> dict[int, PlanSource]:
    return {count: plan_source("wall-oss-flow", count) for count in CAMERAS}


@pytest.fixture(scope="module")
def stored(sources: dict[int, PlanSource]) -> dict[str, dict[str, int]]:
    """Bytes of weights by recipe and graph: the same for any number of cameras."""
    source = sources[1]
    sizes = {
        name: weight_bytes(source.shape, source.graph_inputs, load_recipe(name)) for name in recipe_names()
    }
    return {
        name: {graph: sum(weights.values()) for graph, weights in graphs.items()}
        for name, graphs in sizes.items()
    }


def memory(target: str, source: PlanSource, weights: dict[str, int], recipe: str) -> MemoryPlan:
    item = 4 if recipe == "fp32" else 2
    token = item
    for size in source.shape.kv_shape(1):
        token *= size
    work = replace(
        workload(recipe), stored_bytes=weights, cache_token_bytes=token, activation_bytes=item, hidden=2048
    )
    wish = named_target(target)
    return plan_memory(PolicySizes.of_workload(work, source.max_prompt_tokens), wish, wish.memory_bytes)


@pytest.mark.parametrize("target", sorted(targets()))
def test_memory_is_stated_or_refused_with_an_arithmetic_that_adds_up(
    target: str, sources: dict[int, PlanSource], stored: dict[str, dict[str, int]]
) -> None:
    for recipe, weights in stored.items():
        for source in sources.values():
            plan = memory(target, source, weights, recipe)
            wish = named_target(target)
            assert plan.run.total > sum(weights.values())
            assert plan.build > 3 * max(weights.values())
            runs = wish.memory_bytes is None or plan.run.total <= wish.memory_bytes
            builds = (
                wish.memory_bytes is None
                or not wish.integrated
                or plan.build <= wish.memory_bytes - SYSTEM_BYTES
            )
            assert (plan.runs, plan.fits) == (runs, runs and builds)
            assert ("running takes" in plan.refusal) == (not runs)
            assert ("compiling takes" in plan.refusal) == (not builds)
            for sum_, total in _SUM.findall(plan.refusal):
                assert _value(sum_) == pytest.approx(float(total), abs=0.03)


def _value(arithmetic: str) -> float:
    """Of a sum of sizes and of products of sizes, with words between."""
    factors = re.findall(r"(?:(\d+\.?\d*) x )?(\d+\.\d\d) GB", arithmetic)
    return sum(float(factor or 1) * float(size) for factor, size in factors)


@pytest.mark.parametrize(
    ("target", "recipe", "runs", "fits"),
    [
        ("thor", "fp32", True, True),
        ("orin-agx-64", "fp32", True, True),
        ("orin-agx-32", "bf16", True, True),
        ("orin-agx-32", "fp32", True, False),
        ("orin-nx-16", "bf16", True, False),
        ("orin-nx-16", "int8-int8", True, True),
        ("orin-nano-8", "bf16", False, False),
        ("orin-nano-8", "int8-int4", True, False),
        ("h100", "fp32", True, True),
        ("sm86-check", "fp32", True, True),
    ],
)
def test_what_fits_where(
    target: str,
    recipe: str,
    runs: bool,
    fits: bool,
    sources: dict[int, PlanSource],
    stored: dict[str, dict[str, int]],
) -> None:
    plan = memory(target, sources[3], stored[recipe], recipe)
    assert (plan.runs, plan.fits) == (runs, fits)
