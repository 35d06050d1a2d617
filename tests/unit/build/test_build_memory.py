"""Memory, estimated before anything starts, and the arithmetic in what is refused."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_engines.build.targets.memory import (
    BUILD_BASE_BYTES,
    available_bytes,
    build_bytes,
    build_shortage,
    require_fits,
    run_estimate,
)
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import named_target

from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path) -> Bundle:
    return Bundle(shipped_bundle)


@pytest.mark.parametrize(
    ("weights", "profiles", "peak"),
    [
        (931, 1, 2904),
        (1548, 1, 4991),
        (1548, 2, 6024),
        (623, 1, 2096),
        (395, 1, 1477),
        (315, 1, 1249),
        (4, 2, 330),
    ],
)
def test_the_estimate_is_what_was_measured(weights: int, profiles: int, peak: int) -> None:
    """In MB: tensorrt-rtx 1.7.1.116, 2026-11-25 and 26."""
    estimate = build_bytes(weights * 1_000_000, profiles) / 1e6
    assert peak < estimate < 1.1 * peak + 50


@pytest.mark.parametrize(("spare", "refused"), [(-1, True), (0, False), (1, False)])
def test_a_graph_is_refused_from_the_first_byte_that_is_missing(spare: int, refused: bool) -> None:
    weights = 1_000_000_000
    assert bool(build_shortage(weights, 2, build_bytes(weights, 2) + spare)) == refused


def test_the_arithmetic_is_told() -> None:
    text = build_shortage(6_200_000_000, 2, 13_000_000_000)
    assert "3.68 x 6.20 GB of weights + 0.35 GB = 23.17 GB, 13.00 GB are free" in text
    assert "add swap, or export a smaller recipe" in text
    assert "3 x 6.20 GB" in build_shortage(6_200_000_000, 1, 0)


def test_memory_that_is_free() -> None:
    assert BUILD_BASE_BYTES < available_bytes() < 1 << 50


def test_what_runs_counts_weights_caches_and_the_system(bundle: Bundle) -> None:
    orin, server = (
        run_estimate(PolicySizes.of_bundle(bundle), named_target(name)) for name in ("orin-nano-8", "h100")
    )
    files = [name for graph in bundle.manifest.graphs.values() for name in (graph.file, graph.data)]
    assert orin.weights == sum((bundle.folder / name).stat().st_size for name in files)
    past = bundle.manifest.graphs["prefix"].inputs["past_kv"].shape
    token = 4 * int(past[1]) * 2 * int(past[3]) * int(past[4])
    assert orin.caches == 2 * 317 * token
    assert orin.rest - server.rest == 1_500_000_000


def test_engines_that_do_not_fit_are_refused_with_the_arithmetic(bundle: Bundle) -> None:
    nano = named_target("orin-nano-8")
    total = run_estimate(PolicySizes.of_bundle(bundle), nano).total
    require_fits(bundle, nano, total)
    require_fits(bundle, nano, None)
    with pytest.raises(EngineError, match=r"running takes weights .* = 2\.\d\d GB; .*--precision int8-int4"):
        require_fits(bundle, nano, total - 1)


@pytest.mark.parametrize(
    ("recipe", "types", "fix"),
    [
        ("int8-int8", ("fp32", "int4"), "--precision int8-int4"),
        ("int8-int4", ("fp32", "int4"), "; take a larger device"),
        ("fp32", ("fp32", "fp16"), "; take a larger device"),
    ],
)
def test_no_recipe_is_advised_that_is_not_smaller(
    bundle: Bundle, recipe: str, types: tuple[str, ...], fix: str
) -> None:
    other = copy(bundle)
    other.manifest = replace(bundle.manifest, recipe=recipe)
    with pytest.raises(EngineError) as refused:
        require_fits(other, replace(named_target("h100"), element_types=types), 1)
    assert str(refused.value).endswith(fix)


def test_engines_that_are_built_count_as_they_are(bundle: Bundle) -> None:
    nano = named_target("orin-nano-8")
    sizes = PolicySizes.of_bundle(bundle)
    before, estimate = run_estimate(sizes, nano), run_estimate(sizes, nano, engines=5_000_000_000)
    assert estimate.total - before.total == 5_000_000_000 - before.weights
    with pytest.raises(EngineError, match=r"weights 5\.00 GB"):
        require_fits(bundle, nano, estimate.total - 1, engines=5_000_000_000)
