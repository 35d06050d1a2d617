"""What a graph file of a bundle may hold, looked at before any engine opens it.

An ONNX file can name any file on the disk as the place of its weights, and hold loops that never end. A
bundle's graphs do neither: their weights lie in the one file that the manifest has the digest of, and they
are plain sequences of ONNX's own operators. Field numbers: github.com/onnx/onnx, ``onnx/onnx.proto``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from wall_edge.bundle.graphs.specs import ONNX_TYPES, GraphSpec, TensorSpec
from wall_edge.bundle.graphs.wire import Damaged, as_message, fields, text
from wall_edge.errors import BundleError

_EXTERNAL = 1
"""``TensorProto.DataLocation``"""
_PADDING = 4096
_REDO = "export the bundle again with 'wall-edge export'"

# Numbers of the fields that are looked at, and of those that a bundle's graphs do not have.
_MODEL_GRAPH, _OPSET, _TRAINING, _FUNCTIONS = 7, 8, 20, 25
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15
_OP_TYPE, _DOMAIN, _ATTRIBUTE = 4, 7, 5
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = 5, 6, 10, 11, 22, 23
_PLACE, _LOCATION = 13, 14


def check_graph(content: bytes, spec: GraphSpec, data_bytes: int, where: str) -> list[str]:
    """Raise :class:`BundleError` unless the graph is what ``spec`` says and reads ``spec.data`` alone.

    ``data_bytes`` is the size of that file; ``where`` begins the message. Returns the inputs' names in the
    graph's order.
    """
    try:
        graph = _Graph(content, spec.data)
    except Damaged as problem:
        raise BundleError(f"{where}: {problem}", expected="a graph that was exported", fix=_REDO) from None
    for name, tensors, specs in (
        ("inputs", graph.inputs, spec.inputs),
        ("outputs", graph.outputs, spec.outputs),
    ):
        if sorted(tensors) != sorted(_described(specs)):
            raise BundleError(
                f"{where}: its {name} are other than the manifest says", expected=", ".join(specs), fix=_REDO
            )
    if not graph.end <= data_bytes <= graph.end + _PADDING:
        raise BundleError(
            f"{where}: its weights end at byte {graph.end} of {spec.data}, which has {data_bytes}",
            expected="a file that holds them and nothing else",
            fix=_REDO,
        )
    return [name for name, _, _ in graph.inputs]


Described = list[tuple[str, str, tuple[int, ...]]]
"""Tensors in order: name, type, and shape with -1 for an axis of any size."""


def _described(tensors: dict[str, TensorSpec]) -> Described:
    return [
        (name, spec.dtype, tuple(axis if isinstance(axis, int) else -1 for axis in spec.shape))
        for name, spec in tensors.items()
    ]


class _Graph:
    """The one graph of a model file. Raises :class:`Damaged` for what it must not hold."""

    def __init__(self, content: bytes, data: str) -> None:
        self._data, self.end = data, 0
        self.inputs: Described = []
        self.outputs: Described = []
        graphs = []
        for number, value in fields(memoryview(content)):
            if number in (_TRAINING, _FUNCTIONS):
                raise Damaged("functions or training steps in a graph")
            if number == _MODEL_GRAPH:
                graphs.append(as_message(value))
            if number == _OPSET:
                self._require_onnx([text(v) for n, v in fields(as_message(value)) if n == 1])
        if len(graphs) != 1:
            raise Damaged(f"{len(graphs)} graphs")
        for number, value in fields(graphs[0]):
            if number == _NODE:
                self._node(as_message(value))
            elif number == _INITIALIZER:
                self._tensor(as_message(value))
            elif number == _SPARSE:
                raise Damaged("sparse weights")
            elif number == _INPUT:
                self.inputs.append(_value_info(as_message(value)))
            elif number == _OUTPUT:
                self.outputs.append(_value_info(as_message(value)))

    @staticmethod
    def _require_onnx(domains: list[str]) -> None:
        for domain in domains:
            if domain not in ("", "ai.onnx"):
                raise Damaged(f"operators of {domain!r}, which are not ONNX's own")

    def _node(self, node: memoryview) -> None:
        entries = list(fields(node))
        self._require_onnx([text(value) for number, value in entries if number == _DOMAIN])
        for number, attribute in entries:
            for kind, value in fields(as_message(attribute)) if number == _ATTRIBUTE else ():
                if kind in (_SUBGRAPH, _SUBGRAPHS):
                    names = [text(value) for number, value in entries if number == _OP_TYPE]
                    raise Damaged(f"{names[:1]} holds a graph of its own, as loops and branches do")
                if kind in (_SPARSE_TENSOR, _SPARSE_TENSORS):
                    raise Damaged("sparse weights")
                if kind in (_TENSOR, _TENSORS):
                    self._tensor(as_message(value))

    def _tensor(self, tensor: memoryview) -> None:
        """Weights lie in the file itself, or in the manifest's data file."""
        place: dict[str, str] = {}
        external = False
        for number, value in fields(tensor):
            if number == _LOCATION:
                external = external or value == _EXTERNAL
            elif number == _PLACE:
                key, entry = _pair(as_message(value))
                if key in place:
                    raise Damaged(f"two places of the same weights ({key})")
                place[key] = entry
        if not external and not place:
            return
        if place.get("location") != self._data or not set(place) <= {"location", "offset", "length"}:
            where = place.get("location", "nowhere")
            raise Damaged(f"weights in {where!r}, not in {self._data} whose digest was checked")
        numbers = [place.get("offset", "0"), place.get("length", "")]
        if not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers):
            raise Damaged(f"weights at offset {numbers[0]!r} of length {numbers[1]!r}")
        self.end = max(self.end, int(numbers[0]) + int(numbers[1]))


def _pair(entry: memoryview) -> tuple[str, str]:
    """Key and value of a ``StringStringEntryProto``."""
    parts: dict[int, str] = {}
    for number, value in fields(entry):
        if number in parts:
            raise Damaged("an entry with two keys or values")
        parts[number] = text(value)
    return parts.get(1, ""), parts.get(2, "")


def _value_info(value_info: memoryview) -> tuple[str, str, tuple[int, ...]]:
    """Name, type and shape of a ``ValueInfoProto``: name = 1, type = 2, in it a tensor = 1."""
    name = "".join(text(value) for number, value in fields(value_info) if number == 1)
    tensor = _only(_only(value_info, 2), 1)
    kinds = [value for number, value in fields(tensor) if number == 1]
    kind = kinds[0] if len(kinds) == 1 and isinstance(kinds[0], int) else 0
    return name, ONNX_TYPES.get(kind, f"type {kind}"), tuple(_axes(_only(tensor, 2)))


def _only(message: memoryview, number: int) -> memoryview:
    messages = [as_message(value) for n, value in fields(message) if n == number]
    if len(messages) != 1:
        raise Damaged("an input or output that is no tensor")
    return messages[0]


def _axes(shape: memoryview) -> Iterator[int]:
    """Sizes (field 1) of a ``TensorShapeProto``'s dimensions; -1 for one that has a name or nothing."""
    for number, dimension in fields(shape):
        if number == 1:
            sizes = [value for n, value in fields(as_message(dimension)) if n == 1]
            yield sizes[-1] if sizes and isinstance(sizes[-1], int) else -1
