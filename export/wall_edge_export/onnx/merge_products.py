"""Linear layers that read the same input → one product over the rows of all their weights, then one Split.

A device reads the input once and launches one kernel instead of three. TensorRT does so by itself in some
precisions and not in others (8-bit weights), so the graphs say it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from wall_edge_export.model.inventory import Inventory
from wall_edge_export.onnx.linear import STAGE_PREFIX, bias_of, is_linear, name_weights, sizes, weights_of


def merge_products(model: ir.Model, inventory: Inventory) -> None:
    """Merge in place what reads one tensor and belongs together (q, k, v; gate, up).

    A weight that is used more than once, as derivatives do, is left alone.
    """
    groups: dict[tuple[str, str], list[ir.Node]] = {}
    for node in model.graph:
        if _is_layer(node):
            (weight,) = weights_of(node.inputs[1])  # type: ignore[arg-type]
            group = str(inventory[weight].input_group)
            groups.setdefault((str(node.inputs[0].name), group), []).append(node)  # type: ignore[union-attr]
    for (_, group), gemms in groups.items():
        biased = {bias_of(gemm) is not None for gemm in gemms}
        if len(gemms) > 1 and len(biased) == 1:
            _merge(model.graph, group, gemms)


def _is_layer(node: ir.Node) -> bool:
    """Whether a node is a linear layer whose tensors belong to it alone."""
    if not is_linear(node):
        return False
    tensors = [value for value in node.inputs[1:] if value is not None]
    return all(len(weights_of(value)) == 1 and len(value.uses()) == 1 for value in tensors)


def _merge(graph: ir.Graph, group: str, gemms: Sequence[ir.Node]) -> None:
    first, rows = gemms[0], [sizes(gemm.inputs[1])[0] for gemm in gemms]  # type: ignore[arg-type]
    inputs = [first.inputs[0], _joined(graph, f"{group}.weight", [gemm.inputs[1] for gemm in gemms])]
    if bias_of(first) is not None:
        inputs.append(_joined(graph, f"{group}.bias", [bias_of(gemm) for gemm in gemms]))
    product = ir.node("Gemm", inputs, attributes={"transB": 1})
    whole, part = product.outputs[0], first.outputs[0]
    whole.name, whole.type = f"{group}.product", part.type
    whole.shape = ir.Shape([*part.shape[:-1], sum(rows)])  # type: ignore[index]
    split = ir.node(
        "Split", [whole, _counts(graph, group, rows)], attributes={"axis": -1}, num_outputs=len(gemms)
    )
    graph.insert_before(first, [product, split])
    for gemm, output in zip(gemms, split.outputs, strict=True):
        old = gemm.outputs[0]
        name, output.shape, output.type = old.name, old.shape, old.type
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        old.name, output.name = f"{name}.merged", name
        spent = gemm.inputs[1:]
        graph.remove(gemm, safe=True)
        for value in spent:
            graph.initializers.pop(str(value.name))  # type: ignore[union-attr]


def _counts(graph: ir.Graph, group: str, rows: Sequence[int]) -> ir.Value:
    """How many outputs each layer has, as a constant."""
    value = ir.Value(
        name=f"{group}.rows", shape=ir.Shape((len(rows),)), type=ir.TensorType(ir.DataType.INT64)
    )
    value.const_value = ir.tensor(np.array(rows, np.int64), name=value.name)
    graph.initializers.add(value)
    return value


def _joined(graph: ir.Graph, name: str, parts: Sequence[ir.Value | None]) -> ir.Value:
    """An initialiser of the rows of ``parts``, one after the other."""
    tensors = [part for part in parts if part is not None]
    rows = sum(sizes(tensor)[0] for tensor in tensors)
    shape = ir.Shape((rows, *sizes(tensors[0])[1:]))
    joined = ir.Value(name=f"{STAGE_PREFIX}{name}", shape=shape, type=tensors[0].type)
    name_weights(joined, *(weight for tensor in tensors for weight in weights_of(tensor)))
    graph.initializers.add(joined)
    return joined
