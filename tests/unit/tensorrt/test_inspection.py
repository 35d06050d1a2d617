"""Whether attention is fused, as an inspector tells it: the double's, whose layers are named as NVIDIA's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from wall_edge_engines import EngineSettings
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.tensorrt.engine import TensorRtEngine
from wall_edge_engines.tensorrt.inspection import AttentionFusion, attention_fusion

from tests.doubles import tensorrt_runtime
from tests.doubles.gpu import Gpu
from tests.doubles.tensorrt_builder import plan
from wall_edge.bundle import GraphSpec, TensorSpec

Look = Callable[..., AttentionFusion]
TYPES = {"float32": TensorProto.FLOAT, "bfloat16": TensorProto.BFLOAT16}


@pytest.fixture
def look(gpu: Gpu, tmp_path: Path) -> Look:
    """Builds an engine of a graph with two softmaxes (or as many as said) and asks the inspector."""

    def fusion(
        dtype: Any = "bfloat16", softmaxes: int = 2, profiles: int = 1, detailed: bool = True
    ) -> AttentionFusion:
        tensor = TensorSpec(("tokens", 4), dtype)
        spec = GraphSpec("prefix.onnx", "prefix.data", "fp32", {}, {"x": tensor}, {"y": tensor})
        write(tmp_path / spec.file, TYPES[dtype], softmaxes)
        shapes = {"x": [(1, 4), (8, 4), (96, 4)]}
        content = plan(tmp_path / spec.file, [shapes] * profiles, sm=gpu.sm, detailed=detailed)
        (tmp_path / "prefix.plan").write_bytes(content)
        engine = TensorRtEngine(
            Device(0),
            {"prefix": tmp_path / "prefix.plan"},
            {"prefix": spec},
            EngineSettings("tensorrt", device="cuda"),
        )
        try:
            return attention_fusion(engine, bundle(tmp_path, spec))["prefix"]
        finally:
            engine.close()

    return fusion


def bundle(folder: Path, spec: GraphSpec) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(folder=folder, manifest=SimpleNamespace(graphs={"prefix": spec}))


def write(path: Path, dtype: int, softmaxes: int) -> None:
    names = ["x", *(f"h{number}" for number in range(softmaxes))]
    nodes = [
        helper.make_node("Softmax", [names[n]], [names[n + 1]], f"node_softmax_{n}") for n in range(softmaxes)
    ]
    nodes.append(helper.make_node("Identity", [names[-1]], ["y"]))
    values = [helper.make_tensor_value_info(name, dtype, ["tokens", 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "prefix", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.mark.parametrize("profiles", [1, 2])
def test_attention_in_half_types_is_one_kernel_in_every_profile(look: Look, profiles: int) -> None:
    fusion = look(profiles=profiles)
    assert fusion == AttentionFusion(attentions=2, profiles=profiles, kernels=2 * profiles)
    assert fusion.fused == "yes"


def test_attention_in_float32_is_not(look: Look) -> None:
    fusion = look("float32")
    assert (fusion.kernels, fusion.fused) == (0, "no")


def test_a_graph_without_attention_has_none_to_fuse(look: Look) -> None:
    assert look(softmaxes=0).fused == "none"


def test_names_alone_tell_nothing_and_the_fix(look: Look) -> None:
    fusion = look(detailed=False)
    assert fusion.fused == "unknown"
    assert fusion.unknown.startswith("the engine was built without detailed verbosity")
    assert "wall-edge build" in fusion.unknown


def test_an_engine_whose_profiles_differ_is_fused_in_part() -> None:
    assert AttentionFusion(attentions=4, profiles=2, kernels=4).fused == "partly"
    assert AttentionFusion(attentions=4, profiles=2, kernels=7).fused == "partly"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "valid JSON"),
        ("[]", "lists no layers"),
        ('{"Layers": []}', "lists no layers"),
        ('{"Layers": {"Name": "_gemm_mha_v2_myl0_1"}}', "lists no layers"),
        (json.dumps({"Layers": ["_gemm_mha_v2_myl0_1"]}), "without detailed verbosity"),
    ],
)
def test_an_answer_that_nobody_reads_is_unknown_and_no_error(
    look: Look, monkeypatch: pytest.MonkeyPatch, answer: str, words: str
) -> None:
    monkeypatch.setattr(
        tensorrt_runtime.EngineInspector, "get_engine_information", lambda _self, _format: answer
    )
    fusion = look()
    assert fusion.fused == "unknown"
    assert words in fusion.unknown


def test_no_inspector_is_unknown(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_runtime.ICudaEngine, "create_engine_inspector", lambda _: None)
    assert look().unknown == "TensorRT gave no inspector"
