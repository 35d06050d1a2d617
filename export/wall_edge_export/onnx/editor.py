"""Edits of a graph that put its linear layers into other precisions, and the weight tensors they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from wall_edge_export.model.inventory import Weight
from wall_edge_export.onnx.linear import bias_of, sizes


@dataclass(frozen=True)
class WeightPart:
    """One tensor of the rewritten graph that is made from weights of the checkpoint."""

    name: str
    weights: tuple[Weight, ...]
    """The rows of these, one after the other."""
    role: str
    """``weight``, ``scale``, ``zero``, ``inverse_smoothing``, ``input_scale`` or ``input_zero``."""
    precision: str | None
    """What the weight is quantised to; None for one that is not."""
    dtype: ir.DataType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return -(-count * self.dtype.bitwidth // 8)


def retype(value: ir.Value, dtype: ir.DataType) -> None:
    """Give a value a type of its own: a cloned model shares its types with the traced one."""
    value.type = ir.TensorType(dtype)


def type_of(value: ir.Value) -> ir.DataType:
    """The type of a value's elements."""
    assert value.dtype is not None
    return value.dtype


class GraphEditor:
    """One graph, changed in place; ``parts`` are its weight tensors, in the order of :meth:`add_part`."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._copies: dict[tuple[str, str], ir.Value] = {}
        self._count = 0
        self.parts: list[WeightPart] = []

    def replace(self, gemm: ir.Node, product: ir.Value) -> None:
        """Add the bias, put the result in the Gemm's place and remove it."""
        bias = bias_of(gemm)
        result = product if bias is None else self.node("Add", [product, bias], before=gemm)
        old = gemm.outputs[0]
        name, result.shape, result.type = old.name, old.shape, old.type
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        old.name, result.name = f"{name}.replaced", name
        self._graph.remove(gemm, safe=True)

    def shared(self, x: ir.Value, kind: str, make: Callable[[], ir.Value]) -> ir.Value:
        """One converted copy of ``x`` a kind, made where it is needed first."""
        key = (str(x.name), kind)
        if key not in self._copies:
            self._copies[key] = make()
        return self._copies[key]

    def new_part(
        self,
        name: str,
        weights: tuple[Weight, ...],
        precision: str,
        dtype: ir.DataType,
        shape: tuple[int, ...],
    ) -> ir.Value:
        """A new initialiser that is made from ``weights``; the last word of its name says its role."""
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self._graph.initializers[name] = value
        self.add_part(value, weights, name.rsplit(".", 1)[1], precision)
        return value

    def add_part(
        self, value: ir.Value, weights: tuple[Weight, ...], role: str, precision: str | None
    ) -> None:
        """Note an initialiser as one that is written with the weights."""
        self.parts.append(WeightPart(str(value.name), weights, role, precision, type_of(value), sizes(value)))

    def node(
        self,
        op_type: str,
        inputs: list[ir.Value | None],
        *,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        **attributes: int | ir.DataType,
    ) -> ir.Value:
        """A new node before or after another; returns its output."""
        node = ir.node(op_type, inputs, attributes={k: int(v) for k, v in attributes.items()})
        self._count += 1
        node.outputs[0].name = f"{op_type.lower()}.{self._count}"
        if before is not None:
            self._graph.insert_before(before, node)
        elif after is not None:
            self._graph.insert_after(after, node)
        return node.outputs[0]
