"""Half-precision graphs as a CPU opens them: float32 everywhere, the same weights, still integer products."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from wall_edge_engines import OnnxRuntimeEngine
from wall_edge_engines.widen import widen, widened

from tests.golden_graphs import Workbench
from wall_edge.bundle import GraphSpec, TensorSpec
from wall_edge.bundle.graphs.wire import Damaged

Array = np.ndarray
HALVES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
each_type = pytest.mark.parametrize("half", HALVES)
WEIGHT = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
TABLE = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)


def every_form(half: str) -> onnx.ModelProto:
    """y = table[ids] @ weight + 0.5, all half but for a float32 island; ``again`` is the weight."""
    kind = HALVES[half]

    def tensor(name: str, values: Array) -> TensorProto:
        return helper.make_tensor(name, kind, values.shape, values.ravel())

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        helper.make_node("Constant", [], ["shift"], value=tensor("", np.array(0.5, np.float32))),
        helper.make_node("Cast", ["product"], ["island"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["island"], ["back"], to=kind),
        helper.make_node("Add", ["back", "shift"], ["y"]),
        helper.make_node("Transpose", ["weight"], ["again"], perm=[1, 0]),
        helper.make_node("Cast", ["ids"], ["counted"], to=TensorProto.INT32),
    ]
    values = {"y": [None, 4], "again": [4, 4]}
    graph = helper.make_graph(
        nodes,
        "every form",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in values.items()]
        + [helper.make_tensor_value_info("counted", TensorProto.INT32, [None])],
        [tensor("weight", WEIGHT), tensor("table", TABLE)],
        value_info=[helper.make_tensor_value_info("back", kind, [None, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type by name of every value but the stored ones: inferred, and said by the graph."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    stored = {t.name for t in graph.initializer}
    values = itertools.chain(graph.input, graph.output, graph.value_info)
    return {
        v.name: v.type.tensor_type.elem_type
        for v in values
        if v.name not in stored and not v.name.endswith(".stored")
    }


@each_type
def test_every_form_of_a_half_type_becomes_float32(half: str) -> None:
    model = every_form(half)
    onnx.checker.check_model(model, full_check=True)
    wide = onnx.load_from_string(widen(model.SerializeToString()))
    onnx.checker.check_model(wide, full_check=True)
    found = types(wide)
    assert set(found.values()) == {TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32}
    assert {name: found[name] for name in ("y", "again", "back", "shift", "weight")} == dict.fromkeys(
        ("y", "again", "back", "shift", "weight"), TensorProto.FLOAT
    )
    assert [t.data_type for t in wide.graph.initializer] == [HALVES[half]] * 2


@each_type
def test_the_numbers_are_those_of_the_rounded_weights(half: str) -> None:
    model = every_form(half)
    weight, table = (onnx.numpy_helper.to_array(t).astype(np.float32) for t in model.graph.initializer)
    session = onnxruntime.InferenceSession(
        widen(model.SerializeToString()), providers=["CPUExecutionProvider"]
    )
    ids = np.array([3, 0, 8])
    y, again, counted = session.run(None, {"ids": ids})
    np.testing.assert_allclose(y, table[ids] @ weight + 0.5, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(again, weight.T)
    np.testing.assert_array_equal(counted, ids)


def test_of_a_table_only_the_rows_that_are_read_are_cast() -> None:
    wide = onnx.load_from_string(widen(every_form("bfloat16").SerializeToString()))
    cast = {node.input[0] for node in wide.graph.node if node.op_type == "Cast"}
    assert {"weight.stored", "rows.stored", "shift.stored"} <= cast
    assert not {"table", "table.stored"} & cast


@pytest.mark.parametrize("graph", ["vision", "prefix", "lm_head", "expert"])
def test_a_graph_without_half_types_stays_byte_by_byte(bench: Workbench, graph: str) -> None:
    name = "all int8-weights" if graph != "lm_head" else "all int8"
    content = (bench.written(name).folder / f"{graph}.onnx").read_bytes()
    assert widen(content) == content


@pytest.mark.parametrize("name", ["bf16", "fp16", "int8", "int4-weights", "all bf16"])
@pytest.mark.parametrize("graph", ["vision", "prefix", "lm_head", "expert"])
def test_exported_graphs_are_valid_and_wide(bench: Workbench, name: str, graph: str) -> None:
    made = bench.written(name)
    wide = onnx.load_from_string(widen((made.folder / f"{graph}.onnx").read_bytes()))
    assert not set(types(wide).values()) & set(HALVES.values())
    said = widened(made.specs[graph])
    for values, specs in ((wide.graph.input, said.inputs), (wide.graph.output, said.outputs)):
        assert [value.name for value in values] == list(specs)
        assert not {spec.dtype for spec in specs.values()} & set(HALVES)


def test_the_engine_says_what_it_takes(bench: Workbench) -> None:
    made = bench.written("bf16")
    assert made.specs["prefix"].inputs["past_kv"].dtype == "bfloat16"
    engine = OnnxRuntimeEngine(made.folder, made.specs)
    assert engine.graphs["prefix"].inputs["past_kv"].dtype == "float32"
    assert engine.graphs["vision"].outputs["image_embeds"].dtype == "float32"
    assert engine.graphs["prefix"].families == made.specs["prefix"].families


def test_only_half_types_are_widened_in_a_specification() -> None:
    tensors = {name: TensorSpec((1,), name) for name in ("bfloat16", "float16", "int64", "bool", "uint8")}  # type: ignore[arg-type]
    spec = widened(GraphSpec("a.onnx", "a.data", "bf16", {}, tensors, {}))
    assert [t.dtype for t in spec.inputs.values()] == ["float32", "float32", "int64", "bool", "uint8"]


@pytest.mark.parametrize("name", ["int8", "all int8"])
@pytest.mark.parametrize("graph", ["vision", "prefix"])
def test_products_of_8_bits_stay_integer_products(
    bench: Workbench, tmp_path: Path, name: str, graph: str
) -> None:
    """Scales that were not constants would leave every product in float32."""
    made = bench.written(name)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(made.folder))
    model = widen((made.folder / f"{graph}.onnx").read_bytes())
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    nodes: Any = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph.node
    kinds = [node.op_type for node in nodes]
    quantised = sum(n.op_type == "Gemm" for n in made.graph(graph).graph.node) - kinds.count("Gemm")
    integer = sum(
        kinds.count(kind) for kind in ("MatMulIntegerToFloat", "QGemm", "QLinearMatMul", "MatMulInteger")
    )
    print(name, graph, {kind: kinds.count(kind) for kind in sorted(set(kinds))})
    assert integer == quantised > 0


@given(st.binary(max_size=200))
def test_any_bytes_are_widened_or_damaged(content: bytes) -> None:
    try:
        widen(content)
    except Damaged:
        return
