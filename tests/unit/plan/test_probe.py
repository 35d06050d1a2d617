"""``wall-edge probe`` with little work: every rate, the target's file, and what a machine lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_engines import EngineSettings
from wall_edge_engines.build.targets.selection import select
from wall_edge_engines.build.targets.target import named_target
from wall_edge_engines.plan.prediction import predict
from wall_edge_engines.probe import measure
from wall_edge_engines.probe.measure import Probed, Sizes, probe, usual_sizes
from wall_edge_engines.probe.target_file import probed_target, write_target

from tests.doubles.installed import gpu_or_double
from tests.unit.plan.workloads import workload
from wall_edge.cli import app
from wall_edge.errors import ConfigError, EngineError, WallEdgeError

LITTLE = Sizes(read_bytes=1 << 18, side=64, shapes=((2, 64, 64), (8, 64, 96)), samples=3, seconds=0.05)
CPU = EngineSettings(threads=1)


@pytest.fixture(scope="module")
def probed() -> Probed:
    return probe(CPU, LITTLE)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["probe", *map(str, arguments)])
    if isinstance(done.exception, WallEdgeError):
        return 1, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "usual_sizes", lambda _: LITTLE)


def test_reads_copies_and_products_of_every_kind_are_measured(probed: Probed) -> None:
    kinds = [(rate.what, rate.kind, rate.shape) for rate in probed.rates]
    products = [("product", kind, shape) for kind in ("fp32", "bf16", "int8") for shape in LITTLE.shapes]
    assert sorted(kinds) == sorted([("copy", "", (1 << 18,)), ("read", "fp32", (1, 64, 64)), *products])
    assert not probed.skipped
    assert "ONNX Runtime" in probed.engine
    for rate in probed.rates:
        assert 0 < rate.least <= rate.median <= rate.most
        assert rate.samples == 3


def test_more_than_the_caches_hold_is_read() -> None:
    assert usual_sizes(EngineSettings(device="cuda")).read_bytes == 256 << 20
    assert 64 << 20 <= usual_sizes(CPU).read_bytes <= 1 << 30


@pytest.mark.parametrize(("content", "size"), [("266240K", 266240 << 10), ("8M", 8 << 20), ("odd", 0)])
def test_a_cache_as_the_kernel_tells_it(
    content: str, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "index3").mkdir()
    (tmp_path / "index3" / "size").write_text(f"{content}\n")
    monkeypatch.setattr(measure, "_CACHES", tmp_path)
    assert measure._last_cache_bytes() == size


def test_what_was_probed_is_a_target_that_plans_can_read(probed: Probed, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    target = probed_target("mine", probed, CPU)
    write_target(path, target)
    assert named_target(str(path)) == target
    assert (target.sm, target.name, target.bandwidth_gb_s.theoretical) == (None, "mine", None)
    bandwidth = [rate for rate in probed.rates if rate.what != "product"]
    least, most = target.bandwidth_gb_s.measured
    assert least == pytest.approx(min(rate.median for rate in bandwidth) / 1e9, rel=1e-3)
    assert most == pytest.approx(max(rate.most for rate in bandwidth) / 1e9, rel=1e-3)
    expert = predict(workload(), target, 10).stages["expert"]
    assert expert.likely_ms is not None
    assert expert.floor_ms == pytest.approx(expert.likely_ms[0])


def test_every_rate_is_measured_through_tensorrt_too() -> None:
    """The double, where no GPU is: that compiling, binding, copying and waiting are right, not how fast."""
    settings = EngineSettings("tensorrt", "cuda")
    with gpu_or_double("tensorrt"):
        result = probe(settings, LITTLE)
        target = probed_target("mine", result, settings)
    assert not result.skipped
    assert [rate.kind for rate in result.rates if rate.what == "read"] == ["fp32", "bf16"]
    assert target.int8_tops.measured
    assert target.sm is not None


def test_no_engines_are_built_for_a_processor(probed: Probed, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    write_target(path, probed_target("mine", probed, CPU))
    with pytest.raises(ConfigError, match="target mine is a processor; expected a GPU"):
        select(str(path), None)


def test_a_gpu_keeps_its_data_sheet_beside_what_was_measured(probed: Probed) -> None:
    with gpu_or_double("tensorrt"):
        target = probed_target("mine", probed, EngineSettings("tensorrt", "cuda"))
    assert target.sm is not None
    assert target.bandwidth_gb_s.measured


def test_the_command_writes_the_target_and_says_how_to_use_it(little: None, tmp_path: Path) -> None:  # noqa: ARG001
    code, out, _ = run("--threads", "1", "--out", tmp_path / "cpu.yaml")
    assert code == 0
    assert "Measured by wall-edge probe, ONNX Runtime" in out
    assert "read fp32" in out
    assert f"--target {tmp_path / 'cpu.yaml'}" in out
    assert named_target(str(tmp_path / "cpu.yaml")).recipes == ("fp32",)


def test_a_program_reads_every_rate(little: None) -> None:  # noqa: ARG001
    code, out, _ = run("--json")
    report = json.loads(out)
    assert code == 0
    assert {"engine", "rates", "skipped", "target", "provenance"} == set(report)
    assert {"what", "kind", "shape", "median", "least", "most", "samples"} == set(report["rates"][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "nothing"), "engine 'nothing'; expected onnxruntime or tensorrt"),
        (("--engine", "tensorrt", "--device", "cpu"), "device 'cpu'; expected cuda or cuda:N"),
        (("--device", "gpu"), "device is 'gpu'; expected cpu, cuda or cuda:N"),
        (("--out", "probe.txt"), "--out probe.txt; expected a file NAME.yaml"),
        (("--out", "/none/probe.yaml"), "--out /none/probe.yaml: no such folder"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(arguments: tuple[str, ...], words: str, little: None) -> None:  # noqa: ARG001
    code, out, error = run(*arguments)
    assert (code, out) == (1, "")
    assert words in error


def test_a_kind_that_the_engine_refuses_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    write = measure.write_graph

    def no_int8(folder: Path, layers: object) -> object:
        if getattr(layers, "kind", "") == "int8":
            raise EngineError("no kernel")
        return write(folder, layers)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "write_graph", no_int8)
    result = probe(CPU, LITTLE)
    assert result.skipped == {"int8": "no kernel"}
    target = probed_target("mine", result, CPU)
    assert target.int8_tops.measured == ()
    assert target.fp32_tflops.measured


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measure, "write_graph", full)
    with pytest.raises(
        EngineError, match=r"No space left on device; expected room for .* MB of weights; set TMPDIR"
    ):
        probe(CPU, LITTLE)
