"""Recipes in half types when every operator rounds to them, which no CPU engine does and GPUs do.

The second opinion beside ONNX Runtime: torch's own bfloat16 and float16 operators on the CPU, in the graphs'
types.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wall_edge_engines import ModelSession
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import GRAPHS, Activations
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.golden_case import GoldenCase

from tests.golden_graphs import Workbench, run_all
from wall_edge.arrays import relative_l2
from wall_edge.bundle import Bundle, FlowActions
from wall_edge.config import RobotConfig
from wall_edge.verification.comparison import StageCheck
from wall_edge.verification.tolerances import tolerances
from wall_edge.verification.verify import verify

CASES = Path(__file__).parent / "cases"
CHECKPOINT = Path(__file__).parents[2] / "examples" / "tabletop" / "checkpoint"
each_type = pytest.mark.parametrize("name", ["bf16", "fp16"])
TYPES = {"bf16": "bfloat16", "fp16": "float16"}


def with_every_operator_rounded(
    bundle: Bundle, robot: RobotConfig, activations: Activations
) -> list[StageCheck]:
    """The bundle's stages by the checkpoint's modules in these types."""
    checkpoint = Checkpoint(CHECKPOINT)
    inputs = ExportInputs.open(checkpoint, robot).graph_inputs
    return verify(bundle, ReferenceEngine(checkpoint.load(), inputs, activations))


@each_type
def test_every_stage_is_within_the_recipe_s_tolerances(
    shipped_bundle: Path, robot: RobotConfig, name: str
) -> None:
    bundle, recipe = Bundle(shipped_bundle), load_recipe(name)
    families = {graph: recipe.families(graph) for graph in GRAPHS}
    limits = tolerances(families, bundle.manifest.embodiment, FlowActions)
    checks = with_every_operator_rounded(bundle, robot, recipe.activations)
    for check in checks:
        limit = limits.get(check.stage, limits.get(check.stage.split(".")[0]))
        if limit is None:  # words: a rounded model may settle a tie differently
            continue
        error = getattr(check, limit.measure)
        print(name, check.stage, error, limit.limit)
        assert error <= limit.limit, check.stage
        assert error > 0.01 * limit.limit or check.stage == "action_prompt_ids", "nothing was rounded"
        assert check.cosine >= 0.999


@each_type
def test_words_and_chunks_are_nearly_those_of_float32(
    shipped_bundle: Path, robot: RobotConfig, name: str
) -> None:
    checks = with_every_operator_rounded(Bundle(shipped_bundle), robot, load_recipe(name).activations)
    errors = {check.stage: check for check in checks}
    assert errors["chunk"].relative_l2 <= {"bf16": 0.02, "fp16": 0.002}[name]
    assert errors["text_logits"].relative_l2 <= {"bf16": 0.01, "fp16": 0.001}[name]
    assert errors["subgoal_ids"].max_abs == 0


@each_type
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_golden_case_s_graphs(bench: Workbench, graph: str, name: str) -> None:
    kind = Activations(TYPES[name], TYPES[name])  # type: ignore[arg-type]
    engine = ReferenceEngine(bench.model, bench.case.graph_inputs, kind)
    exact = run_all(ReferenceEngine(bench.model, bench.case.graph_inputs), graph, bench.inputs[graph])
    rounded = run_all(engine, graph, bench.inputs[graph])
    for output, values in exact.items():
        if values.size > 1:  # neither a token nor a sum, in which roundings cancel or add up
            print(name, graph, output, relative_l2(rounded[output], values))
            assert 1e-5 < relative_l2(rounded[output], values) < {"bf16": 0.05, "fp16": 0.01}[name]


def test_a_type_for_vision_alone(bench: Workbench) -> None:
    """Image tokens come in the decoder's type whatever the tower computes in."""
    mixed = ReferenceEngine(bench.model, bench.case.graph_inputs, Activations("bfloat16", "float32"))
    assert mixed.graphs["vision"].outputs["image_embeds"].dtype == "float32"
    assert mixed.graphs["prefix"].inputs["image_embeds"].dtype == "float32"
    exact = run_all(ReferenceEngine(bench.model, bench.case.graph_inputs), "vision", bench.inputs["vision"])
    rounded = run_all(mixed, "vision", bench.inputs["vision"])
    assert 1e-4 < relative_l2(rounded["image_embeds"], exact["image_embeds"]) < 0.05
    expert = run_all(mixed, "expert", bench.inputs["expert"])["velocity"]
    np.testing.assert_array_equal(expert, bench.run_modules(bench.model, "expert"))


def chunks(case: GoldenCase, model: WallModel, activations: Activations, noises: np.ndarray) -> np.ndarray:
    """The case's chunks from each of ``noises [n, horizon, slots]`` in ten steps."""
    session = ModelSession(ReferenceEngine(model, case.graph_inputs, activations), capacity=256)
    session.encode_images({"patches": case["pixel_values"]})
    keep = case["attention_mask"][0].astype(bool)
    ids, places = case["input_ids"][0, keep], case["position_ids"][:, 0, keep]
    count = int((ids != case.action_token).sum())
    session.prefill(ids[:count], places[:, :count])  # the prompt spells the state
    grid = case.schedule.grid(10)
    made = [session.denoise(noise, case["dof_mask"][0], places[:, count:], grid) for noise in noises]
    return np.stack(made)


@each_type
def test_products_of_adaptive_norms_may_be_in_half_types(name: str) -> None:
    """0.385 % and 0.042 % of a chunk; with these products in float32 they were 0.358 % and 0.038 %."""
    case = GoldenCase(CASES / "w10_adaptive")
    model, rng = case.checkpoint.load(), np.random.default_rng(0)
    noises = rng.standard_normal((8, *case["noise"][0].shape), dtype=np.float32)
    exact = chunks(case, model, Activations(), noises)
    rounded = chunks(case, model, Activations(TYPES[name], TYPES[name]), noises)  # type: ignore[arg-type]
    error = relative_l2(rounded, exact)
    print(name, "chunk of w10_adaptive", error)
    assert {"bf16": 0.001, "fp16": 0.0001}[name] < error < {"bf16": 0.006, "fp16": 0.0007}[name]
