"""A traced graph → the same graph in a recipe's precision, in standard ONNX operators only.

Every linear layer is one ``Gemm(x, W, bias)`` after tracing, in the type A of the graph's activations. What
becomes of it:

a type            nothing where the type is A, else Cast(x) → Gemm in that type → Cast to A → Add(bias)
``int8``          Mul(x, 1/smoothing) → QuantizeLinear → DequantizeLinear → Gemm with
                  DequantizeLinear(W·smoothing) → Add(bias); layers of one input share its quantisation
``int8-weights``  Gemm(x, DequantizeLinear(W), bias)
``int4-weights``  MatMul(x, DequantizeLinear(Wᵀ in blocks)) → Add(bias), the form that ONNX Runtime and
                  TensorRT both know (opset 21)

Scales have the type A, so that products are computed in it (NVIDIA/TensorRT#4832: other types fail on Orin).
ONNX Runtime's and ModelOpt's quantisers take whole models with their weights in memory; this one has to run
before there are any, so that a full-size model is never held.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from wall_edge.bundle import INT8
from wall_edge.errors import CheckpointError
from wall_edge_export.model.inventory import Inventory, Weight
from wall_edge_export.onnx.editor import GraphEditor, WeightPart, retype, type_of
from wall_edge_export.onnx.linear import STAGE_PREFIX, is_linear, sizes, weights_of
from wall_edge_export.quantize.precision import (
    BF16,
    FP16,
    FP32,
    INT4_WEIGHTS,
    INT8_WEIGHTS,
    int4_block,
)

INT4_OPSET = 21
"""The first with 4-bit types and blocks. QuantizeLinear and DequantizeLinear take bfloat16 scales from 19."""
_TYPES = {FP32: ir.DataType.FLOAT, FP16: ir.DataType.FLOAT16, BF16: ir.DataType.BFLOAT16}


def rewrite(model: ir.Model, inventory: Inventory, families: dict[str, str]) -> list[WeightPart]:
    """Put a graph into the precisions of ``families`` in place; returns its weight tensors in graph order.

    The inventory knows the weights that its initialisers are named after.
    """
    rewriter = _Rewriter(model, inventory, families)
    for value in list(model.graph.initializers.values()):
        if weights_of(value):
            rewriter.convert(value)
    model.graph.sort()
    if INT4_WEIGHTS in families.values():
        model.graph.opset_imports[""] = INT4_OPSET
    return rewriter.parts


class _Rewriter:
    def __init__(self, model: ir.Model, inventory: Inventory, families: dict[str, str]) -> None:
        self._edit, self._inventory, self._families = GraphEditor(model.graph), inventory, families
        self._scalings: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
        self._forms: dict[str, Callable[[ir.Value, ir.Node], None]] = {
            INT8: self._int8,
            INT8_WEIGHTS: self._int8_weights,
            INT4_WEIGHTS: self._int4_weights,
        }

    @property
    def parts(self) -> list[WeightPart]:
        return self._edit.parts

    def convert(self, value: ir.Value) -> None:
        """Put the initialiser of some weights into their family's precision."""
        weights, gemm = self._weights(value), self._gemm(value)
        layer = weights[0].family
        precision = None if layer is None else self._families[layer]
        if precision in self._forms:
            if gemm is None:
                name = weights[0].name
                raise CheckpointError(f"tensor {name} in {precision}", expected="a linear layer's weight")
            self._forms[precision](value, gemm)
            return
        dtype = type_of(value) if precision is None else _TYPES[precision]
        if dtype != type_of(value) and gemm is not None:
            self._cast_around(gemm, dtype)
        elif dtype != type_of(value):
            self._cast_where_read(value, dtype)
        retype(value, dtype)
        self._edit.add_part(value, weights, "weight", None)

    def _weights(self, value: ir.Value) -> tuple[Weight, ...]:
        """What an initialiser is made of: all of one family, reading one input."""
        return tuple(self._inventory[name] for name in weights_of(value))

    @staticmethod
    def _gemm(value: ir.Value) -> ir.Node | None:
        """The linear layer whose weight this is, and nothing else's."""
        users = [use for use in value.uses() if use.idx == 1 and is_linear(use.node)]
        return users[0].node if len(users) == len(value.uses()) == 1 else None

    def _cast_where_read(self, value: ir.Value, dtype: ir.DataType) -> None:
        """A table or a weight that is not one Gemm's: kept in ``dtype``, cast where it is read."""
        wide = type_of(value)
        for node, index in [(use.node, use.idx) for use in value.uses()]:
            if node.op_type == "Gather":  # cast the rows that were picked, not the table
                cast = self._edit.node("Cast", [node.outputs[0]], to=wide, after=node)
                node.outputs[0].replace_all_uses_with(cast, replace_graph_outputs=True)
                cast.producer().replace_input_with(0, node.outputs[0])  # type: ignore[union-attr]
                retype(node.outputs[0], dtype)
            else:
                node.replace_input_with(index, self._edit.node("Cast", [value], to=wide, before=node))

    def _cast_around(self, gemm: ir.Node, dtype: ir.DataType) -> None:
        x, value = gemm.inputs[0], gemm.inputs[1]
        assert x is not None
        assert value is not None
        other = self._edit.shared(x, dtype.name, lambda: self._edit.node("Cast", [x], to=dtype, before=gemm))
        product = self._edit.node("Gemm", [other, value], transB=1, before=gemm)
        self._edit.replace(gemm, self._edit.node("Cast", [product], to=type_of(value), before=gemm))

    def _int8(self, value: ir.Value, gemm: ir.Node) -> None:
        x = gemm.inputs[0]
        assert x is not None
        rounded = self._edit.shared(x, INT8, lambda: self._rounded_input(value, gemm))
        _, scale, zero = self._scaling(value)
        # One DequantizeLinear a consumer, as TensorRT's quantisers emit it.
        back = self._edit.node("DequantizeLinear", [rounded, scale, zero], before=gemm)
        wide = self._dequantized(value, INT8, gemm)
        self._edit.replace(gemm, self._edit.node("Gemm", [back, wide], transB=1, before=gemm))

    def _rounded_input(self, value: ir.Value, gemm: ir.Node) -> ir.Value:
        """The layer's input smoothed and rounded to 8 bits."""
        inverse, scale, zero = self._scaling(value)
        smooth = self._edit.node("Mul", [gemm.inputs[0], inverse], before=gemm)
        return self._edit.node("QuantizeLinear", [smooth, scale, zero], before=gemm)

    def _scaling(self, value: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Inverse smoothing, scale and zero point of the input that the weight's layer reads."""
        weights = self._weights(value)
        group = str(weights[0].input_group)
        if group not in self._scalings:
            dtype = type_of(value)
            self._scalings[group] = (
                self._edit.new_part(f"{group}.inverse_smoothing", weights, INT8, dtype, (sizes(value)[1],)),
                self._edit.new_part(f"{group}.input_scale", weights, INT8, dtype, ()),
                self._edit.new_part(f"{group}.input_zero", weights, INT8, ir.DataType.INT8, ()),
            )
        return self._scalings[group]

    def _int8_weights(self, value: ir.Value, gemm: ir.Node) -> None:
        gemm.replace_input_with(1, self._dequantized(value, INT8_WEIGHTS, gemm))

    def _dequantized(self, value: ir.Value, precision: str, gemm: ir.Node) -> ir.Value:
        """DequantizeLinear over an 8-bit weight, one scale an output channel."""
        dtype, name = type_of(value), str(value.name).removeprefix(STAGE_PREFIX)
        weights = self._weights(value)
        rows = sizes(value)[:1]
        retype(value, ir.DataType.INT8)
        self._edit.add_part(value, weights, "weight", precision)
        scale = self._edit.new_part(f"{name}.scale", weights, precision, dtype, rows)
        zero = self._edit.new_part(f"{name}.zero", weights, precision, ir.DataType.INT8, rows)
        return self._edit.node("DequantizeLinear", [value, scale, zero], axis=0, before=gemm)

    def _int4_weights(self, value: ir.Value, gemm: ir.Node) -> None:
        dtype, name = type_of(value), str(value.name).removeprefix(STAGE_PREFIX)
        weights = self._weights(value)
        rows, columns = sizes(value)
        retype(value, ir.DataType.INT4)
        value.shape = ir.Shape((columns, rows))
        self._edit.add_part(value, weights, "weight", INT4_WEIGHTS)
        block = int4_block(weights[0].name, columns)
        scale = self._edit.new_part(f"{name}.scale", weights, INT4_WEIGHTS, dtype, (columns // block, rows))
        wide = self._edit.node("DequantizeLinear", [value, scale], axis=0, block_size=block, before=gemm)
        self._edit.replace(gemm, self._edit.node("MatMul", [gemm.inputs[0], wide], before=gemm))
