"""A graph whose half-precision tensors are all float32, for a CPU.

ONNX Runtime's CPU has no bfloat16 products, sums or softmax, and computes float16 in float32 between casts.
Here weights stay as they are stored and one Cast follows each, which is folded at load; every other half type
becomes float32. Field numbers: github.com/onnx/onnx, ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from wall_edge.bundle import GraphSpec, TensorSpec
from wall_edge.bundle.graphs.wire import Value, as_message, field, fields, records, text
from wall_edge_engines.element_types import ONNX

_FLOAT, _HALVES = ONNX["float32"], (ONNX["float16"], ONNX["bfloat16"])
_MODEL_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _OP_TYPE, _ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _INT, _TENSOR, _ATTRIBUTE_TYPE = 1, 3, 5, 20
_TENSOR_TYPE, _TENSOR_NAME = 2, 8
_INT_TYPE = 2
"""``AttributeProto.AttributeType.INT``"""
_STORED = ".stored"
"""What is added to the name of a tensor that stays in half precision."""


def widen(model: bytes) -> bytes:
    """An ONNX file's bytes with float32 in place of half-precision types; its external data stays as it is.

    Raises :class:`wall_edge.bundle.graphs.wire.Damaged` for bytes that are no model.
    """
    return _edit(
        memoryview(model), {_MODEL_GRAPH: lambda value: field(_MODEL_GRAPH, _graph(as_message(value)))}
    )


def widened(spec: GraphSpec) -> GraphSpec:
    """What the manifest says of a graph, with the types after :func:`widen`."""

    def wide(tensors: dict[str, TensorSpec]) -> dict[str, TensorSpec]:
        return {
            name: replace(tensor, dtype="float32") if ONNX[tensor.dtype] in _HALVES else tensor
            for name, tensor in tensors.items()
        }

    return replace(spec, inputs=wide(spec.inputs), outputs=wide(spec.outputs))


Change = Callable[[Value], bytes]


def _edit(message: memoryview, changes: dict[int, Change]) -> bytes:
    """The message with other fields in the place of those with these numbers."""
    return b"".join(
        changes[number](value) if number in changes else raw for number, value, raw in records(message)
    )


def _graph(graph: memoryview) -> bytes:
    entries = list(fields(graph))
    halves = {
        _text_of(as_message(value), _TENSOR_NAME)
        for number, value in entries
        if number == _INITIALIZER and _is_half(as_message(value))
    }
    nodes = [as_message(value) for number, value in entries if number == _NODE]
    tables = halves & _tables(nodes)
    weights = halves - tables

    def initializer(value: Value) -> bytes:
        tensor = as_message(value)
        name = _text_of(tensor, _TENSOR_NAME)
        stored = {_TENSOR_NAME: lambda _: _name(_TENSOR_NAME, name + _STORED)}
        return field(_INITIALIZER, _edit(tensor, stored if name in weights else {}))

    casts = b"".join(_cast(name) for name in sorted(weights))
    return casts + _edit(
        graph,
        {
            _NODE: lambda value: _node(as_message(value), tables),
            _INITIALIZER: initializer,
            **{
                number: lambda value, number=number: field(  # type: ignore[misc]
                    number, _value_info(as_message(value), tables)
                )
                for number in (_INPUT, _OUTPUT, _VALUE_INFO)
            },
        },
    )


def _tables(nodes: list[memoryview]) -> set[str]:
    """What is only read as the data of a Gather: the rows that are picked are cast, not the table."""
    gathered, reads = Counter[str](), Counter[str]()
    for node in nodes:
        names = [text(value) for number, value in fields(node) if number == _NODE_INPUT]
        reads.update(names)
        if _text_of(node, _OP_TYPE) == "Gather":
            gathered[names[0]] += 1
    return {name for name, count in gathered.items() if reads[name] == count}


def _node(node: memoryview, tables: set[str]) -> bytes:
    """A node with wide results; one that gives stored values is followed by a Cast."""
    attributes = [as_message(value) for number, value in fields(node) if number == _ATTRIBUTE]
    constant = any(
        number == _TENSOR and _is_half(as_message(value))
        for entry in attributes
        for number, value in fields(entry)
    )
    if constant or tables & {text(value) for number, value in fields(node) if number == _NODE_INPUT}:
        name = _text_of(node, _NODE_OUTPUT)
        renamed = _edit(node, {_NODE_OUTPUT: lambda _: _name(_NODE_OUTPUT, name + _STORED)})
        return field(_NODE, renamed) + _cast(name)
    if _text_of(node, _OP_TYPE) == "Cast":
        return field(_NODE, _edit(node, {_ATTRIBUTE: _cast_attribute}))
    return field(_NODE, bytes(node))


def _cast_attribute(value: Value) -> bytes:
    attribute = as_message(value)
    if _text_of(attribute, _ATTRIBUTE_NAME) == "to":
        attribute = memoryview(_edit(attribute, {_INT: lambda number: field(_INT, _wide(number))}))
    return field(_ATTRIBUTE, bytes(attribute))


def _cast(name: str) -> bytes:
    """The node that makes float32 of a tensor as it is stored."""
    to = _name(_ATTRIBUTE_NAME, "to") + field(_INT, _FLOAT) + field(_ATTRIBUTE_TYPE, _INT_TYPE)
    names = (
        (_NODE_INPUT, name + _STORED),
        (_NODE_OUTPUT, name),
        (_NODE_NAME, name + ".wide"),
        (_OP_TYPE, "Cast"),
    )
    return field(_NODE, b"".join(_name(number, word) for number, word in names) + field(_ATTRIBUTE, to))


def _value_info(value_info: memoryview, tables: set[str]) -> bytes:
    """Name = 1, type = 2, in it a tensor's = 1, in it its elements' = 1."""
    if _text_of(value_info, 1) in tables:
        return bytes(value_info)
    element: dict[int, Change] = {1: lambda value: field(1, _wide(value))}
    tensor: dict[int, Change] = {1: lambda value: field(1, _edit(as_message(value), element))}
    return _edit(value_info, {2: lambda value: field(2, _edit(as_message(value), tensor))})


def _wide(element: Value) -> int:
    number = element if isinstance(element, int) else 0
    return _FLOAT if number in _HALVES else number


def _is_half(tensor: memoryview) -> bool:
    return any(number == _TENSOR_TYPE and value in _HALVES for number, value in fields(tensor))


def _text_of(message: memoryview, number: int) -> str:
    """The first field of this number as text; empty without one."""
    return next((text(value) for n, value in fields(message) if n == number), "")


def _name(number: int, name: str) -> bytes:
    return field(number, name.encode())
