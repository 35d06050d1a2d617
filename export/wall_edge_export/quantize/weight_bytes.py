"""How many bytes every weight takes in a recipe: what rewriting and writing will make of it, without either.

``onnx/rewrite.py`` says which tensors belong to a precision: scales in the type of the activations, zero
points of a byte, and for ``int8`` what the layers of one input share.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wall_edge.bundle import INT8
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graphs import GUIDED, Activations, GraphInputs, graphs_of
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.quantize.precision import (
    ELEMENT_TYPES,
    INT4_WEIGHTS,
    INT8_WEIGHTS,
    Recipe,
    family,
    input_group,
    int4_block,
)


def weight_bytes(shape: ModelShape, graph_inputs: GraphInputs, recipe: Recipe) -> dict[str, dict[str, int]]:
    """Bytes by graph and by a weight's name in the checkpoint.

    Raises :class:`ConfigError` for a layer that its precision cannot hold.
    """
    types = {graph: Activations() if graph == GUIDED else recipe.activations for graph in graph_inputs.graphs}
    models = {
        activations: hollow_model(shape, graph_inputs.head_rows, activations).state_dict()
        for activations in set(types.values())
    }
    return {
        graph: _sizes(graph, graph_weights(models[activations], graph), recipe.families(graph))
        for graph, activations in types.items()
    }


def graph_weights(weights: Mapping[str, Tensor], graph: str) -> dict[str, Tensor]:
    """Those of the model's weights that go into a graph."""
    like = "expert" if graph == GUIDED else graph
    return {name: weight for name, weight in weights.items() if like in graphs_of(name)}


def _sizes(graph: str, weights: Mapping[str, Tensor], families: Mapping[str, str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    groups: set[str] = set()
    for name, weight in weights.items():
        layer = family(graph, name)
        precision = None if layer is None else families[layer]
        sizes[name] = _stored(name, weight, precision)
        if precision == INT8 and (group := input_group(name)) not in groups:
            groups.add(group)
            sizes[name] += _input_scaling(weight)
    return sizes


def _stored(name: str, weight: Tensor, precision: str | None) -> int:
    """Of one weight whose type so far is the activations', or float32 where it stays that."""
    wide, count = weight.dtype.itemsize, weight.numel()
    if precision is None:
        return count * wide
    if precision in ELEMENT_TYPES:
        dtype: torch.dtype = getattr(torch, ELEMENT_TYPES[precision])
        return count * dtype.itemsize
    rows, columns = weight.shape
    if precision in (INT8, INT8_WEIGHTS):
        return count + rows * (wide + 1)  # a scale and a zero point an output
    if precision == INT4_WEIGHTS:
        return -(-count // 2) + columns // int4_block(name, columns) * rows * wide
    raise AssertionError(precision)


def _input_scaling(weight: Tensor) -> int:
    """Inverse smoothing of an 8-bit layer's inputs, their scale and zero point."""
    wide: int = weight.dtype.itemsize
    return weight.shape[1] * wide + wide + 1
