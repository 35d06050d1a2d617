"""How many bytes every weight takes in a recipe: what rewriting and writing will make of it, without either.

``onnx/rewrite.py`` says which tensors belong to a precision: scales in the type of the activations, zero
points of a byte, and for ``int8`` what the layers of one input share.
"""

from __future__ import annotations

import math

import torch

from wall_edge.bundle import INT8, ElementType
from wall_edge_export.model.inventory import Weight, inventory, of_graph
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graphs import GUIDED, Activations, GraphInputs
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.quantize.precision import (
    ELEMENT_TYPES,
    INT4_WEIGHTS,
    INT8_WEIGHTS,
    Recipe,
    int4_block,
)


def weight_bytes(shape: ModelShape, graph_inputs: GraphInputs, recipe: Recipe) -> dict[str, dict[str, int]]:
    """Bytes by graph and by a weight's name in the checkpoint.

    Raises :class:`ConfigError` for a layer that its precision cannot hold.
    """
    weights = inventory(hollow_model(shape, graph_inputs.head_rows))
    return {
        graph: _sizes(graph, tuple(of_graph(weights, graph).values()), recipe)
        for graph in graph_inputs.graphs
    }


def _sizes(graph: str, weights: tuple[Weight, ...], recipe: Recipe) -> dict[str, int]:
    activations = Activations() if graph == GUIDED else recipe.activations
    sizes: dict[str, int] = {}
    groups: set[str | None] = set()
    for weight in weights:
        precision = recipe.precision(graph, weight)
        wide = _itemsize(activations.type_of(weight))
        sizes[weight.name] = _stored(weight, precision, wide)
        if precision == INT8 and weight.input_group not in groups:
            groups.add(weight.input_group)
            sizes[weight.name] += _input_scaling(weight, wide)
    return sizes


def _stored(weight: Weight, precision: str | None, wide: int) -> int:
    """Of one weight; ``wide`` bytes have its type among activations."""
    count = math.prod(weight.shape)
    if precision is None:
        return count * wide
    if precision in ELEMENT_TYPES:
        return count * _itemsize(ELEMENT_TYPES[precision])
    rows, columns = weight.shape
    if precision in (INT8, INT8_WEIGHTS):
        return count + rows * (wide + 1)  # a scale and a zero point an output
    if precision == INT4_WEIGHTS:
        return -(-count // 2) + columns // int4_block(weight.name, columns) * rows * wide
    raise AssertionError(precision)


def _input_scaling(weight: Weight, wide: int) -> int:
    """Inverse smoothing of an 8-bit layer's inputs, their scale and zero point."""
    return weight.shape[1] * wide + wide + 1


def _itemsize(element: ElementType) -> int:
    dtype: torch.dtype = getattr(torch, element)
    return dtype.itemsize
