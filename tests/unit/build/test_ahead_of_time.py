"""TensorRT-RTX builds every graph for SM86, without a GPU, in every recipe that targets recommend.

Of the shipped policy, and of two layers at full widths: the first family's and wall-oss-0.5's, whose action
expert is narrow, with projections of its own and causal tokens. It shows that the graphs are taken and what
is fused of them, not what an Orin makes of them: ``benchmarks/tensorrt_build.py`` says so each time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.shapes import ACTION_EXPERT, ModelShape
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.reference.random_config import model_config, stored_shape
from wall_edge_export.reference.random_shapes import named_shape
from wall_edge_export.reference.random_tokenizer import build_tokenizer

from benchmarks.tensorrt_build import Row
from tests.graph_check import RECOMMENDED, GraphCheck
from wall_edge.bundle import ImageGeometry

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop" / "checkpoint"


def graph_inputs(cameras: int, geometry: ImageGeometry) -> GraphInputs:
    rows, columns = geometry.cells
    return GraphInputs(
        grids=((2 * rows, 2 * columns),) * cameras,
        image_token_id=5,
        state_token_id=6,
        horizon=32,
        guidance=True,
        cameras={f"camera {number}": geometry for number in range(cameras)},
    )


@pytest.fixture(scope="module")
def tabletop() -> GraphCheck:
    return GraphCheck(Checkpoint(TABLETOP).shape, graph_inputs(1, ImageGeometry(84, 84, 84)))


@pytest.fixture(scope="module")
def full_width() -> GraphCheck:
    """The published model's widths, two of its blocks of each kind, few words and three cameras."""
    named = replace(
        named_shape("wall-oss-flow"), layers=2, vision_depth=2, full_attention=(1,), base_vocab=1024
    )
    shape = model_shape(model_config(named, build_tokenizer(named), "bfloat16"))
    return GraphCheck(shape, graph_inputs(3, ImageGeometry(640, 480)))


@pytest.fixture(scope="module")
def later_width() -> GraphCheck:
    """wall-oss-0.5's widths, as above; the graphs that differ from the first family's are built."""
    published = named_shape("wall-oss-0.5")
    assert published.later is not None
    named = replace(
        published,
        layers=2,
        vision_depth=2,
        full_attention=(1,),
        base_vocab=1024,
        later=replace(published.later, embedding_rows=1088),
    )
    shape = stored_shape(named, model_config(named, build_tokenizer(named), "bfloat16"))
    assert shape.causal_actions
    assert shape.stream_width(ACTION_EXPERT) < shape.hidden_size
    given = graph_inputs(3, ImageGeometry(640, 480, 448))
    return GraphCheck(shape, replace(given, padding=(0.5,) * shape.action_dof))


@pytest.mark.parametrize("recipe", RECOMMENDED)
def test_tabletop(tabletop: GraphCheck, recipe: str) -> None:
    require_fused(tabletop.shape, tabletop.rows(recipe))


@pytest.mark.parametrize("recipe", RECOMMENDED)
def test_full_width(full_width: GraphCheck, recipe: str) -> None:
    require_fused(full_width.shape, full_width.rows(recipe))


@pytest.mark.parametrize("recipe", RECOMMENDED)
def test_later_width(later_width: GraphCheck, recipe: str) -> None:
    """A mask of causal actions that TensorRT made on the host, or fused with no attention, would be seen."""
    rows = {graph: later_width.row(recipe, graph) for graph in ("prefix", "expert")}
    require_fused(later_width.shape, rows)


def test_adaptive_norms_keep_attention_fused_and_nothing_on_the_host(later_width: GraphCheck) -> None:
    adaptive = GraphCheck(replace(later_width.shape, adaptive_norms=True), later_width.graph_inputs)
    require_fused(adaptive.shape, {"expert": adaptive.row("bf16", "expert")})


def test_tabletop_has_as_few_kernels_with_8_bit_weights_as_with_halves(tabletop: GraphCheck) -> None:
    require_no_more_kernels(tabletop)


def test_full_width_has_as_few_kernels_with_8_bit_weights_as_with_halves(full_width: GraphCheck) -> None:
    require_no_more_kernels(full_width)


def test_no_8_bit_weight_of_full_width_is_widened_into_memory(full_width: GraphCheck) -> None:
    """That takes a kernel of its own, before the product."""
    for graph in ("lm_head", "expert"):
        assert kernels(full_width.row("int8-int8", graph)) <= kernels(full_width.row("bf16", graph)), graph


@pytest.mark.parametrize("policy", ["tabletop", "later_width"])
def test_guidance_is_built(policy: str, request: pytest.FixtureRequest) -> None:
    """In float32, so nothing fuses, behind half keys/values."""
    check: GraphCheck = request.getfixturevalue(policy)
    row = check.row("bf16", "guided")
    assert not row.reason
    assert not row.problems
    assert not any(profile.host_copies for profile in row.profiles)


def require_fused(shape: ModelShape, rows: dict[str, Row]) -> None:
    layers = shape.num_layers
    blocks = {"vision": shape.vision.depth, "prefix": layers, "lm_head": 0, "expert": layers}
    for graph, row in rows.items():
        assert not row.reason
        assert not row.problems
        assert len(row.profiles) == (2 if graph == "prefix" else 1)
        assert {profile.attentions for profile in row.profiles} == {blocks[graph]}, graph
        assert not any(profile.host_copies for profile in row.profiles), graph
    assert 0 < rows["expert"].profiles[0].block_kernels <= 11
    if "vision" in rows:
        front_end = rows["vision"].front_end
        assert front_end is not None
        assert front_end <= 10


def require_no_more_kernels(check: GraphCheck) -> None:
    for graph, row in check.rows("int8-weights").items():
        halves = check.row("fp16", graph)
        assert kernels(row) <= kernels(halves), graph


def kernels(row: Row) -> int:
    return sum(profile.kernels for profile in row.profiles)
