"""The real thing: TensorRT-RTX builds the shipped policy ahead of time for SM86, without a GPU.

That shows that it takes the graphs. It shows nothing of speed, of numbers, or of JetPack's TensorRT.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner
from wall_edge_engines.build.compile import Job
from wall_edge_engines.build.graph_process import compile_apart
from wall_edge_engines.build.profiles import Profile, profiles_of

from wall_edge.bundle import Bundle, TensorSpec, file_digest
from wall_edge.cli import app


def test_the_shipped_policy_is_built(copy_bundle: Callable[[], Bundle]) -> None:
    bundle = copy_bundle()
    done = CliRunner().invoke(app, ["build", str(bundle.folder), "--target", "sm86-check", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["compiler"] == "tensorrt-rtx"
    for name, graph in report["graphs"].items():
        plan = Path(report["folder"]) / f"{name}.plan"
        assert graph["ok"], graph["reason"]
        assert plan.stat().st_size == graph["bytes"] > 100_000
        assert 100_000_000 < graph["peak_bytes"] < 1_000_000_000
        assert graph["seconds"] > 0


@pytest.fixture
def job(shipped_bundle: Path, tmp_path: Path) -> Job:
    bundle = Bundle(shipped_bundle)
    spec = bundle.manifest.graphs["lm_head"]
    return Job(
        compiler="tensorrt-rtx",
        onnx=str(bundle.path(spec.file)),
        plan=str(tmp_path / "lm_head.plan"),
        inputs=spec.inputs,
        profiles=profiles_of(bundle.manifest)["lm_head"],
        sm=86,
        aux_streams=0,
        layers=True,
    )


def test_the_layers_that_an_engine_has(job: Job) -> None:
    phases: list[str] = []
    compiled, reason, _ = compile_apart(job, phases.append)
    assert compiled is not None, reason
    assert file_digest(Path(job.plan)) == compiled.sha256
    assert any("LayerType: " in layer and "Name: hidden" in layer for layer in compiled.layers)
    assert all(layer.startswith("Name: ") and "IOMode" not in layer for layer in compiled.layers)
    assert phases[0] == "parsing"


def graph(path: Path, *nodes: onnx.NodeProto) -> str:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["past"])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [1])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    onnx.save(model, path)
    return str(path)


def refusal(job: Job) -> str:
    compiled, reason, peak = compile_apart(job, lambda _: None)
    assert compiled is None
    assert peak > 0
    assert not Path(job.plan).exists()
    return reason


def test_what_the_parser_refuses_is_told_without_the_missing_driver(job: Job, tmp_path: Path) -> None:
    path = graph(tmp_path / "odd.onnx", helper.make_node("ArgMax", ["x"], ["y"], axis=0))
    odd = replace(job, onnx=path, inputs={"x": TensorSpec(("past",), "float32")})
    text = refusal(replace(odd, profiles=(Profile("step", {"past": (1, 2, 3)}),)))
    assert text.startswith("the parser refused odd.onnx: ")
    assert "at least 2 dimensions" in text
    assert "driver" not in text


def test_a_file_that_is_no_graph(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "not.onnx"
    path.write_bytes(b"\xff" * 64)
    assert refusal(replace(job, onnx=str(path))).startswith("the parser refused not.onnx: ")


def test_a_place_without_room_or_folder(job: Job) -> None:
    assert "No such file or directory" in refusal(replace(job, plan="/nowhere/x.plan"))
