"""Linear layers in a traced graph: one ``Gemm(x, W, bias)`` each, of tensors with the checkpoint's names."""

from __future__ import annotations

import onnx_ir as ir

STAGE_PREFIX = "model."
"""What the stage module adds in front of the checkpoint's names."""
WEIGHT = "weight"
"""The metadata key under which an initialiser holds its names in the checkpoint."""


def name_weights(value: ir.Value, *weights: str) -> None:
    """Say which tensors of the checkpoint an initialiser is made of: their rows, one after the other."""
    value.metadata_props[WEIGHT] = " ".join(weights)


def weights_of(value: ir.Value) -> tuple[str, ...]:
    """The checkpoint's names of an initialiser; none for a constant of the model's own."""
    return tuple(value.metadata_props.get(WEIGHT, "").split())


def is_linear(node: ir.Node) -> bool:
    """Whether a node is ``x @ W.T + bias``: the one form of a Gemm that the rewriting knows."""
    attributes = node.attributes
    plain = all(attributes[name].as_float() == 1.0 for name in ("alpha", "beta") if name in attributes)
    transposed = "transB" in attributes and attributes["transB"].as_int() == 1
    straight = "transA" not in attributes or attributes["transA"].as_int() == 0
    return node.op_type == "Gemm" and plain and transposed and straight


def bias_of(gemm: ir.Node) -> ir.Value | None:
    """The third input of a Gemm, where it has one."""
    return gemm.inputs[2] if len(gemm.inputs) > 2 else None


def sizes(value: ir.Value) -> tuple[int, ...]:
    """The shape of an initialiser."""
    assert value.shape is not None
    return tuple(int(size) for size in value.shape)  # type: ignore[arg-type]
