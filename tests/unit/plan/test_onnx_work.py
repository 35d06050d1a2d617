"""A bundle's files, counted, and the model that they were made from, counted: the same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_engines.plan.onnx_work import GraphWork, bundle_workload
from wall_edge_engines.plan.uses import count_uses, uses
from wall_edge_engines.plan.workload import Workload
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.plan.model_work import model_workload
from wall_edge_export.plan.source import plan_source
from wall_edge_export.quantize.precision import Recipe, load_recipe, recipe_names
from wall_edge_export.reference.golden_case import GoldenCase
from wall_edge_export.reference.streaming_model import weight_reader

from tests.golden_graphs import RECIPES, Workbench, fitting
from wall_edge.bundle import Bundle, GraphSpec
from wall_edge.bundle.graphs.wire import as_message, field, records
from wall_edge.errors import BundleError, ConfigError

TOKENS = 61
SHIPPED = {name: fitting(load_recipe(name)) for name in recipe_names()}


def of_files(
    folder: Path, specs: Mapping[str, GraphSpec], recipe: Recipe, cameras: int, tokens: int
) -> Workload:
    work = {
        name: GraphWork((folder / spec.file).read_bytes(), spec, spec.file) for name, spec in specs.items()
    }
    stored = {name: graph.stored_bytes for name, graph in work.items()}
    return count_uses(
        recipe.name, specs, cameras, tokens, stored, lambda graph, sizes: work[graph].count(sizes)
    )


def write(writer: GraphWriter, recipe: Recipe, folder: Path, *graphs: str) -> dict[str, GraphSpec]:
    for graph in graphs:
        writer.write(graph, recipe, folder)
    return {graph: writer.spec(graph, recipe) for graph in graphs}


@pytest.mark.parametrize("name", [*RECIPES, *sorted(SHIPPED.keys() - RECIPES.keys())])
def test_files_and_model_agree_in_every_recipe(bench: Workbench, tmp_path: Path, name: str) -> None:
    recipe, inputs = (RECIPES | SHIPPED)[name], bench.case.graph_inputs
    if name in RECIPES:
        written = bench.written(name)
        folder, specs = written.folder, written.specs
    else:
        folder, specs = tmp_path, {graph: bench.writer.spec(graph, recipe) for graph in inputs.graphs}
        for graph in specs:
            bench.writer.write(graph, recipe, folder, bench.calibrated.get(graph))
    counted = of_files(folder, specs, recipe, len(inputs.grids), TOKENS)
    assert counted == model_workload(bench.model.shape, inputs, recipe, TOKENS)
    for graph, size in counted.stored_bytes.items():  # the file has each tensor on a 64-byte boundary
        on_disk = (folder / specs[graph].data).stat().st_size
        assert on_disk - 64 * 200 < size <= on_disk


def test_files_and_model_agree_on_views_of_several_sizes(golden_case: Path, tmp_path: Path) -> None:
    case = GoldenCase(golden_case.with_name("mixed_views"))
    shape, inputs, recipe = case.checkpoint.shape, case.graph_inputs, load_recipe("bf16")
    assert len(set(inputs.grids)) > 1
    writer = GraphWriter(shape, inputs, weight_reader(case.checkpoint))
    specs = write(writer, recipe, tmp_path, *inputs.graphs)
    tokens = int(case["attention_mask"][0].sum())
    counted = of_files(tmp_path, specs, recipe, len(inputs.grids), tokens)
    assert counted == model_workload(shape, inputs, recipe, tokens)


@pytest.mark.parametrize(("cameras", "name"), [(1, "int8-weights"), (3, "fp16")])
def test_files_and_model_agree_for_fewer_and_more_cameras(tmp_path: Path, cameras: int, name: str) -> None:
    """Of frames that are resized, and of a policy of FAST actions."""
    source, recipe = plan_source("tiny" if cameras == 1 else "tiny-fast", cameras), load_recipe(name)
    weights = hollow_model(source.shape).state_dict()
    writer = GraphWriter(source.shape, source.graph_inputs, lambda weight: torch.ones(weights[weight].shape))
    specs = write(writer, recipe, tmp_path, *source.graph_inputs.graphs)
    counted = of_files(tmp_path, specs, recipe, cameras, source.prompt_tokens)
    assert counted == model_workload(source.shape, source.graph_inputs, recipe, source.prompt_tokens)
    assert ("expert" in counted.uses) == (cameras == 1)


def test_the_prompt_is_the_goldens_unless_said(shipped_bundle: Path) -> None:
    bundle = Bundle(shipped_bundle)
    usual = bundle_workload(bundle)
    assert usual.prompt_tokens == len(bundle.goldens["action_prompt_ids"]) == 50
    assert usual.cameras == len(bundle.manifest.cameras)
    longer = bundle_workload(bundle, 60)
    assert longer.prompt_tokens == 60
    assert longer.uses["vision"] == usual.uses["vision"]
    assert longer.uses["lm_head"] == usual.uses["lm_head"]
    for name in ("prefix", "expert", "word"):
        assert sum(longer.uses[name].operations.values()) > sum(usual.uses[name].operations.values()), name
        assert longer.uses[name].traffic_bytes > usual.uses[name].traffic_bytes, name
    assert longer.uses["expert"].weight_bytes == usual.uses["expert"].weight_bytes
    rows = 10 * 4 * usual.hidden  # of the embedding table, ten more
    assert longer.uses["prefix"].weight_bytes == usual.uses["prefix"].weight_bytes + rows


@pytest.mark.parametrize("tokens", [-1, 0, 1, 18, 32_769, 1 << 40])
def test_a_prompt_that_cannot_be(shipped_bundle: Path, tokens: int) -> None:
    with pytest.raises(ConfigError, match=rf"a prompt of {tokens} tokens; expected more than the images' 18"):
        bundle_workload(Bundle(shipped_bundle), tokens)


def test_the_shortest_prompt_counts(shipped_bundle: Path) -> None:
    assert bundle_workload(Bundle(shipped_bundle), 19).prompt_tokens == 19


class Files:
    """The shipped bundle's graphs, to be damaged."""

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle(folder)

    def content(self, graph: str) -> bytes:
        return (self.bundle.folder / f"{graph}.onnx").read_bytes()

    def count(self, graph: str, content: bytes) -> int:
        work = GraphWork(content, self.bundle.manifest.graphs[graph], f"{graph}.onnx")
        sizes = next(s for g, s in uses(self.bundle.manifest.graphs, 50).values() if g == graph)
        return work.count(sizes).weight_bytes + work.stored_bytes

    def changed(self, graph: str, change: Callable[[int, bytes], bytes]) -> bytes:
        """``change`` gets number and bytes of every field of the graph message, with its key."""
        out = b""
        for number, value, raw in records(memoryview(self.content(graph))):
            if number != 7:
                out += bytes(raw)
                continue
            inner = b"".join(change(n, bytes(r)) for n, _, r in records(as_message(value)))
            out += field(7, inner)
        return out


@pytest.fixture(scope="module")
def files(shipped_bundle: Path) -> Files:
    return Files(shipped_bundle)


def test_without_the_shapes_that_tracing_leaves_nothing_is_guessed(files: Files) -> None:
    bare = files.changed("expert", lambda number, raw: b"" if number == 13 else raw)
    with pytest.raises(BundleError, match=r"expert\.onnx: the shape of '.*' is not told; expected a graph"):
        files.count("expert", bare)


def test_an_axis_that_is_no_sum_of_sizes_is_refused(files: Files) -> None:
    name = next(n for n in (b"s%d + 24" % i for i in range(1000)) if n in files.content("expert"))
    odd = files.content("expert").replace(name, name.replace(b" + ", b" ? "))
    with pytest.raises(BundleError, match="has no size"):
        files.count("expert", odd)


def test_a_product_without_a_rule_is_refused(files: Files) -> None:
    odd = files.content("vision").replace(b"MatMul", b"Einsum")
    with pytest.raises(BundleError, match="a product that nobody counts"):
        files.count("vision", odd)


def test_a_factor_of_another_depth_is_refused(files: Files) -> None:
    width = field(1, 160)  # of the hidden state: TensorShapeProto.Dimension.dim_value
    odd = files.changed("expert", lambda n, raw: raw.replace(width, field(1, 161)) if n == 13 else raw)
    with pytest.raises(BundleError, match=r"a result of another shape than \[24, 160\]"):
        files.count("expert", odd)


def test_a_file_that_ends_early_is_one_line(files: Files) -> None:
    with pytest.raises(BundleError) as caught:
        files.count("prefix", files.content("prefix")[:-1])
    assert str(caught.value) == (
        "prefix.onnx: a field that goes beyond its message; expected a graph that was exported; "
        "export the bundle again with 'wall-edge export'"
    )


@given(data=st.data())
def test_a_damaged_file_is_an_error_of_ours_or_counted(files: Files, data: st.DataObject) -> None:
    graph = data.draw(st.sampled_from(["vision", "prefix", "lm_head", "expert"]))
    content = bytearray(files.content(graph))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    with contextlib.suppress(BundleError):
        assert files.count(graph, bytes(content[:cut])) >= 0
