"""The uses that a policy makes of its graphs; what every way of counting them has in common.

``vision``: all frames. ``prefix``: a prompt from its first token. ``word``: one more token behind it, through
the same graph. ``lm_head``: the likeliest next word. ``expert``: one integration step behind the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wall_edge.bundle import ElementType, GraphSpec, TensorSpec
from wall_edge.errors import ConfigError
from wall_edge_engines.element_types import STORAGE
from wall_edge_engines.plan.workload import Arithmetic, Use, Workload

ARITHMETIC: dict[ElementType, Arithmetic] = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
}
"""What products of these elements are computed in."""
Sizes = Mapping[str, int]
"""Sizes of the dynamic axes (``tokens``, ``past``, ``keys``) by their names in the specs."""
_MOST_TOKENS = 32_768
"""Of a prompt; no bundle takes more."""


@dataclass(frozen=True)
class GraphCount:
    """What one use takes of a graph's weights [bytes], and its matrix products' operations."""

    weight_bytes: int
    operations: Mapping[Arithmetic, int]


def uses(graphs: Mapping[str, GraphSpec], prompt_tokens: int) -> dict[str, tuple[str, Sizes]]:
    """Graph and sizes of every use that these graphs have, by its name."""
    every: dict[str, tuple[str, Sizes]] = {
        "vision": ("vision", {}),
        "prefix": ("prefix", {"tokens": prompt_tokens, "past": 0, "keys": prompt_tokens}),
        "expert": ("expert", {"past": prompt_tokens}),
        "word": ("prefix", {"tokens": 1, "past": prompt_tokens, "keys": prompt_tokens + 1}),
        "lm_head": ("lm_head", {}),
    }
    return {name: (graph, sizes) for name, (graph, sizes) in every.items() if graph in graphs}


def count_uses(
    recipe: str,
    graphs: Mapping[str, GraphSpec],
    cameras: int,
    prompt_tokens: int,
    stored_bytes: Mapping[str, int],
    count: Callable[[str, Sizes], GraphCount],
) -> Workload:
    """The workload of a policy's graphs; ``count`` looks into one at given sizes of its dynamic axes.

    Raises :class:`ConfigError` for a prompt that the images alone do not fit, or that no bundle takes.
    """
    prefix = graphs["prefix"]
    images, hidden = (_size(axis) for axis in prefix.inputs["image_embeds"].shape)
    if not images < prompt_tokens <= _MOST_TOKENS:
        raise ConfigError(
            f"a prompt of {prompt_tokens} tokens",
            expected=f"more than the images' {images}, at most {_MOST_TOKENS}",
        )
    counted = {}
    for name, (graph, sizes) in uses(graphs, prompt_tokens).items():
        work = count(graph, sizes)
        counted[name] = Use(work.weight_bytes, traffic_bytes(graphs[graph], sizes), work.operations)
    past = prefix.inputs["past_kv"]
    return Workload(
        recipe=recipe,
        prompt_tokens=prompt_tokens,
        cameras=cameras,
        uses=counted,
        stored_bytes=dict(stored_bytes),
        cache_token_bytes=tensor_bytes(past, {"past": 1}),
        hidden=hidden,
        activation_bytes=STORAGE[past.dtype].itemsize,
    )


def traffic_bytes(spec: GraphSpec, sizes: Sizes) -> int:
    """A graph's inputs and outputs, once each."""
    return sum(tensor_bytes(tensor, sizes) for tensor in (*spec.inputs.values(), *spec.outputs.values()))


def tensor_bytes(tensor: TensorSpec, sizes: Sizes) -> int:
    """Of one input or output whose dynamic axes have these sizes."""
    total = STORAGE[tensor.dtype].itemsize
    for axis in tensor.shape:
        total *= axis if isinstance(axis, int) else sizes[axis]
    return total


def _size(axis: int | str) -> int:
    if isinstance(axis, str):
        raise ConfigError(f"images with a dynamic axis {axis}", expected="a fixed number of image tokens")
    return axis
