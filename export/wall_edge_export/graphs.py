"""The four graphs of a bundle: which inputs and outputs each has, and how it becomes ONNX.

``vision``: patches → image tokens. ``prefix``: prompt tokens after a past → their keys/values.
``text``: one token → logits and its keys/values. ``expert``: one integration step → velocity.
The prefix never sees the action tokens and the expert reads the prefix's keys/values, so no graph runs the
whole sequence.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wall_edge.bundle import GraphSpec, TensorSpec

from .model import ModelShape, WallModel
from .model.vision import Grid

OPSET = 20
"""Opset 23 emits RMSNormalization, which JetPack's TensorRT 10.3 rejects; 20 keeps primitive operators."""

TOKENS, PAST = "tokens", "past"


@dataclass(frozen=True)
class GraphInputs:
    """What the graphs are specialised for: image grids in patches, special token ids, chunk horizon."""

    grids: tuple[Grid, ...]
    image_token_id: int
    state_token_id: int
    horizon: int


class _Stage(nn.Module):
    """One stage of the model as a module of its own, which is what torch.onnx exports."""

    def __init__(self, model: WallModel, stage: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model = model
        self._stage = stage

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self._stage(*tensors)


@dataclass(frozen=True)
class Stage:
    """A graph before export: the module to trace and the tensors it takes and gives."""

    module: nn.Module
    spec: GraphSpec


def stages(model: WallModel, given: GraphInputs) -> dict[str, Stage]:
    """The model's stages by graph name, specialised for ``given``."""
    specs = graph_specs(model.shape, given)

    def vision(patches: Tensor) -> Tensor:
        return model.image_embeds(patches, given.grids)

    def prefix(*tensors: Tensor) -> Tensor:
        return model.prefix(
            *tensors, image_token_id=given.image_token_id, state_token_id=given.state_token_id
        )

    calls: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
        "vision": vision,
        "prefix": prefix,
        "text": model.text,
        "expert": model.velocity,
    }
    return {name: Stage(_Stage(model, call), specs[name]) for name, call in calls.items()}


def graph_specs(shape: ModelShape, given: GraphInputs) -> dict[str, GraphSpec]:
    """Names, shapes and types of every graph's tensors, in the order of the stage's arguments."""
    patches = sum(height * width for height, width in given.grids)
    image_tokens = patches // shape.vision.spatial_merge_size**2
    hidden, dof, horizon = shape.hidden_size, shape.action_dof, given.horizon

    def kv(axis: int | str) -> TensorSpec:
        return TensorSpec((axis, *shape.kv_shape(0)[1:]), "float32")

    def f32(*axes: int | str) -> TensorSpec:
        return TensorSpec(axes, "float32")

    def i64(*axes: int | str) -> TensorSpec:
        return TensorSpec(axes, "int64")

    def graph(name: str, inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]) -> GraphSpec:
        return GraphSpec(f"{name}.onnx", "fp32", inputs, outputs)

    return {
        "vision": graph(
            "vision",
            {"patches": f32(patches, shape.vision.patch_dim)},
            {"image_embeds": f32(image_tokens, hidden)},
        ),
        "prefix": graph(
            "prefix",
            {
                "input_ids": i64(TOKENS),
                "image_embeds": f32(image_tokens, hidden),
                "state": f32(shape.state_dof),
                "state_mask": f32(shape.state_dof),
                "positions": i64(3, TOKENS),
                "past_kv": kv(PAST),
            },
            {"kv": kv(TOKENS)},
        ),
        "text": graph(
            "text",
            {"input_ids": i64(1), "positions": i64(3, 1), "past_kv": kv(PAST)},
            {"logits": f32(shape.vocab_size), "kv": kv(1)},
        ),
        "expert": graph(
            "expert",
            {
                "noisy_action": f32(horizon, dof),
                "dof_mask": f32(horizon, dof),
                "time": f32(),
                "positions": i64(3, horizon),
                "past_kv": kv(PAST),
            },
            {"velocity": f32(horizon, dof)},
        ),
    }


_EXAMPLE = {TOKENS: 11, PAST: 7}


def example_inputs(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Zero tensors of a graph's input shapes, for tracing."""
    kinds = {"float32": torch.float32, "int64": torch.int64}
    return tuple(
        torch.zeros([_EXAMPLE[a] if isinstance(a, str) else a for a in t.shape], dtype=kinds[t.dtype])
        for t in spec.inputs.values()
    )


def export_graph(stage: Stage, folder: Path) -> None:
    """Trace one stage and write it as ONNX into ``folder`` under the name in its spec."""
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(t.shape) if isinstance(size, str)}
        for t in stage.spec.inputs.values()
    )
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            stage.module,
            example_inputs(stage.spec),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(stage.spec.inputs),
            output_names=list(stage.spec.outputs),
            dynamic_shapes=(dynamic,),
            verbose=False,
        )
    assert program is not None
    program.save(str(folder / stage.spec.file), external_data=False)


def export_graphs(
    model: WallModel, given: GraphInputs, folder: Path, progress: Callable[[str], None] = lambda _: None
) -> dict[str, GraphSpec]:
    """Write all graphs into ``folder``; ``progress`` is told each name before its turn."""
    made = stages(model, given)
    for name, stage in made.items():
        progress(name)
        export_graph(stage, folder)
    return {name: stage.spec for name, stage in made.items()}


def image_cells(grids: Sequence[Grid], merge: int) -> list[tuple[int, int]]:
    """Grids in merged cells, as prompt positions want them."""
    return [(height // merge, width // merge) for height, width in grids]
