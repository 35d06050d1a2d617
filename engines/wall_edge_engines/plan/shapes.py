"""Sizes and types of a graph's tensors at given sizes of its dynamic axes.

From what the file says of its tensors (``value_info``): the exporter's tracer leaves a type and a shape of
every tensor, and rewriting adds operators whose result has the shape of what they read. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from wall_edge.bundle import GraphSpec
from wall_edge.bundle.graphs.wire import Damaged
from wall_edge_engines.build.check.onnx_file import TYPES, Node, OnnxGraph

_FACTOR = re.compile(r"[0-9]{1,18}|[A-Za-z_][A-Za-z0-9_]*")
_LARGEST = 1 << 40
"""Of one axis, and of a tensor's elements: a product of such sizes is no longer a size."""
_MOST_AXES = 8
_DEEPEST = 8
"""Operators in a row without a shape of their own; the exporter leaves three."""


class Shapes:
    """One graph's, at ``sizes`` of the axes that its spec names. Raises :class:`Damaged`."""

    def __init__(self, graph: OnnxGraph, spec: GraphSpec, sizes: Mapping[str, int]) -> None:
        self._graph = graph
        self._makers = {output: node for node in graph.nodes for output in node.outputs}
        self._symbols: dict[str, int] = {}
        for name, tensor in spec.inputs.items():
            described = graph.tensors.get(name)
            if described is None or len(described.shape) != len(tensor.shape):
                raise Damaged(f"input {name} is not as the manifest says")
            for axis, symbol in zip(tensor.shape, described.shape, strict=True):
                if isinstance(axis, str):
                    self._name(symbol, sizes[axis])

    def _name(self, symbol: int | str, size: int) -> None:
        """An axis has this size in this run."""
        agreed = symbol if isinstance(symbol, int) else self._symbols.setdefault(symbol, size)
        if agreed != size:
            raise Damaged(f"an axis {str(symbol)[:60]!r} of size {size}")

    def described(self, name: str) -> bool:
        """Whether the file itself says a tensor's shape."""
        return name in self._graph.tensors

    def stored_in(self, name: str) -> str:
        """What a factor of a product is read as: the type before a DequantizeLinear, else its own."""
        node = self._makers.get(name)
        dequantised = node is not None and node.op_type == "DequantizeLinear" and node.inputs
        return self.dtype(node.inputs[0] if node is not None and dequantised else name)

    def shape(self, name: str, depth: int = 0) -> tuple[int, ...]:
        """Sizes of a tensor's axes."""
        for described in (self._graph.constants, self._graph.tensors):
            if name in described:
                return self._sizes(described[name].shape, name)
        node = self._rewritten(name, depth)
        shapes = [self.shape(source, depth + 1) for source in _sources(node)]
        return broadcast(*shapes)

    def dtype(self, name: str, depth: int = 0) -> str:
        """Type of a tensor's elements."""
        if name in self._graph.constants:
            return self._graph.constants[name].dtype
        if name in self._graph.tensors:
            return self._graph.tensors[name].dtype
        node = self._rewritten(name, depth)
        if node.op_type == "Cast":
            return TYPES.get(node.attributes.get("to", 0), "another type")
        if node.op_type == "QuantizeLinear" and len(node.inputs) < 3:
            return "uint8"
        return self.dtype(node.inputs[_TYPED_BY[node.op_type]], depth + 1)

    def _rewritten(self, name: str, depth: int) -> Node:
        node = self._makers.get(name)
        if node is None or node.op_type not in _TYPED_BY or depth > _DEEPEST:
            raise Damaged(f"the shape of {name[:60]!r} is not told")
        if len(node.inputs) < (1 if node.op_type == "Cast" else 2):
            raise Damaged(f"{node.op_type} of {len(node.inputs)} inputs")
        return node

    def _sizes(self, axes: tuple[int | str, ...], name: str) -> tuple[int, ...]:
        sizes = []
        for axis in axes[: _MOST_AXES + 1]:
            size = axis if isinstance(axis, int) else self._sum(axis)
            if size is None or not 0 <= size <= _LARGEST:
                raise Damaged(f"an axis {str(axis)[:60]!r} of {name[:60]!r} has no size")
            sizes.append(size)
        if len(sizes) > _MOST_AXES or prod(sizes) > _LARGEST:
            raise Damaged(f"{name[:60]!r} of shape {sizes}")
        return tuple(sizes)

    def _sum(self, expression: str) -> int | None:
        """``2*s18 + 24`` with the sizes of its names; None for anything but sums of products."""
        total = 0
        for term in expression.split("+"):
            product = 1
            for factor in term.split("*"):
                text = factor.strip()
                if not _FACTOR.fullmatch(text):
                    return None
                value = int(text) if text.isdigit() else self._symbols.get(text)
                if value is None:
                    return None
                product *= value
                if product > _LARGEST:
                    return None
            total += product
        return total


_TYPED_BY = {"Cast": 0, "Mul": 0, "QuantizeLinear": 2, "DequantizeLinear": 1}
"""Operators that rewriting adds, and the input that has the type of their result (a Cast says it itself)."""


def _sources(node: Node) -> tuple[str, ...]:
    """The inputs whose shape the result has."""
    return node.inputs[:2] if node.op_type == "Mul" else node.inputs[:1]


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """As numpy's rule; raises :class:`Damaged` where they do not fit."""
    axes = max(len(shape) for shape in shapes)
    result = []
    for column in zip(*((1,) * (axes - len(shape)) + shape for shape in shapes), strict=True):
        sizes = set(column) - {1}
        if len(sizes) > 1:
            raise Damaged(f"shapes {', '.join(str(list(shape)) for shape in shapes)} together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)
