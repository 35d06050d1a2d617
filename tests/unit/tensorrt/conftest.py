"""Two small graphs with the tensors that matter, as engines of the double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from wall_edge_engines import EngineSettings
from wall_edge_engines.cuda.device import Device
from wall_edge_engines.tensorrt.engine import TensorRtEngine

from tests.doubles.gpu import Gpu
from tests.doubles.installed import doubles
from tests.doubles.tensorrt_builder import plan
from wall_edge.bundle import GraphSpec, TensorSpec

HORIZON, WIDTH = 4, 24
"""A row of ``past_kv`` has 96 bytes: most rows are at addresses that TensorRT refuses."""
LONGEST = 96
ACTION, NUMBER = TensorSpec((HORIZON,), "float32"), TensorSpec((), "float32")
PAST = TensorSpec(("past", WIDTH), "float32")
SPECS = {
    "prefix": GraphSpec(
        file="prefix.onnx",
        data="prefix.data",
        precision="fp32",
        families={},
        inputs={"input_ids": TensorSpec(("tokens",), "int64"), "past_kv": PAST},
        outputs={"kv": TensorSpec(("tokens", WIDTH), "float32")},
    ),
    "expert": GraphSpec(
        file="expert.onnx",
        data="expert.data",
        precision="fp32",
        families={},
        inputs={
            "noisy_action": ACTION,
            "time": NUMBER,
            "step_size": NUMBER,
            "guidance_weight": NUMBER,
            "past_kv": PAST,
        },
        outputs={"velocity": ACTION, "next_action": ACTION},
    ),
}
PROFILES: dict[str, list[dict[str, Any]]] = {
    "prefix": [
        {"input_ids": [(1,), (8,), (LONGEST,)], "past_kv": [(0, WIDTH), (0, WIDTH), (LONGEST, WIDTH)]},
        {"input_ids": [(1,), (1,), (1,)], "past_kv": [(1, WIDTH), (8, WIDTH), (LONGEST, WIDTH)]},
    ],
    "expert": [{"past_kv": [(1, WIDTH), (8, WIDTH), (LONGEST, WIDTH)]}],
}


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX files. prefix: kv = ids + sum(past); expert: velocity = time + weight + sum(past) - noisy."""
    folder = tmp_path_factory.mktemp("graphs")
    node = helper.make_node
    prefix = [
        node("ReduceSum", ["past_kv"], ["all"], keepdims=0),
        node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["ids", "one"], ["column"]),
        node("Add", ["column", "all"], ["sums"]),
        node("Expand", ["sums", "wide"], ["kv"]),
    ]
    expert = [
        node("ReduceSum", ["past_kv"], ["all"], keepdims=0),
        node("Add", ["time", "guidance_weight"], ["numbers"]),
        node("Add", ["numbers", "all"], ["target"]),
        node("Sub", ["target", "noisy_action"], ["velocity"]),
        node("Mul", ["velocity", "step_size"], ["step"]),
        node("Add", ["noisy_action", "step"], ["next_action"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([1, WIDTH]), "wide"),
    ]
    for name, nodes, tensors in (("prefix", prefix, constants), ("expert", expert, [])):
        spec = SPECS[name]
        graph = helper.make_graph(nodes, name, _values(spec.inputs), _values(spec.outputs), tensors)
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
            folder / spec.file,
        )
    return folder


def _values(tensors: dict[str, TensorSpec]) -> list[onnx.ValueInfoProto]:
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    return [
        helper.make_tensor_value_info(name, types[spec.dtype], spec.shape) for name, spec in tensors.items()
    ]


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with doubles(Gpu()) as gpu:
        yield gpu


@pytest.fixture
def plans(gpu: Gpu, graphs: Path, tmp_path: Path) -> dict[str, Path]:
    """An engine file for each graph; expert's is the larger."""
    paths = {name: tmp_path / f"{name}.plan" for name in SPECS}
    for name, path in paths.items():
        content = plan(graphs / SPECS[name].file, PROFILES[name], sm=gpu.sm)
        path.write_bytes(content if name == "prefix" else content + b" " * 1000)
    return paths


Open = Callable[[], TensorRtEngine]


@pytest.fixture
def open_engine(plans: dict[str, Path]) -> Open:
    """Opens the engine files as they are by then."""
    return lambda: TensorRtEngine(Device(0), plans, SPECS, EngineSettings("tensorrt", device="cuda"))


@pytest.fixture
def engine(open_engine: Open) -> Iterator[TensorRtEngine]:
    engine = open_engine()
    yield engine
    engine.close()
