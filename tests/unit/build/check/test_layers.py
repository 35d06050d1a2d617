"""Counting in a list of layers as TensorRT-RTX 1.7.1 logs it."""

from __future__ import annotations

import pytest
from wall_edge_engines.build.check.layers import Fusion, fusion, kernels_until, profile_layers


def line(name: str, kind: str = "kgen", *nodes: str) -> str:
    sources = "".join(f"[ONNX Layer: {node}]" for node in nodes)
    return f"Name: {name}, LayerType: {kind}, Inputs: [ {{ Name: x }}], TacticName: t, Metadata: {sources}"


LINES = [
    line("__mye1_0_myl0_0", "shape_call"),
    line("__myl_Cast_myl0_1", "kgen", "node_cast", "node_stack"),
    line("node_linear_myl0_2", "gemm", "node_linear"),
    line("_gemm_mha_v2_myl0_3", "kgen", "node_softmax"),
    line("node_linear_1_myl0_4", "gemm", "node_linear_1"),
    line("__myl_FcAdd_myl0_5", "runtime_fusion", "node_linear_2"),
    line("_gemm_mha_v2_myl0_6", "kgen", "node_softmax_1"),
    line("node_linear_11_myl0_7", "gemm", "node_linear_11"),
    "I/O Tensors:",
    "Name: x, IOMode: Input, DataType: Float",
]


def test_one_profile() -> None:
    (layers,) = profile_layers(LINES)
    assert len(layers) == 8
    assert fusion(layers) == Fusion(kernels=7, attentions=2, block_kernels=3, host_copies=0)


def test_profiles_are_told_apart_by_their_layers_names() -> None:
    other = [
        line("_gemv_mha_v1_myl1_1", "kgen", "node_softmax [profile 1]"),
        line("ShapeHostToDevice_myl1_2", "ShapeHostToDevice"),
        line("node_linear [profile 1]_myl1_0", "gemm", "node_linear [profile 1]"),
    ]
    first, second = profile_layers([*LINES, *other])
    assert fusion(first).attentions == 2
    assert fusion(second) == Fusion(kernels=3, attentions=1, block_kernels=0, host_copies=1)
    assert kernels_until(second, "node_linear") == 3


def test_kernels_until_a_node_are_counted_without_the_host_s() -> None:
    (layers,) = profile_layers(LINES)
    assert kernels_until(layers, "node_cast") == 1
    assert kernels_until(layers, "node_linear") == 2
    assert kernels_until(layers, "node_linear_1") == 4
    with pytest.raises(LookupError, match="node_linear_9"):
        kernels_until(layers, "node_linear_9")


def test_a_list_without_layers() -> None:
    assert profile_layers(["Engine Metadata:", ""]) == []
    assert fusion([]) == Fusion(0, 0, 0, 0)
