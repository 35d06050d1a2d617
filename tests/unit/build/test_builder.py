"""All graphs of a bundle, by a compiler that does as a test says."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_engines.build import builder as module
from wall_edge_engines.build.builder import Builder, GraphResult, stale_folders
from wall_edge_engines.build.record import BuildRecord
from wall_edge_engines.build.targets.memory import build_bytes
from wall_edge_engines.build.targets.selection import Selection
from wall_edge_engines.build.targets.target import named_target

from tests.unit.build.conftest import ORIN, Compilers
from wall_edge.bundle import Bundle
from wall_edge.errors import BundleError, EngineError

AHEAD = Selection("tensorrt-rtx", "1.7.1", named_target("sm86-check"), None)
pytestmark = pytest.mark.usefixtures("compilers")
ON_ORIN = Selection("tensorrt", "10.3.0", named_target("orin-nx-16"), ORIN)


@pytest.fixture
def bundle(copy_bundle: Callable[[], Bundle]) -> Bundle:
    return copy_bundle()


def build(bundle: Bundle, selection: Selection = AHEAD) -> dict[str, GraphResult]:
    return Builder(bundle, selection).build(lambda _: None)


def size(bundle: Bundle, graph: str) -> int:
    spec = bundle.manifest.graphs[graph]
    return bundle.path(spec.file).stat().st_size + bundle.path(spec.data).stat().st_size


def test_the_largest_graph_is_built_first(bundle: Bundle, compilers: Compilers) -> None:
    results = build(bundle)
    assert [job["graph"] for job in compilers.jobs] == list(results)
    sizes = [size(bundle, graph) for graph in results]
    assert sizes == sorted(sizes, reverse=True)
    assert set(results) == set(bundle.manifest.graphs)
    assert all(result.ok and not result.kept for result in results.values())


def test_engines_lie_beside_the_bundle_with_a_record(bundle: Bundle) -> None:
    builder = Builder(bundle, AHEAD)
    builder.build(lambda _: None)
    assert builder.folder.parent == bundle.folder.with_name("bundle.engines")
    assert builder.folder.name.startswith("tensorrt-rtx-1.7.1-sm86-")
    names = {path.name for path in builder.folder.iterdir()}
    assert names == {"engines.yaml", *(f"{graph}.plan" for graph in bundle.manifest.graphs)}
    record = BuildRecord.read(builder.folder)
    assert (record.key.bundle, record.key.gpu, record.key.sm) == (bundle.digest, None, 86)
    assert record.graphs["expert"].peak_bytes == 123_000_000
    assert set(record.built) == {"machine", "python", "versions", "date"}
    Bundle(bundle.folder)  # which holds nothing new


def test_progress_names_the_graph_and_its_phase(bundle: Bundle) -> None:
    heard: list[str] = []
    Builder(bundle, AHEAD).build(heard.append)
    order = Builder(bundle, AHEAD).order
    assert heard == [word for graph in order for word in (graph, f"{graph}: tactics 1/2")]


def test_ahead_of_time_no_timings_are_kept_on_a_device_they_are(bundle: Bundle, compilers: Compilers) -> None:
    build(bundle)
    assert {job["timing_cache"] for job in compilers.jobs} == {None}
    build(bundle, ON_ORIN)
    jobs = compilers.jobs[len(bundle.manifest.graphs) :]
    timings = bundle.folder.with_name("bundle.engines") / "tensorrt-10.3.0-Orin-sm87.timings"
    assert {job["timing_cache"] for job in jobs} == {str(timings)}
    assert {job["sm"] for job in jobs} == {None}
    assert {job["aux_streams"] for job in jobs} == {0}


def test_a_graph_that_fails_keeps_no_other_from_being_built(bundle: Bundle, compilers: Compilers) -> None:
    compilers.behave(prefix="killed")
    results = build(bundle)
    assert {graph for graph, result in results.items() if not result.ok} == {"prefix"}
    assert "SIGKILL" in results["prefix"].reason
    folder = Builder(bundle, AHEAD).folder
    assert set(BuildRecord.read(folder).graphs) == set(results) - {"prefix"}
    assert not (folder / "prefix.plan").exists()


def test_a_rerun_goes_on_with_the_rest(bundle: Bundle, compilers: Compilers) -> None:
    compilers.behave(vision="crashed")
    first = build(bundle)
    compilers.behave()
    second = build(bundle)
    assert [job["graph"] for job in compilers.jobs[len(first) :]] == ["vision"]
    assert {graph for graph, result in second.items() if result.kept} == set(first) - {"vision"}
    assert all(result.ok for result in second.values())
    assert second["expert"] == replace(first["expert"], kept=True)


def test_an_interrupted_build_keeps_what_was_built(bundle: Bundle, compilers: Compilers) -> None:
    def interrupt(word: str) -> None:
        if word.startswith("expert: "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Builder(bundle, AHEAD).build(interrupt)
    jobs = len(compilers.jobs)
    assert all(result.ok for result in build(bundle).values())
    again = [job["graph"] for job in compilers.jobs[jobs:]]
    order = Builder(bundle, AHEAD).order
    assert again == order[order.index("expert") :]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [damage, Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_plan_that_is_damaged_or_gone_is_built_again(
    bundle: Bundle, harm: Callable[[Path], object]
) -> None:
    build(bundle)
    harm(Builder(bundle, AHEAD).folder / "expert.plan")
    results = build(bundle)
    assert [graph for graph, result in results.items() if not result.kept] == ["expert"]


def test_a_damaged_record_means_all_is_built_again(bundle: Bundle) -> None:
    build(bundle)
    (Builder(bundle, AHEAD).folder / "engines.yaml").write_text("key: {")
    assert not any(result.kept for result in build(bundle).values())
    BuildRecord.read(Builder(bundle, AHEAD).folder)


def test_a_graph_that_cannot_fit_is_refused_before_its_compiler_starts(
    bundle: Bundle, compilers: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = build_bytes(module.graph_bytes(bundle, "expert"), profiles=1)
    monkeypatch.setattr(module, "available_bytes", lambda: free)
    results = build(bundle)
    assert not results["prefix"].ok
    assert "of weights + 0.35 GB =" in results["prefix"].reason
    assert results["expert"].ok
    assert "prefix" not in {job["graph"] for job in compilers.jobs}


def test_what_another_key_built_stays_and_is_named(bundle: Bundle) -> None:
    build(bundle)
    build(bundle, ON_ORIN)
    assert all(result.kept for result in build(bundle).values())
    ahead, orin = Builder(bundle, AHEAD).folder, Builder(bundle, ON_ORIN).folder
    assert orin.name.startswith("tensorrt-10.3.0-Orin-sm87-")
    assert list(stale_folders(bundle, ahead)) == [orin]


@pytest.mark.parametrize(
    "other",
    [
        replace(AHEAD, version="1.7.2"),
        replace(AHEAD, compiler="tensorrt"),
        replace(AHEAD, device=replace(ORIN, name="another")),
        replace(AHEAD, target=replace(AHEAD.target, sm=89)),
    ],
)
def test_every_part_of_the_key_has_a_folder_of_its_own(bundle: Bundle, other: Selection) -> None:
    assert Builder(bundle, other).folder != Builder(bundle, AHEAD).folder


def test_settings_have_a_folder_of_their_own(bundle: Bundle) -> None:
    before = Builder(bundle, AHEAD).folder
    bundle.manifest = replace(bundle.manifest, max_prompt_tokens=bundle.manifest.max_prompt_tokens + 1)
    assert Builder(bundle, AHEAD).folder != before


def test_two_builds_of_the_same_engines_are_one_too_many(bundle: Bundle, compilers: Compilers) -> None:
    folder = Builder(bundle, AHEAD).folder
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(EngineError, match="another build is writing there; wait for it"):
        build(bundle)
    assert compilers.jobs == []
    os.close(descriptor)
    assert all(result.ok for result in build(bundle).values())


def test_a_place_that_cannot_be_written(bundle: Bundle) -> None:
    bundle.folder.with_name("bundle.engines").write_text("a file")
    with pytest.raises(EngineError, match="expected a folder that can be written"):
        build(bundle)


def test_a_bundle_replaced_during_the_build_is_refused(bundle: Bundle) -> None:
    def replace_it(word: str) -> None:
        if word == "vision":
            path = bundle.path(bundle.manifest.graphs["prefix"].file)
            path.write_bytes(path.read_bytes())

    with pytest.raises(BundleError, match="replaced or written to"):
        Builder(bundle, AHEAD).build(replace_it)


def test_no_engine_of_a_replaced_graph_is_kept(bundle: Bundle) -> None:
    path = bundle.path(bundle.manifest.graphs["expert"].file)

    def replace_it(word: str) -> None:
        if word == "expert":
            path.write_bytes(path.read_bytes())

    builder = Builder(bundle, AHEAD)
    with pytest.raises(BundleError, match="replaced or written to"):
        builder.build(replace_it)
    assert "expert" not in BuildRecord.read(builder.folder).graphs
    results = build(Bundle(bundle.folder))  # the same bundle once more, put back
    assert not results["expert"].kept
