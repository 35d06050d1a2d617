"""Small ONNX files, written without the onnx package, which no robot has.

Field numbers: github.com/onnx/onnx, ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wall_edge.bundle import ElementType, TensorSpec
from wall_edge.bundle.graphs.wire import field as wire_field
from wall_edge_engines.element_types import ONNX

OPSET = 19
"""The first whose QuantizeLinear and DequantizeLinear take bfloat16 scales."""
_IR_VERSION = 9
_EXTERNAL, _INT_ATTRIBUTE = 1, 2


@dataclass(frozen=True)
class Node:
    """An operator of ONNX's own; ``attributes`` are whole numbers."""

    op_type: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Weight:
    """A constant whose ``length`` bytes lie at ``offset`` of the data file."""

    name: str
    dtype: ElementType
    shape: tuple[int, ...]
    offset: int
    length: int


def encode(
    nodes: Sequence[Node],
    weights: Sequence[Weight],
    data: str,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
) -> bytes:
    """The bytes of a model whose weights are in the file ``data`` beside it."""
    graph = b"".join(
        (
            *(wire_field(1, _node(node)) for node in nodes),
            _text(2, "probe"),
            *(wire_field(5, _weight(weight, data)) for weight in weights),
            *(wire_field(11, _value(name, spec)) for name, spec in inputs.items()),
            *(wire_field(12, _value(name, spec)) for name, spec in outputs.items()),
        )
    )
    opset = _text(1, "") + wire_field(2, OPSET)
    return wire_field(1, _IR_VERSION) + wire_field(7, graph) + wire_field(8, opset)


def _node(node: Node) -> bytes:
    names = b"".join(_text(1, name) for name in node.inputs) + _text(2, node.output)
    attributes = (
        _text(1, name) + wire_field(3, value) + wire_field(20, _INT_ATTRIBUTE)
        for name, value in node.attributes.items()
    )
    body = names + _text(3, node.output) + _text(4, node.op_type)
    return body + b"".join(wire_field(5, attribute) for attribute in attributes)


def _weight(weight: Weight, data: str) -> bytes:
    place = {"location": data, "offset": str(weight.offset), "length": str(weight.length)}
    dims = b"".join(wire_field(1, size) for size in weight.shape)
    entries = (wire_field(13, _text(1, key) + _text(2, value)) for key, value in place.items())
    head = dims + wire_field(2, ONNX[weight.dtype]) + _text(8, weight.name)
    return head + b"".join(entries) + wire_field(14, _EXTERNAL)


def _value(name: str, spec: TensorSpec) -> bytes:
    """A graph's input or output: its type is a tensor's, of fixed or named axes."""
    axes = (wire_field(1, axis) if isinstance(axis, int) else _text(2, axis) for axis in spec.shape)
    shape = b"".join(wire_field(1, axis) for axis in axes)
    tensor = wire_field(1, ONNX[spec.dtype]) + wire_field(2, shape)
    return _text(1, name) + wire_field(2, wire_field(1, tensor))


def _text(number: int, text: str) -> bytes:
    return wire_field(number, text.encode())
