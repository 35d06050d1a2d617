"""Quantisation of the later family: each expert's projections on its own tokens, in its own widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from wall_edge_engines import OnnxRuntimeEngine
from wall_edge_export.model.decoder import causal_mask
from wall_edge_export.model.inventory import inventory, of_graph
from wall_edge_export.onnx.graphs import GRAPHS, GraphInputs
from wall_edge_export.quantize import observer
from wall_edge_export.quantize.calibrate import FLOW_TIMES, Calibrator, ModelInput
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.quantize.statistics import LinearStatistics
from wall_edge_export.quantize.weight_bytes import weight_bytes
from wall_edge_export.reference.streaming_model import StreamingModel

from tests.golden_graphs import QUANTISED, Workbench, run_graph
from wall_edge.arrays import relative_l2

CASES = Path(__file__).parents[2] / "golden" / "cases"


@pytest.fixture(scope="module")
def narrow(
    tmp_path_factory: pytest.TempPathFactory, traced_once: Callable[[], AbstractContextManager[None]]
) -> Workbench:
    """Of wall-oss-0.5's layout: an action expert half as wide, causal, the state in words."""
    with traced_once():
        return Workbench(CASES / "w05_causal", tmp_path_factory.mktemp("narrow"))


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """Norms that depend on the time, dead degrees of freedom."""
    return Workbench(CASES / "w10_adaptive", tmp_path_factory.mktemp("adaptive"))


@pytest.mark.parametrize(
    ("recipe", "most"),
    [("bf16", 0.03), ("int8", 0.12), ("int8-weights", 0.03), ("int8-int4", 0.25), ("int4-weights", 0.25)],
)
@pytest.mark.parametrize("graph", GRAPHS)
def test_shipped_recipes_compute_what_they_say(
    narrow: Workbench, tmp_path: Path, recipe: str, graph: str, most: float
) -> None:
    """A scale of the other expert's would be off by as much as quantising loses."""
    written = narrow.write(load_recipe(recipe), tmp_path)
    exact = narrow.run_modules(narrow.model, graph)
    emulated = narrow.emulated(graph, written.recipe)
    computed = run_graph(OnnxRuntimeEngine(tmp_path, written.specs), graph, narrow.inputs[graph])
    lost, off = relative_l2(emulated, exact), relative_l2(computed, emulated)
    assert 1e-5 < lost <= most
    # A last bit may tip an 8-bit activation over to the next code.
    assert off < (0.5 * lost if "int8" in written.recipe.families(graph).values() else 5e-6)


@pytest.mark.parametrize("recipe", ["fp32", "int8-int4"])
def test_the_estimate_of_bytes_is_what_is_written(narrow: Workbench, tmp_path: Path, recipe: str) -> None:
    chosen = load_recipe(recipe)
    written = narrow.write(chosen, tmp_path)
    sizes = weight_bytes(narrow.model.shape, narrow.case.graph_inputs, chosen)
    assert set(sizes) == set(GRAPHS)
    for graph, weights in sizes.items():
        assert set(weights) == set(of_graph(inventory(narrow.model), graph))
        entries = [
            {entry.key: entry.value for entry in tensor.external_data}
            for tensor in written.graph(graph).graph.initializer
        ]
        assert sum(weights.values()) == sum(int(entry["length"]) for entry in entries if entry)


@pytest.mark.parametrize(
    ("recipe", "type_", "most"),
    [
        ("fp32", TensorProto.FLOAT, 1e-6),
        ("bf16", TensorProto.BFLOAT16, 0.01),
        ("int8-weights", TensorProto.BFLOAT16, 0.03),
    ],
)
def test_matrices_of_adaptive_norms_are_as_wide_as_the_stream(
    adaptive: Workbench, tmp_path: Path, recipe: str, type_: int, most: float
) -> None:
    """They once were float32 in every recipe: at 0.5's size 0.9 GB in each integration step."""
    chosen, weights, writer = load_recipe(recipe), inventory(adaptive.model), adaptive.writer
    writer.write("expert", chosen, tmp_path, adaptive.calibrated["expert"])
    graph = onnx.load(tmp_path / "expert.onnx", load_external_data=False).graph
    dense = {
        initializer.name.removeprefix("model."): initializer.data_type
        for initializer in graph.initializer
        if ".dense." in initializer.name
    }
    norms = 2 * adaptive.model.shape.num_layers + 1
    assert dense == {name: type_ for name in weights if ".dense." in name}
    assert len(dense) == 2 * norms
    emulated = adaptive.emulated("expert", chosen)
    engine = OnnxRuntimeEngine(tmp_path, {"expert": writer.spec("expert", chosen)})
    computed = run_graph(engine, "expert", adaptive.inputs["expert"])
    assert relative_l2(computed, emulated) < 5e-6
    assert relative_l2(emulated, adaptive.run_modules(adaptive.model, "expert")) <= most
    sizes = weight_bytes(adaptive.model.shape, adaptive.case.graph_inputs, chosen)["expert"]
    element = 4 if recipe == "fp32" else 2
    assert {name: sizes[name] for name in dense} == {
        name: math.prod(weights[name].shape) * element for name in dense
    }


def test_an_expert_s_products_are_merged_in_its_own_graph(narrow: Workbench, tmp_path: Path) -> None:
    written = narrow.write(load_recipe("fp32"), tmp_path)
    for graph, expert in (("prefix", 0), ("expert", 1)):
        stored = {tensor.name for tensor in written.graph(graph).graph.initializer}
        assert f"model.model.layers.0.self_attn.qkv_input.{expert}.weight" in stored
        assert not any(f"qkv_input.{1 - expert}" in name for name in stored)
        onnx.checker.check_model(str(tmp_path / f"{graph}.onnx"), full_check=True)


def test_every_layer_of_a_graph_is_calibrated_there_and_nowhere_else(adaptive: Workbench) -> None:
    """What adaptive norms and the action head multiply is not quantised."""
    weights = inventory(adaptive.model)
    for graph, layers in QUANTISED.items():
        wanted = {name for name, weight in of_graph(weights, graph).items() if weight.family in layers}
        calibrated = adaptive.calibrated[graph]
        assert {name for name, precision in calibrated.losses if precision == "int8"} == wanted
        assert set(calibrated.inputs) == {weights[name].input_group for name in wanted}
        for group, scaling in calibrated.inputs.items():
            widths = {weights[n].shape[1] for n in wanted if weights[n].input_group == group}
            assert {len(scaling.smoothing)} == widths


def with_dead_slots(sample: ModelInput) -> ModelInput:
    """The last two degrees of freedom masked, and 0 as in a robot's samples."""
    live = torch.ones_like(sample.mask)
    live[:, -2:] = 0
    return replace(sample, mask=live, actions=sample.actions * live)


def collected(
    bench: Workbench, graph_inputs: GraphInputs, samples: Sequence[ModelInput]
) -> dict[str, LinearStatistics]:
    """The statistics of a calibration by their names."""
    statistics: dict[str, LinearStatistics] = {}

    class Kept(LinearStatistics):
        def __init__(self, name: str, *arguments: int, **options: bool) -> None:
            super().__init__(name, *arguments, **options)  # type: ignore[arg-type]
            statistics[name] = self

    plan = {graph: dict.fromkeys(layers, ("int8",)) for graph, layers in QUANTISED.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observer, "LinearStatistics", Kept)
        calibrator = Calibrator(StreamingModel(bench.case.checkpoint), graph_inputs, plan)
        calibrator.run(samples, lambda _: None)
    return statistics


class Watch:
    """The largest magnitudes of what linear layers are given in a pass of the model, by input group."""

    def __init__(self, bench: Workbench) -> None:
        self.largest: dict[str, Tensor] = {}
        self._model, self._weights = bench.model, inventory(bench.model)

    def __enter__(self) -> Watch:
        self._handles = [
            module.register_forward_pre_hook(self._hook(str(self._weights[f"{name}.weight"].input_group)))
            for name, module in self._model.named_modules()
            if isinstance(module, nn.Linear)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, group: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest = inputs[0].abs().reshape(-1, inputs[0].shape[-1]).amax(0)
            self.largest[group] = torch.maximum(largest, self.largest.get(group, largest))

        return hook


@pytest.mark.parametrize("name", ["narrow", "adaptive"])
def test_calibration_sees_what_inference_gives_every_layer(name: str, request: pytest.FixtureRequest) -> None:
    """Sample by sample through the stages that the graphs are made of, against all of them layer by layer."""
    bench: Workbench = request.getfixturevalue(name)
    samples = [with_dead_slots(bench.sample(seed)) for seed in range(2)]
    model, given, rng = bench.model, bench.case.graph_inputs, np.random.default_rng(0)
    statistics = collected(bench, given, samples)
    assert given.padding is not None
    ids = {"image_token_id": given.image_token_id, "state_token_id": given.state_token_id}
    with torch.no_grad(), Watch(bench) as watch:
        for sample in samples:
            states = (sample.state, sample.state_mask) if model.shape.state_token else ()
            images = model.image_embeds(sample.patches, given.grids)
            mask, past = causal_mask(len(sample.ids), 0), torch.zeros(model.shape.kv_shape(0))
            kv, _ = model.prefix(sample.ids, images, sample.positions, mask, past, *states, **ids)
            for text in sample.continuations:
                # In the graph only the last of a prompt's tokens leaves the last layer: one after the other.
                seen = kv[: text.shared]
                for word, place in zip(text.ids[:, None], text.positions.T[..., None], strict=True):
                    mask = causal_mask(1, len(seen))
                    seen = torch.cat((seen, model.prefix(word, images, place, mask, seen, *states, **ids)[0]))
            target = torch.where(sample.mask > 0, sample.actions, torch.tensor(given.padding))
            for time in FLOW_TIMES:
                noise = torch.from_numpy(rng.standard_normal(target.shape, dtype=np.float32))
                noisy = (1 - time) * noise + time * target
                model.velocity(noisy, sample.mask, torch.tensor(time), sample.chunk_positions, kv)
    checked = 0
    for key, found in statistics.items():
        group = key.split(" ", 1)[1]
        np.testing.assert_allclose(found.channel_absmax, watch.largest[group], rtol=2e-3, atol=2e-5)
        checked += 1
    # Two of vision's blocks and its merger; four inputs a layer and expert.
    assert checked == 4 * model.shape.vision.depth + 2 + 2 * 4 * model.shape.num_layers


def test_dead_degrees_of_freedom_go_where_the_graph_takes_them(adaptive: Workbench) -> None:
    """Not to the 0 that samples hold there: the expert would be seen off its way."""
    here, sample = adaptive.case.graph_inputs, with_dead_slots(adaptive.sample(0))
    assert here.padding is not None
    there = replace(here, padding=tuple(value + 50 for value in here.padding))
    (near, far) = (
        collected(adaptive, way, [sample])["expert model.layers.0.self_attn.qkv_input.1"].rows
        for way in (here, there)
    )
    assert relative_l2(far, near) > 0.1
