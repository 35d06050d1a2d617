"""A traced graph → the same graph in a recipe's precision, in standard ONNX operators only.

Every linear layer is one ``Gemm(x, W, bias)`` after tracing. What becomes of it:

``fp16``          Cast(x) → Gemm in half precision → Cast → Add(bias)
``int8``          Mul(x, 1/smoothing) → QuantizeLinear → DequantizeLinear → Gemm with
                  DequantizeLinear(W·smoothing) → Add(bias); layers of one input share its quantisation
``int8-weights``  Gemm(x, DequantizeLinear(W), bias)
``int4-weights``  MatMul(x, DequantizeLinear(Wᵀ in blocks)) → Add(bias), the form that ONNX Runtime and
                  TensorRT both know (opset 21)

ONNX Runtime's and ModelOpt's quantisers take whole models with their weights in memory; this one has to run
before there are any, so that a full-size model is never held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from wall_edge.bundle import INT8
from wall_edge.errors import CheckpointError
from wall_edge_export.onnx.trace import STAGE_PREFIX, WEIGHT
from wall_edge_export.quantize.precision import (
    FP16,
    FP32,
    INT4_WEIGHTS,
    INT8_WEIGHTS,
    family,
    input_group,
    int4_block,
)

INT4_OPSET = 21


@dataclass(frozen=True)
class WeightPart:
    """One tensor of the rewritten graph that is made from a weight of the checkpoint."""

    name: str
    weight: str
    role: str
    """``weight``, ``scale``, ``zero``, ``inverse_smoothing``, ``input_scale`` or ``input_zero``."""
    precision: str
    dtype: ir.DataType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return -(-count * self.dtype.bitwidth // 8)


def rewrite(model: ir.Model, graph: str, families: dict[str, str]) -> list[WeightPart]:
    """Put a graph into the precisions of ``families`` in place; returns its weight tensors in graph order."""
    editor = _Editor(model, graph, families)
    for value in list(model.graph.initializers.values()):
        weight = value.metadata_props.get(WEIGHT)
        if weight is not None:
            editor.convert(value, weight)
    model.graph.sort()
    if INT4_WEIGHTS in families.values():
        model.graph.opset_imports[""] = INT4_OPSET
    return editor.parts


def _is_linear(node: ir.Node) -> bool:
    """Whether a node is ``x @ W.T + bias``: the one form of a Gemm that the rewriting knows."""
    attributes = node.attributes
    plain = all(attributes[name].as_float() == 1.0 for name in ("alpha", "beta") if name in attributes)
    transposed = "transB" in attributes and attributes["transB"].as_int() == 1
    straight = "transA" not in attributes or attributes["transA"].as_int() == 0
    return node.op_type == "Gemm" and plain and transposed and straight


def _retype(value: ir.Value, dtype: ir.DataType) -> None:
    """Give a value a type of its own: a cloned model shares its types with the traced one."""
    value.type = ir.TensorType(dtype)


class _Editor:
    def __init__(self, model: ir.Model, graph: str, families: dict[str, str]) -> None:
        self._graph, self._name, self._families = model.graph, graph, families
        self._inputs: dict[tuple[str, str], ir.Value] = {}
        self._scalings: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
        self.parts: list[WeightPart] = []
        self._count = 0
        self._forms: dict[str, Callable[[ir.Value, str, ir.Node], None]] = {
            FP16: self._fp16,
            INT8: self._int8,
            INT8_WEIGHTS: self._int8_weights,
            INT4_WEIGHTS: self._int4_weights,
        }

    def convert(self, value: ir.Value, weight: str) -> None:
        layer = family(self._name, weight)
        precision = FP32 if layer is None else self._families[layer]
        if precision == FP32:
            self._part(value, weight, "weight", FP32)
            return
        users = [use.node for use in value.uses()]
        if len(users) == 1 and _is_linear(users[0]):
            self._forms[precision](value, weight, users[0])
        elif precision == FP16:
            self._stored_as_half(value, weight)
        else:
            raise CheckpointError(f"tensor {weight} in {precision}", expected="a linear layer's weight")

    def _stored_as_half(self, value: ir.Value, weight: str) -> None:
        """A table or a weight that is not one Gemm's: kept in half precision, widened where it is read."""
        for node, index in [(use.node, use.idx) for use in value.uses()]:
            if node.op_type == "Gather":  # widen the rows that were picked, not the table
                wide = self._node("Cast", [node.outputs[0]], to=ir.DataType.FLOAT, after=node)
                node.outputs[0].replace_all_uses_with(wide, replace_graph_outputs=True)
                wide.producer().replace_input_with(0, node.outputs[0])  # type: ignore[union-attr]
                _retype(node.outputs[0], ir.DataType.FLOAT16)
            else:
                node.replace_input_with(index, self._node("Cast", [value], to=ir.DataType.FLOAT, before=node))
        _retype(value, ir.DataType.FLOAT16)
        self._part(value, weight, "weight", FP16)

    def _fp16(self, value: ir.Value, weight: str, gemm: ir.Node) -> None:
        _retype(value, ir.DataType.FLOAT16)
        self._part(value, weight, "weight", FP16)
        x = gemm.inputs[0]
        half = self._shared(x, FP16, lambda: self._node("Cast", [x], to=ir.DataType.FLOAT16, before=gemm))
        product = self._node("Gemm", [half, value], transB=1, before=gemm)
        self._finish(gemm, self._node("Cast", [product], to=ir.DataType.FLOAT, before=gemm))

    def _int8(self, value: ir.Value, weight: str, gemm: ir.Node) -> None:
        rounded = self._shared(gemm.inputs[0], INT8, lambda: self._rounded_input(weight, gemm))
        _, scale, zero = self._scaling(weight)
        # One DequantizeLinear a consumer, as TensorRT's quantisers emit it. ONNX Runtime merges them again
        # and then leaves the products of a shared input (gate, up, q, k, v) in float32: right, but slow.
        back = self._node("DequantizeLinear", [rounded, scale, zero], before=gemm)
        wide = self._dequantized(value, weight, INT8, gemm)
        self._finish(gemm, self._node("Gemm", [back, wide], transB=1, before=gemm))

    def _rounded_input(self, weight: str, gemm: ir.Node) -> ir.Value:
        """The layer's input smoothed and rounded to 8 bits."""
        inverse, scale, zero = self._scaling(weight)
        smooth = self._node("Mul", [gemm.inputs[0], inverse], before=gemm)
        return self._node("QuantizeLinear", [smooth, scale, zero], before=gemm)

    def _scaling(self, weight: str) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Inverse smoothing, scale and zero point of the input that ``weight``'s layer reads."""
        group = input_group(weight)
        if group not in self._scalings:
            columns = int(self._graph.initializers[f"{STAGE_PREFIX}{weight}"].shape[1])  # type: ignore
            self._scalings[group] = (
                self._new(f"{group}.inverse_smoothing", weight, INT8, ir.DataType.FLOAT, (columns,)),
                self._new(f"{group}.input_scale", weight, INT8, ir.DataType.FLOAT, ()),
                self._new(f"{group}.input_zero", weight, INT8, ir.DataType.INT8, ()),
            )
        return self._scalings[group]

    def _int8_weights(self, value: ir.Value, weight: str, gemm: ir.Node) -> None:
        gemm.replace_input_with(1, self._dequantized(value, weight, INT8_WEIGHTS, gemm))

    def _dequantized(self, value: ir.Value, weight: str, precision: str, gemm: ir.Node) -> ir.Value:
        """DequantizeLinear over an 8-bit weight, one scale an output channel."""
        rows = (int(value.shape[0]),)  # type: ignore[index,arg-type]
        _retype(value, ir.DataType.INT8)
        self._part(value, weight, "weight", precision)
        scale = self._new(f"{weight}.scale", weight, precision, ir.DataType.FLOAT, rows)
        zero = self._new(f"{weight}.zero", weight, precision, ir.DataType.INT8, rows)
        return self._node("DequantizeLinear", [value, scale, zero], axis=0, before=gemm)

    def _int4_weights(self, value: ir.Value, weight: str, gemm: ir.Node) -> None:
        rows, columns = (int(size) for size in value.shape)  # type: ignore[union-attr,arg-type]
        _retype(value, ir.DataType.INT4)
        value.shape = ir.Shape((columns, rows))
        self._part(value, weight, "weight", INT4_WEIGHTS)
        block = int4_block(weight, columns)
        shape = (columns // block, rows)
        scale = self._new(f"{weight}.scale", weight, INT4_WEIGHTS, ir.DataType.FLOAT, shape)
        wide = self._node("DequantizeLinear", [value, scale], axis=0, block_size=block, before=gemm)
        self._finish(gemm, self._node("MatMul", [gemm.inputs[0], wide], before=gemm))

    def _finish(self, gemm: ir.Node, product: ir.Value) -> None:
        """Add the bias, put the result in the Gemm's place and remove it."""
        bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
        result = product if bias is None else self._node("Add", [product, bias], before=gemm)
        old = gemm.outputs[0]
        name, result.shape, result.type = old.name, old.shape, old.type
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        old.name, result.name = f"{name}.replaced", name
        self._graph.remove(gemm, safe=True)

    def _shared(self, x: ir.Value | None, kind: str, make: Callable[[], ir.Value]) -> ir.Value:
        """One converted copy of ``x`` a kind, made where it is needed first."""
        assert x is not None
        key = (str(x.name), kind)
        if key not in self._inputs:
            self._inputs[key] = make()
        return self._inputs[key]

    def _new(
        self, name: str, weight: str, precision: str, dtype: ir.DataType, shape: tuple[int, ...]
    ) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self._graph.initializers[name] = value
        self._part(value, weight, name.rsplit(".", 1)[1], precision)
        return value

    def _part(self, value: ir.Value, weight: str, role: str, precision: str) -> None:
        assert value.shape is not None
        assert value.dtype is not None
        shape = tuple(int(size) for size in value.shape)  # type: ignore[arg-type]
        self.parts.append(WeightPart(str(value.name), weight, role, precision, value.dtype, shape))

    def _node(
        self,
        op_type: str,
        inputs: list[ir.Value | None],
        *,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        **attributes: int | ir.DataType,
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes={k: int(v) for k, v in attributes.items()})
        self._count += 1
        node.outputs[0].name = f"{op_type.lower()}.{self._count}"
        if before is not None:
            self._graph.insert_before(before, node)
        elif after is not None:
            self._graph.insert_after(after, node)
        return node.outputs[0]
