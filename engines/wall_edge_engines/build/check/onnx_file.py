"""The nodes and constants of an ONNX file, and what it says of its tensors, read without the onnx package.

Field numbers: github.com/onnx/onnx, ``onnx/onnx.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from wall_edge.bundle import ONNX_TYPES
from wall_edge.bundle.graphs.wire import Damaged, fields, text

TYPES: dict[int, str] = {**ONNX_TYPES, 22: "int4"}
"""``TensorProto.DataType``, those that wall-edge writes."""

_GRAPH, _OPSET = 7, 8
_NODE, _INITIALIZER = 1, 5
_INPUTS, _OUTPUTS, _VALUES = 11, 12, 13
"""Of a graph: ``input``, ``output`` and ``value_info``."""
_TYPE, _TENSOR_TYPE, _ELEMENT, _SHAPE, _DIM, _SIZE, _SYMBOL = 2, 1, 1, 2, 1, 1, 2
"""From a ``ValueInfoProto`` to its dimensions."""
_INPUT, _OUTPUT, _NAME, _OP_TYPE, _ATTRIBUTE = 1, 2, 3, 4, 5
_INT, _TENSOR = 3, 5
_DIMS, _DATA_TYPE, _TENSOR_NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_TYPED_DATA = (4, 5, 6, 7, 10, 11)


@dataclass(frozen=True)
class Constant:
    """A tensor whose values are known; ``place`` is where they begin in the data file, and their bytes."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes
    place: tuple[int, int] | None

    @property
    def count(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    def content(self, data: Path) -> bytes:
        """The values as ONNX stores them, little-endian."""
        if self.place is None:
            return self.raw
        with data.open("rb") as file:
            file.seek(self.place[0])
            return file.read(self.place[1])


@dataclass(frozen=True)
class Node:
    """An operator; ``attributes`` are its whole numbers, ``tensor`` is the value of a Constant."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int]
    tensor: Constant | None


@dataclass(frozen=True)
class TensorType:
    """What a file says of a tensor that a run computes; an axis of no fixed size is an expression.

    The exporter's are sums of names and numbers, ``s18 + 24``; it is empty where the file says nothing.
    """

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    opset: int
    nodes: tuple[Node, ...]
    constants: dict[str, Constant]
    inputs: dict[str, TensorType]
    outputs: dict[str, TensorType]
    tensors: dict[str, TensorType]
    """Inputs, outputs, and of what lies between those whose type the file says."""


def read_graph(content: bytes) -> OnnxGraph:
    """An ONNX file's one graph. Raises :class:`Damaged`."""
    parts = list(fields(memoryview(content)))
    opsets = [_number(value, 2) for number, value in parts if number == _OPSET]
    graphs = [_message(value) for number, value in parts if number == _GRAPH]
    if len(graphs) != 1 or not opsets:
        raise Damaged("no ONNX model of one graph")
    entries = list(fields(graphs[0]))
    constants = dict(_named(_message(value)) for number, value in entries if number == _INITIALIZER)
    nodes = tuple(_node(_message(value)) for number, value in entries if number == _NODE)
    constants |= {node.outputs[0]: node.tensor for node in nodes if node.tensor is not None}
    inputs, outputs, between = (
        dict(_tensor(_message(value)) for number, value in entries if number == field)
        for field in (_INPUTS, _OUTPUTS, _VALUES)
    )
    return OnnxGraph(max(opsets), nodes, constants, inputs, outputs, {**inputs, **outputs, **between})


def _tensor(message: memoryview) -> tuple[str, TensorType]:
    name = _text(message, 1)
    kind = _inner(_inner(message, _TYPE, name), _TENSOR_TYPE, name)
    dims = [_message(value) for number, value in fields(_inner(kind, _SHAPE, name)) if number == _DIM]
    number = _number(kind, _ELEMENT)
    return name, TensorType(TYPES.get(number, f"type {number}"), tuple(_axis(dim) for dim in dims))


def _axis(dim: memoryview) -> int | str:
    sizes = [value for number, value in fields(dim) if number == _SIZE]
    return _number(dim, _SIZE) if sizes else _text(dim, _SYMBOL)


def _inner(message: memoryview, field: int, name: str) -> memoryview:
    messages = [_message(value) for number, value in fields(message) if number == field]
    if len(messages) != 1:
        raise Damaged(f"{name[:60]!r} is no tensor of a shape")
    return messages[0]


def _node(message: memoryview) -> Node:
    entries = list(fields(message))

    def texts(field: int) -> tuple[str, ...]:
        return tuple(text(value) for number, value in entries if number == field)

    attributes: dict[str, int] = {}
    tensor: Constant | None = None
    for attribute in (_message(value) for number, value in entries if number == _ATTRIBUTE):
        for number, value in fields(attribute):
            if number == _INT and isinstance(value, int):
                attributes[_text(attribute, 1)] = value - (1 << 64 if value >> 63 else 0)
            elif number == _TENSOR:
                tensor = _named(_message(value))[1]
    return Node(
        "".join(texts(_NAME)), "".join(texts(_OP_TYPE)), texts(_INPUT), texts(_OUTPUT), attributes, tensor
    )


def _named(message: memoryview) -> tuple[str, Constant]:
    entries = list(fields(message))
    dims = [value for number, value in entries if number == _DIMS]
    place = dict(_pair(_message(value)) for number, value in entries if number == _EXTERNAL)
    raw = b"".join(bytes(_message(value)) for number, value in entries if number == _RAW)
    if any(number in _TYPED_DATA for number, _ in entries):
        raise Damaged("a constant whose values are not stored as bytes")
    shape = tuple(size for size in dims if isinstance(size, int))
    if len(shape) != len(dims):
        raise Damaged("a constant with packed sizes")
    kind = _number(message, _DATA_TYPE)
    where = _place(place) if place else None
    return _text(message, _TENSOR_NAME), Constant(TYPES.get(kind, f"type {kind}"), shape, raw, where)


def _place(entries: dict[str, str]) -> tuple[int, int]:
    try:
        return int(entries.get("offset", "0")), int(entries["length"])
    except (KeyError, ValueError):
        raise Damaged("a tensor whose place in the data file is not told") from None


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Damaged("a number where a message belongs")
    return value


def _number(message: int | memoryview, field: int) -> int:
    values = [value for number, value in fields(_message(message)) if number == field]
    return values[-1] if values and isinstance(values[-1], int) else 0


def _text(message: memoryview, field: int) -> str:
    return "".join(text(value) for number, value in fields(message) if number == field)


def _pair(entry: memoryview) -> tuple[str, str]:
    return _text(entry, 1), _text(entry, 2)
