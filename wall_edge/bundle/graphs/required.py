"""The graphs that a policy's actions need, with the tensors that the runtime gives and takes."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle.actions import ActionKind
from wall_edge.bundle.graphs.specs import Graphs, GraphTensors, Tensors, TensorSpec, axis_size
from wall_edge.bundle.image_geometry import ImageGeometry
from wall_edge.checks import between, one_of
from wall_edge.config_loader import Invalid

ACTIVATIONS = ("float32", "float16", "bfloat16")
"""Types of image tokens, hidden states and keys/values."""


def check_graphs(
    graphs: Graphs,
    cameras: Mapping[str, ImageGeometry],
    actions: ActionKind,
    horizon: int,
    *,
    state_token: bool = True,
) -> None:
    """Names, types and shapes, of the graphs that the actions need. Raises :class:`Invalid`.

    ``state_token``: whether a token carries the state, an input of ``prefix``; else the prompt spells it.
    """
    actions.require_graphs(graphs)
    required = _required(graphs, cameras, state_token)
    required |= actions.tensors(graphs, horizon, required["prefix"][0]["past_kv"])
    for name, (inputs, outputs) in required.items():
        _require_same(f"graphs.{name}.inputs", graphs[name].inputs, inputs)
        _require_same(f"graphs.{name}.outputs", graphs[name].outputs, outputs)


def _required(graphs: Graphs, cameras: Mapping[str, ImageGeometry], state_token: bool) -> GraphTensors:
    """Inputs and outputs of every policy's graphs, with the model's own sizes as the specs give them."""
    hidden = axis_size(graphs, "vision", "image_embeds", 1, 2)
    images = sum(camera.tokens for camera in cameras.values())
    tail = tuple(axis_size(graphs, "prefix", "past_kv", axis, 5) for axis in range(1, 5))
    between("graphs.prefix.inputs.past_kv.shape[2]", tail[1], 2, 2)
    rows = axis_size(graphs, "lm_head", "logits", 0, 1)
    half = graphs["prefix"].inputs["past_kv"].dtype
    one_of("graphs.prefix.inputs.past_kv.dtype", half, ACTIVATIONS)
    frames = {name: TensorSpec((camera.height, camera.width, 3), "uint8") for name, camera in cameras.items()}
    embeds, past = TensorSpec((images, hidden), half), TensorSpec(("past", *tail), half)
    last = TensorSpec((1, hidden), half)
    prefix = {
        "input_ids": TensorSpec(("tokens",), "int64"),
        "image_embeds": embeds,
        "positions": TensorSpec((3, "tokens"), "int64"),
        "mask": TensorSpec(("tokens", "keys"), "bool"),
        "past_kv": past,
    }
    if state_token:
        state = TensorSpec((axis_size(graphs, "prefix", "state", 0, 1),), "float32")
        prefix |= {"state": state, "state_mask": state}
    token = {
        "logits": TensorSpec((rows,), "float32"),
        "token": TensorSpec((1,), "int64"),
        "logit_sum": TensorSpec((), "float32"),
    }
    return {
        "vision": (frames, {"image_embeds": embeds}),
        "prefix": (prefix, {"kv": TensorSpec(("tokens", *tail), half), "hidden": last}),
        "lm_head": ({"hidden": last}, token),
    }


def _require_same(key: str, tensors: Tensors, required: Tensors) -> None:
    if set(tensors) != set(required):
        raise Invalid(key, list(tensors), expected=", ".join(required))
    for name, spec in required.items():
        if tensors[name] != spec:
            raise Invalid(f"{key}.{name}", _text(tensors[name]), expected=_text(spec))


def _text(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}"
