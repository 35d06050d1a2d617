"""Graphs in every precision: standard operators only, and the numbers that quantised arithmetic gives."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_export.calibrate import Calibrator, Continuation, ModelInput
from wall_edge_export.calibrated import Calibrated
from wall_edge_export.golden import GoldenCase
from wall_edge_export.graph_writer import GraphWriter
from wall_edge_export.graphs import GRAPHS, graphs_of, stages
from wall_edge_export.lazy import LazyModel, weight_reader
from wall_edge_export.model import WallModel
from wall_edge_export.precision import CALIBRATED, Recipe, family, input_group, int4_block, load_recipe
from wall_edge_export.quantize.int4 import dequantize_blocks
from wall_edge_export.quantize.int8 import fake_quantize, quantize_per_channel
from wall_edge_export.trace import STAGE_PREFIX

from wall_edge.bundle import GraphSpec, file_digest

SHIPPED = ("fp16", "int8", "int8-weights", "int4-weights")
Arrays = dict[str, np.ndarray]


def everything_in(precision: str) -> Recipe:
    """Every layer family that may be, in one precision, and the rest in float32."""
    recipe = load_recipe("fp32")
    for graph in ("vision", "prefix", "expert"):
        for layer in _layers(graph):
            recipe = recipe.with_family(graph, layer, precision)
    return fitting(recipe)


def fitting(recipe: Recipe) -> Recipe:
    """The recipe, but the case's 40 inputs of an action MLP take no 4-bit blocks."""
    if recipe.families("expert")["mlp"] != "int4-weights":
        return recipe
    return recipe.with_family("expert", "mlp", "int8-weights")


def _layers(graph: str) -> list[str]:
    return ["attention", "mlp", "merger"] if graph == "vision" else ["qkv", "o", "mlp"]


RECIPES = {name: fitting(load_recipe(name)) for name in SHIPPED} | {
    f"all {precision}": everything_in(precision) for precision in ("int8", "int8-weights", "int4-weights")
}


@dataclass(frozen=True)
class Written:
    """Graphs of the smaller golden case in one recipe."""

    folder: Path
    recipe: Recipe
    specs: dict[str, GraphSpec]
    digests: dict[str, str]

    def graph(self, name: str) -> onnx.ModelProto:
        return onnx.load(self.folder / f"{name}.onnx", load_external_data=False)


class Workbench:
    """The case's model with everything that writing it in any recipe takes; traced and calibrated once."""

    def __init__(self, folder: Path) -> None:
        self.case = GoldenCase(folder)
        self.model = self.case.checkpoint.load()
        self.writer = GraphWriter(self.model.shape, self.case.given, weight_reader(self.case.checkpoint))
        wanted = {
            graph: dict.fromkeys(_layers(graph), CALIBRATED) for graph in ("vision", "prefix", "expert")
        }
        wanted["expert"]["mlp"] = ("int8",)
        calibrator = Calibrator(LazyModel(self.case.checkpoint), self.case.given, wanted)
        self.calibrated = calibrator.run([self._sample(seed) for seed in range(4)], lambda _: None)

    def write(self, recipe: Recipe, folder: Path) -> Written:
        specs, digests = {}, {}
        for graph in GRAPHS:
            families = recipe.families(graph)
            digests |= self.writer.write(graph, families, folder, self.calibrated.get(graph))
            specs[graph] = self.writer.spec(graph, families)
        return Written(folder, recipe, specs, digests)

    def prompt(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and positions of the prompt without padding, and the chunk's positions."""
        keep = self.case["attention_mask"][0].astype(bool)
        ids, placed = self.case["input_ids"][0, keep], self.case["position_ids"][:, 0, keep]
        cut = int((ids != self.case.action_token).sum())
        return (
            torch.from_numpy(ids[:cut]),
            torch.from_numpy(placed[:, :cut].copy()),
            torch.from_numpy(placed[:, cut:].copy()),
        )

    def _sample(self, seed: int) -> ModelInput:
        case, rng = self.case, np.random.default_rng(seed)
        ids, placed, chunk = self.prompt()
        patches, noise = case["pixel_values"], case["noise"][0]
        return ModelInput(
            patches=torch.from_numpy(patches + 0.1 * rng.standard_normal(patches.shape, dtype=np.float32)),
            ids=ids,
            positions=placed,
            continuations=(Continuation(ids[-6:], placed[:, -6:], len(ids) - 6),),
            state=torch.from_numpy(case["proprioception"][0, 0]),
            state_mask=torch.from_numpy(case["agent_pos_mask"][0, 0]),
            actions=torch.from_numpy(rng.uniform(-1, 1, noise.shape).astype(np.float32)),
            mask=torch.from_numpy(case["dof_mask"][0]),
            chunk_positions=chunk,
        )

    def inputs(self) -> dict[str, dict[str, Tensor]]:
        """What each graph is fed, from the case's observation."""
        case, (ids, placed, chunk) = self.case, self.prompt()
        prefix = {
            "input_ids": ids,
            "image_embeds": torch.from_numpy(case["image_embeds"]),
            "state": torch.from_numpy(case["proprioception"][0, 0]),
            "state_mask": torch.from_numpy(case["agent_pos_mask"][0, 0]),
            "positions": placed,
            "past_kv": torch.zeros(self.model.shape.kv_shape(0)),
        }
        kv, hidden = self.run_modules(self.model, "prefix", prefix)
        expert = {
            "noisy_action": torch.from_numpy(case["noise"][0]),
            "dof_mask": torch.from_numpy(case["dof_mask"][0]),
            "time": torch.tensor(0.35),
            "positions": chunk,
            "past_kv": kv,
        }
        patches = {"patches": torch.from_numpy(case["pixel_values"])}
        return {"vision": patches, "prefix": prefix, "lm_head": {"hidden": hidden}, "expert": expert}

    def run_modules(self, model: WallModel, graph: str, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            outputs = stages(model, self.case.given)[graph].module(*inputs.values())
        return list(outputs) if isinstance(outputs, tuple) else [outputs]


@pytest.fixture(scope="module")
def bench(golden_case: Path) -> Workbench:
    return Workbench(golden_case)


@pytest.fixture(scope="module")
def written(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    made: dict[str, Written] = {}

    def get(name: str) -> Written:
        if name not in made:
            made[name] = bench.write(RECIPES[name], tmp_path_factory.mktemp("graphs"))
        return made[name]

    return get


def run_graph(engine: OnnxRuntimeEngine, graph: str, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    spec = engine.graphs[graph]
    sizes = {"tokens": 0, "past": 0}
    tensors = {}
    for name, tensor in inputs.items():
        sizes |= {
            a: s for a, s in zip(spec.inputs[name].shape, tensor.shape, strict=True) if isinstance(a, str)
        }
        tensors[name] = engine.tensor(tuple(tensor.shape), spec.inputs[name].dtype)
        tensors[name].write(tensor.numpy())
    for name, out in spec.outputs.items():
        shape = tuple(sizes[a] if isinstance(a, str) else a for a in out.shape)
        tensors[name] = engine.tensor(shape, out.dtype)
    engine.bind(graph, tensors).run()
    return [tensors[name].read() for name in spec.outputs]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


each_recipe = pytest.mark.parametrize("name", RECIPES)
each_graph = pytest.mark.parametrize("graph", GRAPHS)


@each_recipe
@each_graph
def test_the_graph_is_valid_and_of_standard_operators(
    written: Callable[[str], Written], name: str, graph: str
) -> None:
    made = written(name)
    onnx.checker.check_model(str(made.folder / f"{graph}.onnx"), full_check=True)
    model = made.graph(graph)
    int4 = "int4-weights" in made.recipe.families(graph).values()
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 21 if int4 else 20)}
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute)


@each_recipe
@each_graph
def test_inputs_and_outputs_are_what_the_manifest_says(
    written: Callable[[str], Written], name: str, graph: str
) -> None:
    model, spec = written(name).graph(graph), written(name).specs[graph]
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8}
    for values, wanted in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        assert [value.name for value in values] == list(wanted)
        for value, tensor in zip(values, wanted.values(), strict=True):
            axes = value.type.tensor_type.shape.dim
            assert value.type.tensor_type.elem_type == kinds[tensor.dtype]
            assert [not axis.dim_param and axis.dim_value for axis in axes] == [
                not isinstance(size, str) and size for size in tensor.shape
            ]


@each_recipe
@each_graph
def test_every_weight_is_stored_once_and_as_the_recipe_says(
    bench: Workbench, written: Callable[[str], Written], name: str, graph: str
) -> None:
    kinds = {
        "fp32": TensorProto.FLOAT,
        "fp16": TensorProto.FLOAT16,
        "int8": TensorProto.INT8,
        "int8-weights": TensorProto.INT8,
        "int4-weights": TensorProto.INT4,
    }
    made = written(name)
    stored = {t.name: t for t in made.graph(graph).graph.initializer}
    assert len(stored) == len(made.graph(graph).graph.initializer)
    weights = {w: t for w, t in bench.model.state_dict().items() if graph in graphs_of(w)}
    for weight, tensor in weights.items():
        layer = family(graph, weight)
        precision = "fp32" if layer is None else made.recipe.families(graph)[layer]
        found = stored[f"{STAGE_PREFIX}{weight}"]
        assert found.data_type == kinds[precision]
        assert math.prod(found.dims) == tensor.numel()
    # What else is there are scales, and tables that the model computes from nothing.
    for other in (t for t in stored.values() if t.name.removeprefix(STAGE_PREFIX) not in weights):
        assert other.data_type not in (TensorProto.FLOAT16, TensorProto.INT4)
        if not other.external_data:
            values = np.sort(onnx.numpy_helper.to_array(other), axis=None)
            same = [w for w, t in weights.items() if t.numel() == values.size and t.ndim > 1]
            assert not any(np.allclose(values, np.sort(weights[w].numpy(), axis=None)) for w in same)


@each_recipe
@each_graph
def test_the_data_file_holds_the_weights_and_nothing_else(
    written: Callable[[str], Written], name: str, graph: str
) -> None:
    made = written(name)
    spans = []
    for tensor in made.graph(graph).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            assert entries["location"] == f"{graph}.data"
            spans.append((int(entries["offset"]), int(entries["length"])))
    spans.sort()
    assert spans[0][0] == 0
    for (start, size), (then, _) in zip(spans, spans[1:], strict=False):
        assert start % 64 == 0
        assert 0 <= then - (start + size) < 64
    data = made.folder / f"{graph}.data"
    assert data.stat().st_size == sum(spans[-1])
    for path in (data, made.folder / f"{graph}.onnx"):
        assert made.digests[path.name] == file_digest(path)


@pytest.mark.parametrize("name", ["int8", "all int8"])
@pytest.mark.parametrize("graph", ["vision", "prefix", "expert"])
def test_layers_that_read_one_input_share_its_quantisation(
    bench: Workbench, written: Callable[[str], Written], name: str, graph: str
) -> None:
    model = written(name).graph(graph).graph
    producer = {output: node for node in model.node for output in node.output}
    quantised = [node for node in model.node if node.op_type == "QuantizeLinear"]
    sources = [producer[node.input[0]].input[0] for node in quantised]
    assert len(sources) == len(set(sources)), "a tensor is rounded twice"

    families = written(name).recipe.families(graph)
    groups: dict[str, set[str]] = {}
    for weight in (w for w in bench.model.state_dict() if graph in graphs_of(w)):
        if families.get(family(graph, weight) or "") == "int8":
            widened = next(n for n in model.node if n.input[:1] == [f"{STAGE_PREFIX}{weight}"])
            gemm = next(n for n in model.node if widened.output[0] in n.input)
            rounding = producer[producer[gemm.input[0]].input[0]]
            assert rounding.op_type == "QuantizeLinear"
            groups.setdefault(input_group(weight), set()).add(rounding.input[1])
    assert all(scales == {f"{group}.input_scale"} for group, scales in groups.items())
    # Only the last prefix layer asks for its last token alone, so its query reads a tensor of its own.
    assert len(quantised) == len(groups) + (graph == "prefix")


@pytest.mark.parametrize("graph", GRAPHS)
def test_fp16_casts_an_input_once(written: Callable[[str], Written], graph: str) -> None:
    casts = [
        node.input[0]
        for node in written("fp16").graph(graph).graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
    ]
    assert casts
    assert max(Counter(casts).values()) == 1


class Emulation:
    """A model whose linear layers do in numpy and torch what the recipe says, for one graph."""

    def __init__(self, bench: Workbench, graph: str, recipe: Recipe) -> None:
        self.model = copy.deepcopy(bench.model)
        self._calibrated = bench.calibrated.get(graph, Calibrated())
        for name, module in self.model.named_modules():
            weight = f"{name}.weight"
            if not hasattr(module, "weight") or graph not in graphs_of(weight):
                continue
            precision = recipe.families(graph).get(family(graph, weight) or "", "fp32")
            if isinstance(module, nn.Linear) and precision != "fp32":
                module.forward = self._linear(weight, module, precision)  # type: ignore[method-assign]
            elif precision == "fp16":  # tables and the patch embedding: stored in half, used in single
                module.weight.data = module.weight.data.half().float()

    def _linear(self, weight: str, layer: nn.Linear, precision: str) -> Callable[[Tensor], Tensor]:
        w = layer.weight.detach().numpy()
        bias = 0.0 if layer.bias is None else layer.bias.detach()
        if precision == "fp16":
            half = layer.weight.detach().half().float()
            return lambda x: (x.half().float() @ half.T).half().float() + bias
        if precision == "int8":
            scaling = self._calibrated.inputs[input_group(weight)]
            codes, scale = quantize_per_channel(w * scaling.smoothing)
            wide = torch.from_numpy(codes * scale[:, None])
            inverse = 1 / scaling.smoothing
            rounded = lambda x: torch.from_numpy(fake_quantize(x.numpy() * inverse, scaling.scale))  # noqa: E731
            return lambda x: rounded(x) @ wide.T + bias
        if precision == "int8-weights":
            codes, scale = quantize_per_channel(w)
            wide = torch.from_numpy(codes * scale[:, None])
        else:
            wide = torch.from_numpy(
                dequantize_blocks(*self._calibrated.int4[weight], int4_block(weight, w.shape[1]))
            )
        return lambda x: x @ wide.T + bias


def _measured(bench: Workbench, made: Written, graph: str) -> tuple[float, float]:
    """Relative errors of ONNX Runtime against the emulation, and of the emulation against float32."""
    inputs = bench.inputs()[graph]
    exact = bench.run_modules(bench.model, graph, inputs)[0].numpy()
    emulated = bench.run_modules(Emulation(bench, graph, made.recipe).model, graph, inputs)[0].numpy()
    found = run_graph(OnnxRuntimeEngine(made.folder, made.specs), graph, inputs)[0]
    return relative(found, emulated), relative(emulated, exact)


# What each precision loses of these random networks, with room for other seeds.
_LOSS = {"fp32": 0.0, "fp16": 2e-3, "int8": 0.12, "int8-weights": 0.03, "int4-weights": 0.25}


@each_recipe
@each_graph
def test_the_arithmetic_is_the_emulated_one(
    bench: Workbench, written: Callable[[str], Written], name: str, graph: str
) -> None:
    """A wrong scale, a transposed weight or a forgotten bias would be off by as much as quantising loses."""
    made = written(name)
    off, lost = _measured(bench, made, graph)
    used = {p for layer, p in made.recipe.families(graph).items() if layer != "action_head"}
    print(name, graph, off, lost)
    assert lost <= max(_LOSS[precision] for precision in used)
    assert (lost > 0) == (used != {"fp32"})
    # On a CPU, ONNX Runtime rounds only what goes into a half-precision product, not what comes out.
    assert off < (1e-3 if "fp16" in used else 2e-6)


@each_graph
def test_a_recipe_leaves_no_trace_in_the_next(bench: Workbench, tmp_path: Path, graph: str) -> None:
    """Precisions once stuck to the traced graph: float32 after int8 was refused, after fp16 it was fp16."""
    digests = []
    for number, name in enumerate(("fp32", "fp16", "fp32", "all int8", "fp32", "all int4-weights", "fp32")):
        recipe = RECIPES.get(name) or load_recipe(name)
        (folder := tmp_path / str(number)).mkdir()
        written = bench.writer.write(graph, recipe.families(graph), folder, bench.calibrated.get(graph))
        if name == "fp32":
            digests.append(written)
    assert all(entry == digests[0] for entry in digests)
