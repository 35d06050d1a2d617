"""Memory, estimated before anything starts, and the arithmetic in what is refused."""

from __future__ import annotations

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
from wall_edge_engines.build.targets.target import named_target

from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path) -> Bundle:
    return Bundle(shipped_bundle)


def test_the_estimate_is_what_was_measured() -> None:
    """2904 MB for 931 MB of weights, tensorrt-rtx 1.7.1, 2026-11-25."""
    assert 0.9 * build_bytes(931_000_000) < 2_904_000_000 <= build_bytes(931_000_000)


@pytest.mark.parametrize(("spare", "refused"), [(-1, True), (0, False), (1, False)])
def test_a_graph_is_refused_from_the_first_byte_that_is_missing(spare: int, refused: bool) -> None:
    weights = 1_000_000_000
    assert bool(build_shortage(weights, build_bytes(weights) + spare)) == refused


def test_the_arithmetic_is_told() -> None:
    text = build_shortage(6_200_000_000, 13_000_000_000)
    assert "3 x 6.20 GB of weights + 0.35 GB = 18.95 GB, 13.00 GB are free" in text
    assert "smaller recipe" in text


def test_memory_that_is_free() -> None:
    assert BUILD_BASE_BYTES < available_bytes() < 1 << 50


def test_what_runs_counts_weights_caches_and_the_system(bundle: Bundle) -> None:
    orin, server = (run_estimate(bundle, named_target(name)) for name in ("orin-nano-8", "h100"))
    files = [name for graph in bundle.manifest.graphs.values() for name in (graph.file, graph.data)]
    assert orin.weights == sum((bundle.folder / name).stat().st_size for name in files)
    past = bundle.manifest.graphs["prefix"].inputs["past_kv"].shape
    token = 4 * int(past[1]) * 2 * int(past[3]) * int(past[4])
    assert orin.caches == 2 * 317 * token
    assert orin.rest - server.rest == 1_500_000_000


def test_engines_that_do_not_fit_are_refused_with_the_arithmetic(bundle: Bundle) -> None:
    nano = named_target("orin-nano-8")
    total = run_estimate(bundle, nano).total
    require_fits(bundle, nano, total)
    require_fits(bundle, nano, None)
    with pytest.raises(EngineError, match=r"running takes weights .* = 2\.\d\d GB; .*--precision int8-int4"):
        require_fits(bundle, nano, total - 1)
