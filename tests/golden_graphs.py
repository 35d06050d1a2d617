"""A golden case's graphs in any recipe, traced and calibrated once, and torch's idea of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor
from wall_edge_engines import Engine
from wall_edge_export.model.inventory import Weight, inventory, of_graph
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, stages
from wall_edge_export.onnx.trace import parameter_types
from wall_edge_export.quantize.calibrate import Calibrator, Continuation, ModelInput
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.int4 import dequantize_blocks
from wall_edge_export.quantize.int8 import fake_quantize, quantize_per_channel
from wall_edge_export.quantize.precision import (
    CALIBRATED,
    ELEMENT_TYPES,
    INT4_BLOCKS,
    Recipe,
    int4_block,
    load_recipe,
)
from wall_edge_export.reference.golden_case import GoldenCase
from wall_edge_export.reference.streaming_model import StreamingModel, weight_reader

from wall_edge.bundle import GraphSpec

QUANTISED = {
    "vision": ("attention", "mlp", "merger"),
    "prefix": ("qkv", "o", "mlp"),
    "expert": ("qkv", "o", "mlp"),
}


def fitting(recipe: Recipe) -> Recipe:
    """The recipe, but the case's 40 inputs of an action MLP take no 4-bit blocks."""
    if recipe.families("expert")["mlp"] != "int4-weights":
        return recipe
    return recipe.with_family("expert", "mlp", "int8-weights")


def everything_in(precision: str) -> Recipe:
    """Every layer family that may be, in one precision, and the rest in float32."""
    recipe = load_recipe("fp32")
    for graph, layers in QUANTISED.items():
        for layer in layers:
            recipe = recipe.with_family(graph, layer, precision)
    return fitting(recipe)


RECIPES = {
    name: fitting(load_recipe(name)) for name in ("fp16", "bf16", "int8", "int8-weights", "int4-weights")
} | {
    f"all {precision}": everything_in(precision)
    for precision in ("fp16", "bf16", "int8", "int8-weights", "int4-weights")
}
"""The shipped recipes, with half types between products, and each precision among activations in float32."""


@dataclass(frozen=True)
class Written:
    """All graphs in one recipe."""

    folder: Path
    recipe: Recipe
    specs: dict[str, GraphSpec]
    digests: dict[str, str]

    def graph(self, name: str) -> onnx.ModelProto:
        return onnx.load(self.folder / f"{name}.onnx", load_external_data=False)


class Workbench:
    """The case's model with everything that writing it in any recipe takes."""

    def __init__(self, case: Path, folder: Path) -> None:
        self.case = GoldenCase(case)
        self.model = self.case.checkpoint.load()
        self.writer = GraphWriter(
            self.model.shape, self.case.graph_inputs, weight_reader(self.case.checkpoint)
        )
        wanted = {
            graph: {layer: self._calibrated_in(graph, layer) for layer in layers}
            for graph, layers in QUANTISED.items()
        }
        calibrator = Calibrator(StreamingModel(self.case.checkpoint), self.case.graph_inputs, wanted)
        self.calibrated = calibrator.run([self.sample(seed) for seed in range(4)], lambda _: None)
        self.inputs = self._inputs()
        self._folder = folder
        self._written: dict[str, Written] = {}

    def _calibrated_in(self, graph: str, layer: str) -> tuple[str, ...]:
        """4-bit weights only of inputs that take blocks."""
        family = [w for w in of_graph(inventory(self.model), graph).values() if w.family == layer]
        blocks = all(weight.shape[1] % INT4_BLOCKS[-1] == 0 for weight in family)
        return CALIBRATED if blocks else ("int8",)

    def written(self, name: str) -> Written:
        """The graphs in a recipe of :data:`RECIPES`; read-only."""
        if name not in self._written:
            folder = self._folder / name.replace(" ", "-")
            folder.mkdir()
            self._written[name] = self.write(RECIPES[name], folder)
        return self._written[name]

    def traced(self, graph: str, recipe: Recipe) -> ir.Model:
        """What the writer rewrites for a recipe; read-only."""
        return self.writer._traced[graph, recipe.activations]

    def write(self, recipe: Recipe, folder: Path) -> Written:
        """All graphs in a recipe, into a folder of the caller's."""
        specs, digests = {}, {}
        for graph in GRAPHS:
            digests |= self.writer.write(graph, recipe, folder, self.calibrated.get(graph))
            specs[graph] = self.writer.spec(graph, recipe)
        return Written(folder, recipe, specs, digests)

    def run_modules(self, model: WallModel, graph: str) -> np.ndarray:
        """The graph's first output as the torch modules compute it."""
        return self._outputs(model, graph, self.inputs[graph])[0].numpy()

    def _outputs(self, model: WallModel, graph: str, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            outputs = stages(model, self.case.graph_inputs)[graph].module(*inputs.values())
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    def emulated(self, graph: str, recipe: Recipe) -> np.ndarray:
        """The graph's first output when linear layers do in torch and numpy what the recipe says.

        Half types are those of weights: a CPU computes with them in float32.
        """
        model, types = copy.deepcopy(self.model), parameter_types(self.model, recipe.activations)
        model.load_state_dict({w: t.to(types[w]).float() for w, t in model.state_dict().items()})
        calibrated, weights = self.calibrated.get(graph, Calibrated()), inventory(model)
        for name, module in model.named_modules():
            weight = weights.get(f"{name}.weight")
            if weight is None or graph not in weight.graphs:
                continue
            stored = self.model.state_dict()[weight.name]
            precision = recipe.precision(graph, weight)
            if precision in ELEMENT_TYPES:
                module.weight.data = stored.to(getattr(torch, ELEMENT_TYPES[precision])).float()
            elif precision is not None:
                module.forward = _linear(weight, stored.numpy(), module.bias, precision, calibrated)
        return self.run_modules(model, graph)

    def _prompt(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and positions of the prompt without padding, and the chunk's positions."""
        keep = self.case["attention_mask"][0].astype(bool)
        ids, placed = self.case["input_ids"][0, keep], self.case["position_ids"][:, 0, keep]
        cut = int((ids != self.case.action_token).sum())
        pieces = (ids[:cut], placed[:, :cut].copy(), placed[:, cut:].copy())
        one, two, three = (torch.from_numpy(piece) for piece in pieces)
        return one, two, three

    def _state(self) -> tuple[Tensor, Tensor]:
        names = ("proprioception", "agent_pos_mask")
        state, mask = (torch.from_numpy(self.case[name][0, 0]) for name in names)
        return state, mask

    def sample(self, seed: int) -> ModelInput:
        """The case's observation with a little noise, and random actions."""
        case, rng = self.case, np.random.default_rng(seed)
        ids, placed, chunk = self._prompt()
        state, state_mask = self._state()
        patches, noise = case["pixel_values"], case["noise"][0]
        return ModelInput(
            patches=torch.from_numpy(patches + 0.1 * rng.standard_normal(patches.shape, dtype=np.float32)),
            ids=ids,
            positions=placed,
            continuations=(Continuation(ids[-6:], placed[:, -6:], len(ids) - 6),),
            state=state,
            state_mask=state_mask,
            actions=torch.from_numpy(rng.uniform(-1, 1, noise.shape).astype(np.float32)),
            mask=torch.from_numpy(case["dof_mask"][0]),
            chunk_positions=chunk,
        )

    def _inputs(self) -> dict[str, dict[str, Tensor]]:
        """What each graph is fed, in the order of its inputs."""
        case, (ids, placed, chunk) = self.case, self._prompt()
        state, state_mask = self._state()
        prefix = {
            "input_ids": ids,
            "image_embeds": torch.from_numpy(case["image_embeds"]),
            "positions": placed,
            "mask": torch.ones(len(ids), len(ids), dtype=torch.bool).tril(),
            "past_kv": torch.zeros(self.model.shape.kv_shape(0)),
            **({"state": state, "state_mask": state_mask} if self.model.shape.state_token else {}),
        }
        kv, hidden = self._outputs(self.model, "prefix", prefix)
        expert = {
            "noisy_action": torch.from_numpy(case["noise"][0]),
            "dof_mask": torch.from_numpy(case["dof_mask"][0]),
            "time": torch.tensor(0.35),
            "step_size": torch.tensor(0.1),
            "guidance_weight": torch.tensor(0.0),
            **dict.fromkeys(("target", "weights"), torch.zeros(case["noise"][0].shape)),
            "positions": chunk,
            "past_kv": kv,
        }
        patches = {"patches": torch.from_numpy(case["pixel_values"])}
        return {"vision": patches, "prefix": prefix, "lm_head": {"hidden": hidden}, "expert": expert}


def _linear(
    weight: Weight, w: np.ndarray, b: Tensor | None, precision: str, calibrated: Calibrated
) -> Callable[[Tensor], Tensor]:
    bias = 0.0 if b is None else b.detach()
    if precision == "int8":
        scaling = calibrated.inputs[str(weight.input_group)]
        codes, scale = quantize_per_channel(w * scaling.smoothing)
        smoothed = torch.from_numpy(codes * scale[:, None])
        inverse = 1 / scaling.smoothing

        def rounded(x: Tensor) -> Tensor:
            return torch.from_numpy(fake_quantize(x.numpy() * inverse, scaling.scale))

        return lambda x: rounded(x) @ smoothed.T + bias
    if precision == "int8-weights":
        codes, scale = quantize_per_channel(w)
        wide = torch.from_numpy(codes * scale[:, None])
    else:
        block = int4_block(weight.name, w.shape[1])
        wide = torch.from_numpy(dequantize_blocks(*calibrated.int4[weight.name], block))
    return lambda x: x @ wide.T + bias


def run_graph(engine: Engine, graph: str, inputs: Mapping[str, Tensor]) -> np.ndarray:
    """The graph's first output."""
    return next(iter(run_all(engine, graph, inputs).values()))


def run_all(engine: Engine, graph: str, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Bind, run, and give the outputs by name."""
    spec = engine.graphs[graph]
    sizes: dict[str, int] = {}
    tensors = {}
    for name, tensor in inputs.items():
        sizes |= {
            a: n for a, n in zip(spec.inputs[name].shape, tensor.shape, strict=True) if isinstance(a, str)
        }
        tensors[name] = engine.tensor(tuple(tensor.shape), spec.inputs[name].dtype)
        tensors[name].write(tensor.numpy())
    for name, out in spec.outputs.items():
        tensors[name] = engine.tensor(
            tuple(sizes[a] if isinstance(a, str) else a for a in out.shape), out.dtype
        )
    engine.bind(graph, tensors).run()
    return {name: tensors[name].read() for name in spec.outputs}
