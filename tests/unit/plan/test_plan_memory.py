"""Memory to run and to build, from sizes; refused with the arithmetic from the first byte on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_engines.build.targets.memory import SYSTEM_BYTES, build_bytes, build_peak, run_estimate
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import named_target
from wall_edge_engines.plan.memory import plan_memory

from tests.unit.plan.workloads import GB, workload
from wall_edge.bundle import Bundle

SIZES = PolicySizes.of_workload(workload(), 500)
NANO, SERVER = named_target("orin-nano-8"), named_target("h100")


def test_a_workload_has_the_sizes_that_its_bundle_would_have() -> None:
    assert SIZES.weights["prefix"] == 6 * GB
    assert (SIZES.max_prompt_tokens, SIZES.capacity, SIZES.item_bytes) == (500, 532, 2)
    stored = {name: size for name, size in workload().stored_bytes.items() if name != "expert"}
    assert PolicySizes.of_workload(workload(stored_bytes=stored), 500).capacity == 756  # words are actions


def test_a_bundles_sizes_are_its_files_and_its_manifests(shipped_bundle: Path) -> None:
    bundle = Bundle(shipped_bundle)
    sizes = PolicySizes.of_bundle(bundle)
    spec = bundle.manifest.graphs["vision"]
    assert sizes.weights["vision"] == sum(bundle.path(n).stat().st_size for n in (spec.file, spec.data))
    assert sizes.capacity == bundle.manifest.max_prompt_tokens + 32


def test_the_prefix_has_two_profiles_and_takes_the_most_to_build() -> None:
    assert build_peak(SIZES) == ("prefix", build_bytes(6 * GB, 2))
    larger = replace(SIZES, weights={"vision": 8 * GB, "prefix": 6 * GB})
    assert build_peak(larger) == ("vision", build_bytes(8 * GB, 1))


@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True), (1, True)])
def test_running_is_refused_from_the_first_byte_that_is_missing(spare: int, fits: bool) -> None:
    memory = plan_memory(SIZES, SERVER, run_estimate(SIZES, SERVER).total + spare)
    assert memory.fits == memory.runs == fits
    if not fits:
        assert "running takes weights 10.00 GB + keys/values 0.11 GB" in memory.refusal


@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True)])
def test_building_on_a_jetson_is_judged_beside_its_system(spare: int, fits: bool) -> None:
    memory = plan_memory(SIZES, NANO, build_peak(SIZES)[1] + SYSTEM_BYTES + spare)
    assert memory.fits == fits
    assert memory.runs
    if not fits:
        assert "prefix: compiling takes 3.68 x 6.00 GB of weights + 0.35 GB = 22.43 GB" in memory.refusal
        assert "0.00 GB of swap for the build would do: --swap-gib 1" in memory.refusal


def test_swap_is_for_building_and_not_for_running() -> None:
    assert plan_memory(SIZES, NANO, 16 * GB, 8 * GB).fits
    refused = plan_memory(SIZES, NANO, 8 * GB, 100 * GB)
    assert not refused.runs
    assert "compiling" not in refused.refusal
    assert "of swap" not in plan_memory(SIZES, NANO, 8 * GB).refusal


def test_a_card_in_a_server_is_built_for_in_the_servers_memory() -> None:
    assert plan_memory(SIZES, SERVER, 16 * GB).fits
    assert not plan_memory(SIZES, NANO, 16 * GB).fits


def test_a_processor_builds_nothing() -> None:
    processor = replace(NANO, sm=None)
    assert plan_memory(SIZES, processor, 16 * GB).fits
    assert run_estimate(SIZES, NANO).rest - run_estimate(SIZES, processor).rest == 500_000_000


def test_a_target_of_no_device_refuses_nothing() -> None:
    memory = plan_memory(SIZES, named_target("sm86-check"), None)
    assert memory.fits
    assert memory.run.total > 10 * GB
