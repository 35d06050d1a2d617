"""The graph of real-time chunking: velocity and guidance in ONNX Runtime against torch's autograd."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
import torch
import wall_edge_engines
from torch import Tensor
from wall_edge_engines import Engine, Guidance, ModelSession, OnnxRuntimeEngine
from wall_edge_engines.plan.onnx_work import bundle_workload
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.model.inventory import inventory, of_graph
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GUIDED
from wall_edge_export.onnx.linear import STAGE_PREFIX
from wall_edge_export.quantize.precision import load_recipe, recipe_names
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.streaming_model import weight_reader

from tests.golden_graphs import Workbench, run_all
from wall_edge.arrays import relative_l2
from wall_edge.bundle import Bundle
from wall_edge.cli import main
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, EngineError
from wall_edge.verification.verify import verify

Array = np.ndarray


@dataclass(frozen=True)
class Guided:
    """The golden case's action graphs, the modules behind them, and the prompt's keys/values."""

    model: WallModel
    folder: Path
    engine: Engine
    reference: Engine
    inputs: Mapping[str, Tensor]

    def at(self, time: float, past: int) -> dict[str, Tensor]:
        """Inputs of the graph ``guided`` at a time, after the first ``past`` tokens of the prompt."""
        kv = self.inputs["past_kv"][:past]
        return {**self.inputs, "time": torch.tensor(time), "past_kv": kv}


@pytest.fixture(scope="module")
def guided(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Guided:
    folder, given = tmp_path_factory.mktemp("guided"), replace(bench.case.graph_inputs, guidance=True)
    writer = GraphWriter(bench.model.shape, given, weight_reader(bench.case.checkpoint))
    specs = {}
    for graph, recipe, made_by in (("expert", "fp32", bench.writer), (GUIDED, "fp32", writer)):
        made_by.write(graph, load_recipe(recipe), folder)
        specs[graph] = made_by.spec(graph, load_recipe(recipe))
    rng, shape = np.random.default_rng(0), bench.case["noise"][0].shape
    pull = {"target": rng.uniform(-1, 1, shape), "weights": rng.uniform(0, 1, shape)}
    inputs = bench.inputs["expert"] | {name: torch.tensor(a, dtype=torch.float32) for name, a in pull.items()}
    reference = ReferenceEngine(bench.model, given)
    return Guided(bench.model, folder, OnnxRuntimeEngine(folder, specs), reference, inputs)


def by_autograd(model: WallModel, inputs: Mapping[str, Tensor]) -> Array:
    """The guidance without ``torch.func``: the gradient of a scalar whose factors are held fixed."""
    x = inputs["noisy_action"].clone().requires_grad_()
    mask, time, positions, past, target, weights = (
        inputs[name] for name in ("dof_mask", "time", "positions", "past_kv", "target", "weights")
    )
    foreseen = x + (1 - time) * model.velocity(x, mask, time, positions, past)
    pulled = (weights * (target - foreseen)).detach()
    (gradient,) = torch.autograd.grad((foreseen * pulled).sum(), x)
    return gradient.numpy()


@pytest.mark.parametrize("past", [0, 1, 7, 60])
@pytest.mark.parametrize("time", [0.0, 0.35, 0.9])
def test_the_guidance_is_the_gradient_that_autograd_finds(guided: Guided, time: float, past: int) -> None:
    inputs = guided.at(time, past)
    wanted = by_autograd(guided.model, inputs)
    found = run_all(guided.engine, GUIDED, inputs)
    print(relative_l2(found["guidance"], wanted))
    assert relative_l2(found["guidance"], wanted) < 1e-5
    assert relative_l2(run_all(guided.reference, GUIDED, inputs)["guidance"], wanted) < 1e-6


def test_the_velocity_is_the_expert_s(guided: Guided) -> None:
    inputs = guided.at(0.35, 60)
    found = run_all(guided.engine, GUIDED, inputs)["velocity"]
    np.testing.assert_allclose(found, run_all(guided.engine, "expert", inputs)["velocity"], atol=1e-6)


def test_the_gradient_is_more_than_the_difference_itself(guided: Guided) -> None:
    """What the Jacobian is for: dropping it would be another direction."""
    inputs = guided.at(0.35, 60)
    found = run_all(guided.engine, GUIDED, inputs)
    foreseen = inputs["noisy_action"].numpy() + (1 - 0.35) * found["velocity"]
    plain = inputs["weights"].numpy() * (inputs["target"].numpy() - foreseen)
    assert relative_l2(found["guidance"], plain) > 0.05


def test_the_graph_has_standard_operators_and_plain_weights(guided: Guided) -> None:
    graph = onnx.load(guided.folder / "guided.onnx", load_external_data=False)
    assert [(used.domain, used.version) for used in graph.opset_import] == [("", 20)]
    assert {node.domain for node in graph.graph.node} == {""}
    stored = {i.name for i in graph.graph.initializer if i.name.startswith(STAGE_PREFIX)}
    # q, k, v and gate, up stay apart: the derivative uses each weight a second time.
    weights = of_graph(inventory(guided.model), "expert")
    assert stored == {f"{STAGE_PREFIX}{name}" for name in weights}
    turned = [node for node in graph.graph.node if node.op_type == "Transpose" and node.input[0] in stored]
    assert turned == []


@pytest.mark.parametrize("recipe", recipe_names())
def test_it_is_in_float32_whatever_the_recipe(recipe: str) -> None:
    found = load_recipe(recipe)
    assert found.families(GUIDED) == dict.fromkeys(found.families("expert"), "fp32")


@pytest.fixture(scope="module")
def bundle(
    export_once_traced: Callable[..., object],
    slim_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A small policy in half precision with the graph beside."""
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    export_once_traced(Checkpoint(slim_checkpoint), out, ExportOptions("fp16", guidance=True))
    return Bundle(out)


def test_the_manifest_lists_the_graph(bundle: Bundle, slim_checkpoint: Path, robot: RobotConfig) -> None:
    manifest = bundle.manifest
    assert tuple(manifest.graphs) == (*GRAPHS, GUIDED)
    assert (manifest.graphs["expert"].precision, manifest.graphs[GUIDED].precision) == ("fp16", "fp32")
    assert {"guided.onnx", "guided.data"} <= set(manifest.files)
    sizes = ExportInputs.open(Checkpoint(slim_checkpoint), robot, guidance=True).graph_bytes(
        load_recipe("fp16")
    )
    assert bundle_workload(bundle).stored_bytes == sizes


def test_verify_checks_the_graph(bundle: Bundle) -> None:
    engine = wall_edge_engines.load(bundle)
    checks = {check.stage: check for check in verify(bundle, engine)}
    assert [stage for stage, check in checks.items() if not check.ok] == []
    for stage in ("guided_velocity", "guidance"):  # float32 behind keys/values of fp16
        assert checks[stage].tolerance == checks["keys.0"].tolerance == pytest.approx(0.4 * 0.01)
        assert checks[stage].relative_l2 < 1e-4, "a CPU does not round keys/values"
    off = Bundle(bundle.folder)
    off.__dict__["goldens"] = {**off.goldens, "guidance": off.goldens["guidance"] + np.float32(0.1)}
    assert [check.stage for check in verify(off, engine) if not check.ok] == ["guidance"]


def test_a_bundle_without_the_graph_says_what_to_do(bundle: Bundle) -> None:
    graphs = {name: spec for name, spec in bundle.manifest.graphs.items() if name != GUIDED}
    session = ModelSession(OnnxRuntimeEngine(bundle.folder, graphs), capacity=8)
    session.length = 1
    actions = np.zeros((bundle.manifest.horizon, bundle.manifest.action_slots), dtype=np.float32)
    positions = np.zeros((3, len(actions)), dtype=np.int64)
    with pytest.raises(EngineError, match="export the bundle again with --guidance"):
        session.guided_velocity(actions, actions, 0.5, positions, Guidance(actions, actions, 1.0, True))


@pytest.mark.parametrize("given", [True, False])
def test_the_option_of_the_command(
    given: bool, slim_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ExportOptions] = []

    def export_bundle(_: object, __: object, ___: object, request: ExportOptions, ____: object) -> NoReturn:
        asked.append(request)
        raise ConfigError("enough")

    monkeypatch.setattr("wall_edge_export.bundle.pipeline.export_bundle", export_bundle)
    options = ["--guidance"] if given else []
    command = ["wall-edge", "export", str(slim_checkpoint), "--out", str(tmp_path / "bundle"), *options]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        main()
    assert asked == [ExportOptions(guidance=given)]
