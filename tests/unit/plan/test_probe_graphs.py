"""A probe's graphs: what ONNX says of the files, and that an engine computes what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from wall_edge_engines import EngineSettings, OnnxRuntimeEngine
from wall_edge_engines.build.check.lint import lint
from wall_edge_engines.element_types import STORAGE, from_storage
from wall_edge_engines.probe.graphs import INPUT, KINDS, OUTPUT, Kind, Layers, write_graph

from wall_edge.array_types import Array
from wall_edge.bundle.graphs.graph_file import check_graph


def written(folder: Path, layers: Layers) -> onnx.ModelProto:
    spec = write_graph(folder, layers)
    onnx.checker.check_model(str(folder / spec.file), full_check=True)
    return onnx.load(folder / spec.file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_onnx_takes_every_graph(kind: Kind, count: int, tmp_path: Path) -> None:
    model = written(tmp_path, Layers(kind, 4, 32, 32, count))
    assert [node.op_type for node in model.graph.node].count("Gemm") == count


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_is_what_a_bundle_may_hold_and_a_jetsons_parser_takes(kind: Kind, tmp_path: Path) -> None:
    spec = write_graph(tmp_path, Layers(kind, 4, 32, 48))
    content = (tmp_path / spec.file).read_bytes()
    assert check_graph(content, spec, (tmp_path / spec.data).stat().st_size, "probe") == [INPUT]
    assert lint(tmp_path, spec) == []


def computed(folder: Path, layers: Layers) -> tuple[Array, Array]:
    """What an engine gives, and what numpy gives for the weights in the file."""
    model = written(folder, layers)
    spec = write_graph(folder, layers)
    engine = OnnxRuntimeEngine(folder, {layers.name: spec}, EngineSettings())
    widened = engine.graphs[layers.name]
    values = np.random.default_rng(1).standard_normal((layers.rows, layers.inner)).astype(np.float32)
    x = engine.tensor(values.shape, widened.inputs[INPUT].dtype)
    y = engine.tensor((layers.rows, layers.outer), widened.outputs[OUTPUT].dtype)
    x.write(values)
    engine.bind(layers.name, {INPUT: x, OUTPUT: y}).run()
    expected = values
    for number in range(layers.count):
        weight = next(entry for entry in model.graph.initializer if entry.name == f"w{number}")
        stored = "bfloat16" if layers.kind == "bf16" else "float32" if layers.kind == "fp32" else "int8"
        raw = np.frombuffer(weight.raw_data, dtype=STORAGE[stored]).reshape(layers.outer, layers.inner)
        if layers.kind == "int8":
            expected = np.clip(np.rint(expected / 0.05), -128, 127) * 0.05
            expected = expected @ (from_storage(raw, "int8").astype(np.float32) * 0.0005).T
        else:
            expected = expected @ from_storage(raw, stored).T
    return y.read(), expected


@pytest.mark.parametrize(("kind", "limit"), [("fp32", 1e-5), ("bf16", 1e-2), ("int8", 5e-2)])
@pytest.mark.parametrize("count", [1, 2])
def test_an_engine_computes_the_layers(kind: Kind, limit: float, count: int, tmp_path: Path) -> None:
    actual, expected = computed(tmp_path, Layers(kind, 4, 64, 64, count))
    assert np.linalg.norm(actual - expected) / np.linalg.norm(expected) < limit


def test_weights_are_as_many_bytes_as_are_counted(tmp_path: Path) -> None:
    for kind, width in (("fp32", 4), ("bf16", 2), ("int8", 1)):
        layers = Layers(kind, 1, 2048, 1024, 1)  # type: ignore[arg-type]
        spec = write_graph(tmp_path, layers)
        assert layers.weight_bytes == width * 2048 * 1024
        assert layers.weight_bytes <= (tmp_path / spec.data).stat().st_size < 1.02 * layers.weight_bytes
        assert layers.operations == 2 * 2048 * 1024


def test_long_chains_stay_finite(tmp_path: Path) -> None:
    actual, _ = computed(tmp_path, Layers("fp32", 1, 512, 512, 40))
    assert np.isfinite(actual).all()
    assert np.abs(actual).max() > 0
