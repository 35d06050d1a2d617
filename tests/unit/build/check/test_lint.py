"""A graph that TensorRT 10.3 takes, and every way in which it would not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from wall_edge_engines.build.check.lint import lint, parser_10_3

from wall_edge.bundle import GraphSpec, TensorSpec
from wall_edge.errors import BundleError

SPEC = GraphSpec(
    file="graph.onnx",
    data="graph.data",
    precision="int8",
    families={},
    inputs={"frame": TensorSpec((4, 8), "uint8"), "mask": TensorSpec((4, 8), "bool")},
    outputs={"y": TensorSpec((4, 8), "float32")},
)
HALF = TensorProto.BFLOAT16


def half(name: str, *values: float) -> TensorProto:
    return helper.make_tensor(name, HALF, [len(values)] if len(values) > 1 else [], _bits(values), raw=True)


def _bits(values: tuple[float, ...]) -> bytes:
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()


def constant(name: str, values: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(values, name)


def graph() -> ModelProto:
    """A frame → 8-bit product → 4-bit product → masked, summed, in float32."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], "cast", to=HALF),
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["back"], "activation"),
        helper.make_node("DequantizeLinear", ["w8", "steps8", "zeros8"], ["wide8"], "weight8", axis=0),
        helper.make_node("Gemm", ["back", "wide8"], ["h"], "product8", transB=1),
        helper.make_node("DequantizeLinear", ["w4", "steps4"], ["wide4"], "weight4", axis=0, block_size=4),
        helper.make_node("MatMul", ["h", "wide4"], ["z"], "product4"),
        helper.make_node("Where", ["mask", "z", "low"], ["seen"], "mask it"),
        helper.make_node("ReduceSum", ["seen", "axes"], ["sum"], "sum"),
        helper.make_node("Add", ["seen", "sum"], ["moved"], "add"),
        helper.make_node("Cast", ["moved"], ["y"], "wide", to=TensorProto.FLOAT),
    ]
    constants = [
        half("step", 0.5),
        constant("zero", np.array(0, np.int8)),
        constant("w8", np.ones((8, 8), np.int8)),
        half("steps8", *[0.5] * 8),
        constant("zeros8", np.zeros(8, np.int8)),
        helper.make_tensor("w4", TensorProto.INT4, [8, 8], bytes(32), raw=True),
        helper.make_tensor("steps4", HALF, [2, 8], _bits((0.5,) * 16), raw=True),
        half("low", -3e4),
        constant("axes", np.array([1])),
    ]
    inputs = [
        helper.make_tensor_value_info("frame", TensorProto.UINT8, [4, 8]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, [4, 8]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, [y], constants), opset_imports=[helper.make_opsetid("", 21)]
    )


def problems(model: ModelProto, folder: Path) -> list[str]:
    onnx.save(model, folder / SPEC.file)
    return lint(folder, SPEC)


def node(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def put(model: ModelProto, tensor: TensorProto) -> None:
    """In the place of the constant of that name."""
    next(old for old in model.graph.initializer if old.name == tensor.name).CopyFrom(tensor)


def attribute(model: ModelProto, name: str, **values: int) -> None:
    for key, value in values.items():
        next(a for a in node(model, name).attribute if a.name == key).i = value


def test_a_graph_that_is_taken(tmp_path: Path) -> None:
    onnx.checker.check_model(graph(), full_check=True)
    assert problems(graph(), tmp_path) == []


def opset(number: int) -> Callable[[ModelProto], None]:
    return lambda model: setattr(model.opset_import[0], "version", number)


def renamed(name: str, op_type: str) -> Callable[[ModelProto], None]:
    return lambda model: setattr(node(model, name), "op_type", op_type)


def rewired(name: str, index: int, source: str) -> Callable[[ModelProto], None]:
    return lambda model: node(model, name).input.__setitem__(index, source)


def replaced(tensor: TensorProto) -> Callable[[ModelProto], None]:
    return lambda model: put(model, tensor)


BROKEN: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "opset of later": (opset(22), "opset 22: the parser takes 9 to 21"),
    "opset of long ago": (opset(8), "opset 8: the parser takes 9 to 21"),
    "integer product": (renamed("product8", "MatMulInteger"), "product8: the parser has no such"),
    "operator of opset 23": (renamed("sum", "RMSNormalization"), "sum: the parser has no such operator"),
    "uint8 elsewhere": (rewired("add", 1, "frame"), "Add add: computes with uint8"),
    "a sum of two types": (rewired("add", 1, "y0"), "Add add: computes with no type"),
    "a mask that is no bool": (renamed("mask it", "Add"), "its inputs are bfloat16 and bool"),
    "axes that are computed": (rewired("sum", 1, "q"), "ReduceSum sum: input 1 must be a constant"),
    "asymmetric": (replaced(constant("zero", np.array(3, np.int8))), "zero point must be a constant int8 0"),
    "unsigned": (replaced(constant("zero", np.array(0, np.uint8))), "zero point must be a constant int8 0"),
    "a scale that is computed": (rewired("quantise", 1, "x"), "quantise: its scale must be a constant"),
    "a negative scale": (replaced(half("step", -0.5)), "its scales must be positive"),
    "a scale of zero": (replaced(half("steps8", *[0.5] * 7, 0.0)), "weight8: its scales must be positive"),
    "a scale of another type": (
        replaced(constant("step", np.array(0.5, np.float32))),
        "product8: its inputs",
    ),
    "channels of a tensor": (replaced(half("step", *[0.5] * 8)), "what is not a weight has one scale"),
    "fewer zeros than scales": (replaced(constant("zeros8", np.zeros(4, np.int8))), "has 8 scales and 4"),
    "fewer scales than rows": (replaced(half("steps8", *[0.5] * 4)), "4 scales for 8 channels"),
    "blocks that divide nothing": (
        replaced(helper.make_tensor("steps4", HALF, [3, 8], _bits((0.5,) * 24), raw=True)),
        "scales [3, 8] of weights [8, 8]: no blocks along one axis",
    ),
    "blocks along both axes": (
        replaced(helper.make_tensor("steps4", HALF, [2, 4], _bits((0.5,) * 8), raw=True)),
        "scales [2, 4] of weights [8, 8]: no blocks along one axis",
    ),
    "an odd row of 4 bits": (
        replaced(helper.make_tensor("w4", TensorProto.INT4, [8, 7], bytes(28), raw=True)),
        "4-bit weights need an even last axis",
    ),
    "8 bits around a sum": (rewired("add", 1, "back"), "only products may follow, not Add"),
    "8 bits of one side": (rewired("product8", 1, "wide"), "the product's weight must be 8 bits too"),
    "8 bits that are read": (rewired("add", 1, "q"), "only DequantizeLinear may follow, not Add"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    model = graph()
    spoil, text = BROKEN[name]
    spoil(model)
    assert any(text in problem for problem in problems(model, tmp_path)), problems(model, tmp_path)


def test_opset_21_is_for_4_bit_weights(tmp_path: Path) -> None:
    model = graph()
    put(model, constant("w4", np.ones((8, 8), np.int8)))
    assert problems(model, tmp_path) == ["opset 21: the parser takes 9 to 20"]
    opset(20)(model)
    assert problems(model, tmp_path) == []


def test_values_in_the_data_file_are_looked_at(tmp_path: Path) -> None:
    model = graph()
    put(model, constant("zeros8", np.array([0] * 7 + [1], np.int8)))
    onnx.save(model, tmp_path / SPEC.file, save_as_external_data=True, location=SPEC.data, size_threshold=0)
    assert lint(tmp_path, SPEC) == ["DequantizeLinear weight8: its zero point must be a constant int8 0"]


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40], ids=["empty", "zero", "noise"])
def test_a_file_that_is_no_graph(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SPEC.file).write_bytes(content)
    with pytest.raises(BundleError, match=r"graph\.onnx: "):
        lint(tmp_path, SPEC)


def test_the_table_names_its_source_and_each_operator_once() -> None:
    parser = parser_10_3()
    names = [name for group in parser.operators for name in group.names]
    assert "onnx-tensorrt" in parser.source
    assert len(names) == len(set(names)) > 120
    assert set(parser.constant_inputs) <= set(names)
    schemas = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(names) - schemas == {"Scatter", "Upsample"} - schemas
