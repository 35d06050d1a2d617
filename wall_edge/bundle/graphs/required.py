"""The graphs that a policy's actions need, with the tensors that the runtime gives and takes."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle.graphs.specs import GraphSpec, TensorSpec
from wall_edge.bundle.image_geometry import ImageGeometry
from wall_edge.checks import between, one_of
from wall_edge.config_loader import Invalid

MAX_SIZE = 1 << 24
"""Of one axis of a tensor: a vocabulary has 2^18 rows."""
FLOW, FAST = "wall-oss-flow", "wall-oss-fast"
_GRAPHS = {FLOW: ("vision", "prefix", "lm_head", "expert"), FAST: ("vision", "prefix", "lm_head")}
_GUIDED = "guided"
ACTIVATIONS = ("float32", "float16", "bfloat16")
"""Types of image tokens, hidden states and keys/values."""
Tensors = dict[str, TensorSpec]


def check_graphs(
    graphs: Mapping[str, GraphSpec],
    cameras: Mapping[str, ImageGeometry],
    flavour: str,
    horizon: int,
    *,
    state_token: bool = True,
) -> None:
    """Names, types and shapes, of a prompt flavour's graphs. Raises :class:`Invalid`.

    ``state_token``: whether a token carries the state, an input of ``prefix``; else the prompt spells it.
    """
    names = set(_GRAPHS[flavour])
    if set(graphs) != names and (flavour != FLOW or set(graphs) != names | {_GUIDED}):
        raise Invalid("graphs", list(graphs), expected=", ".join(_GRAPHS[flavour]))
    for name, (inputs, outputs) in _required(graphs, cameras, horizon, state_token).items():
        _require_same(f"graphs.{name}.inputs", graphs[name].inputs, inputs)
        _require_same(f"graphs.{name}.outputs", graphs[name].outputs, outputs)


def _required(
    graphs: Mapping[str, GraphSpec], cameras: Mapping[str, ImageGeometry], horizon: int, state_token: bool
) -> dict[str, tuple[Tensors, Tensors]]:
    """Inputs and outputs of every graph, with the model's own sizes as the specs give them."""
    hidden = _size(graphs, "vision", "image_embeds", 1, 2)
    images = sum(camera.tokens for camera in cameras.values())
    tail = tuple(_size(graphs, "prefix", "past_kv", axis, 5) for axis in range(1, 5))
    between("graphs.prefix.inputs.past_kv.shape[2]", tail[1], 2, 2)
    rows = _size(graphs, "lm_head", "logits", 0, 1)
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
        state = TensorSpec((_size(graphs, "prefix", "state", 0, 1),), "float32")
        prefix |= {"state": state, "state_mask": state}
    token = {
        "logits": TensorSpec((rows,), "float32"),
        "token": TensorSpec((1,), "int64"),
        "logit_sum": TensorSpec((), "float32"),
    }
    tensors: dict[str, tuple[Tensors, Tensors]] = {
        "vision": (frames, {"image_embeds": embeds}),
        "prefix": (prefix, {"kv": TensorSpec(("tokens", *tail), half), "hidden": last}),
        "lm_head": ({"hidden": last}, token),
    }
    return tensors if "expert" not in graphs else tensors | _action_tensors(graphs, horizon, past)


def _action_tensors(
    graphs: Mapping[str, GraphSpec], horizon: int, past: TensorSpec
) -> dict[str, tuple[Tensors, Tensors]]:
    """Of the graphs that run once an integration step."""
    action = TensorSpec((horizon, _size(graphs, "expert", "noisy_action", 1, 2)), "float32")
    number = TensorSpec((), "float32")
    step = {
        "noisy_action": action,
        "dof_mask": action,
        "time": number,
        "step_size": number,
        "guidance_weight": number,
        "target": action,
        "weights": action,
        "positions": TensorSpec((3, horizon), "int64"),
        "past_kv": past,
    }
    tensors: dict[str, tuple[Tensors, Tensors]] = {
        "expert": (step, {"velocity": action, "next_action": action}),
        _GUIDED: (step, {"velocity": action, "guidance": action, "next_action": action}),
    }
    return {name: pair for name, pair in tensors.items() if name in graphs}


def _size(graphs: Mapping[str, GraphSpec], graph: str, tensor: str, axis: int, rank: int) -> int:
    """A size that only the manifest knows: of an axis of a tensor of ``rank`` axes."""
    spec = {**graphs[graph].inputs, **graphs[graph].outputs}.get(tensor)
    shape = spec.shape if spec is not None else ()
    size = shape[axis] if len(shape) == rank else ""
    if not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise Invalid(f"graphs.{graph}", list(shape), expected=f"a tensor {tensor} of {rank} axes")
    return size


def _require_same(key: str, tensors: Tensors, required: Tensors) -> None:
    if set(tensors) != set(required):
        raise Invalid(key, list(tensors), expected=", ".join(required))
    for name, spec in required.items():
        if tensors[name] != spec:
            raise Invalid(f"{key}.{name}", _text(tensors[name]), expected=_text(spec))


def _text(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}"
