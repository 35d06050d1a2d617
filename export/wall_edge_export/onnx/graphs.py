"""The graphs of a bundle: which inputs and outputs each has, and the stage of the model behind it.

``vision``: camera frames → image tokens. ``prefix``: prompt tokens after a past → their keys/values and the
last one's hidden state. ``lm_head``: that hidden state → logits. ``expert``: one integration step → velocity.
``guided``, on request: the same, and the guidance of real-time chunking; it holds the expert's weights again.
The prefix never sees the action tokens and the expert reads the prefix's keys/values, so no graph runs the
whole sequence, and no weight of the prefix is in two graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from wall_edge.bundle import ActionKind, ElementType, FlowActions, GraphSpec, ImageGeometry, TensorSpec
from wall_edge_export.model.frames import CameraFrontEnd
from wall_edge_export.model.inventory import Inventory, Weight, inventory
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.vision import Grid
from wall_edge_export.model.wall import WallModel

TOKENS, PAST, KEYS = "tokens", "past", "keys"
GRAPHS = ("vision", "prefix", "lm_head", "expert")
GUIDED = "guided"


@dataclass(frozen=True)
class Activations:
    """The types between products: in the vision tower, and in all graphs that share keys/values."""

    vision: ElementType = "float32"
    decoder: ElementType = "float32"

    def type_of(self, weight: Weight) -> ElementType:
        """A weight's type among them, before a recipe changes its layer family's."""
        if weight.exact:
            return "float32"
        return self.vision if weight.part == "vision" else self.decoder


@dataclass(frozen=True)
class GraphInputs:
    """What the graphs are specialised for: images, special token ids, chunk horizon.

    The vision graph takes one uint8 frame a camera of ``cameras``; without cameras it takes patches of
    images with ``grids`` (height and width in patches), which is how golden cases hold their images.
    """

    grids: tuple[Grid, ...]
    image_token_id: int
    state_token_id: int | None
    horizon: int
    cameras: Mapping[str, ImageGeometry] | None = None
    actions: type[ActionKind] = FlowActions
    head_rows: int | None = None
    """Rows of a trimmed vocabulary head; None for all."""
    guidance: bool = False
    """Whether flow actions get the graph ``guided`` too."""
    padding: tuple[float, ...] | None = None
    """By slot the normalised action that degrees of freedom go to whose mask is 0; None where the model
    says, as in the first family."""

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs that the actions need, in order."""
        return self.actions.graph_names(guidance=self.guidance)


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
    weights: Inventory
    """Of the whole model."""
    differentiates: bool = False
    """Whether the module uses ``torch.func``, which torch.onnx cannot export as it is."""


def stages(
    model: WallModel,
    graph_inputs: GraphInputs,
    activations: Activations = Activations(),
) -> dict[str, Stage]:
    """The model's stages by graph name, specialised for ``graph_inputs``.

    ``activations`` are the types of the tensors between graphs; the model's are those of its weights.
    """
    specs, weights = graph_specs(model.shape, graph_inputs, activations), inventory(model)

    def prefix(*tensors: Tensor) -> tuple[Tensor, ...]:
        return model.prefix(
            *tensors, image_token_id=graph_inputs.image_token_id, state_token_id=graph_inputs.state_token_id
        )

    calls: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
        "vision": _vision(model, graph_inputs, getattr(torch, activations.decoder)),
        "prefix": prefix,
        "lm_head": model.logits,
        "expert": partial(_padded, model.step, graph_inputs.padding),
        GUIDED: partial(_padded, model.guided_step, graph_inputs.padding),
    }
    return {
        name: Stage(_Stage(model, calls[name]), specs[name], weights, name == GUIDED)
        for name in graph_inputs.graphs
    }


def _padded(
    stage: Callable[..., tuple[Tensor, ...]], padding: tuple[float, ...] | None, *tensors: Tensor
) -> tuple[Tensor, ...]:
    return stage(*tensors, padding=None if padding is None else torch.tensor(padding))


def _vision(model: WallModel, graph_inputs: GraphInputs, dtype: torch.dtype) -> Callable[..., Tensor]:
    front_end = CameraFrontEnd(tuple((graph_inputs.cameras or {}).values()))

    def vision(*images: Tensor) -> Tensor:
        return model.image_embeds(front_end(*images), graph_inputs.grids).to(dtype)

    def from_patches(patches: Tensor) -> Tensor:
        return model.image_embeds(patches, graph_inputs.grids).to(dtype)

    return vision if graph_inputs.cameras else from_patches


def graph_specs(
    shape: ModelShape, graph_inputs: GraphInputs, activations: Activations
) -> dict[str, GraphSpec]:
    """Names, shapes and types of every graph's tensors, in the order of the stage's arguments."""
    patches = sum(height * width for height, width in graph_inputs.grids)
    image_tokens = patches // shape.vision.spatial_merge_size**2
    hidden, dof, horizon = shape.hidden_size, shape.action_dof, graph_inputs.horizon

    def between(*axes: int | str) -> TensorSpec:
        return TensorSpec(axes, activations.decoder)

    def kv(axis: int | str) -> TensorSpec:
        return between(axis, *shape.kv_shape(0)[1:])

    def f32(*axes: int | str) -> TensorSpec:
        return TensorSpec(axes, "float32")

    def i64(*axes: int | str) -> TensorSpec:
        return TensorSpec(axes, "int64")

    images = {
        name: TensorSpec((camera.height, camera.width, 3), "uint8")
        for name, camera in (graph_inputs.cameras or {}).items()
    }
    tensors: dict[str, tuple[dict[str, TensorSpec], dict[str, TensorSpec]]] = {
        "vision": (
            images or {"patches": f32(patches, shape.vision.patch_dim)},
            {"image_embeds": between(image_tokens, hidden)},
        ),
        "prefix": (
            {
                "input_ids": i64(TOKENS),
                "image_embeds": between(image_tokens, hidden),
                "positions": i64(3, TOKENS),
                "mask": TensorSpec((TOKENS, KEYS), "bool"),
                "past_kv": kv(PAST),
                **(dict.fromkeys(("state", "state_mask"), f32(shape.state_dof)) if shape.state_token else {}),
            },
            {"kv": kv(TOKENS), "hidden": between(1, hidden)},
        ),
        "lm_head": (
            {"hidden": between(1, hidden)},
            {"logits": f32(graph_inputs.head_rows or shape.vocab_size), "token": i64(1), "logit_sum": f32()},
        ),
    }
    action = f32(horizon, dof)
    step = {
        "noisy_action": action,
        "dof_mask": action,
        **dict.fromkeys(("time", "step_size", "guidance_weight"), f32()),
        **dict.fromkeys(("target", "weights"), action),
        "positions": i64(3, horizon),
        "past_kv": kv(PAST),
    }
    tensors["expert"] = step, dict.fromkeys(("velocity", "next_action"), action)
    tensors[GUIDED] = step, dict.fromkeys(("velocity", "guidance", "next_action"), action)
    return {
        name: GraphSpec(f"{name}.onnx", f"{name}.data", "fp32", {}, inputs, outputs)
        for name, (inputs, outputs) in tensors.items()
    }


def image_cells(grids: Sequence[Grid], merge: int) -> list[tuple[int, int]]:
    """Grids in merged cells, as prompt positions want them."""
    return [(height // merge, width // merge) for height, width in grids]
