"""The parts of the latency benchmark that need neither a model nor the peer."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wall_edge_engines import EngineSettings, load, onnxruntime_cuda

import benchmarks.policy_latency as policy_latency
import benchmarks.random_bundles as random_bundles
from benchmarks.peers.lerobot_process import Peer, PeerChunk, peer_python
from benchmarks.policy_latency import chunk_agreement, measure, spread
from benchmarks.random_bundles import synthetic_observation
from tests.doubles.gpu import Gpu
from tests.doubles.installed import doubles
from tests.doubles.onnxruntime_gpu import OnnxRuntimeGpu
from wall_edge.bench.policy import load as load_module
from wall_edge.bench.policy.load import OtherLoad
from wall_edge.bench.policy.session import TimedSession
from wall_edge.bundle import Bundle, file_digest, joint_layout
from wall_edge.errors import BundleError, ConfigError, EngineError


def _interpreter(folder: Path, script: str) -> Path:
    """A stand-in for the peer's python that ignores which script it is to run."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _peer(python: Path) -> Peer:
    return Peer(python, Path("checkpoint"), Path("inputs.npz"), threads=2, steps=10)


def test_median_and_deciles_are_named_after_their_side() -> None:
    assert spread("peer", [30.0, 10.0, 20.0]) == {"peer_ms": 20.0, "peer_p10_ms": 12.0, "peer_p90_ms": 28.0}


def test_a_side_that_did_not_run_has_no_times() -> None:
    assert spread("peer", []) == {"peer_ms": None, "peer_p10_ms": None, "peer_p90_ms": None}


def test_a_chunk_agrees_with_itself_and_a_scaled_one_differs_in_size_alone() -> None:
    chunk = np.array([[3.0, -4.0], [0.0, 1.0]])
    assert chunk_agreement(chunk, chunk) == {"chunk_cosine": pytest.approx(1.0), "chunk_max_abs": 0.0}
    assert chunk_agreement(chunk, 2 * chunk) == {"chunk_cosine": pytest.approx(1.0), "chunk_max_abs": 4.0}
    assert chunk_agreement(chunk, -chunk)["chunk_cosine"] == pytest.approx(-1.0)


def test_chunks_of_different_shapes_are_not_compared() -> None:
    with pytest.raises(EngineError, match=r"\[3, 2\].*\[2, 3\]"):
        chunk_agreement(np.ones((2, 3)), np.ones((3, 2)))


class _Turns:
    """Both sides at once: keeps the order in which they are asked."""

    def __init__(self, ours_ms: list[float], peer_ms: list[float]) -> None:
        self.order: list[str] = []
        self.actions = np.ones((2, 2))
        self._ours, self._peer = iter(ours_ms), iter(peer_ms)

    def ours(self) -> Any:
        def chunk() -> dict[str, float]:
            self.order.append("ours")
            took = next(self._ours)
            return {"ours": took, "vision": took / 2, "prefix": took / 4, "expert": took / 8}

        return SimpleNamespace(chunk=chunk, actions=self.actions)

    def peer(self) -> Any:
        def chunk() -> PeerChunk:
            self.order.append("peer")
            return PeerChunk(next(self._peer), 0.0, self.actions)

        return SimpleNamespace(chunk=chunk)


def test_both_sides_run_in_turns_and_the_ratio_is_of_medians() -> None:
    turns = _Turns([10.0, 20.0, 90.0], [300.0, 100.0, 200.0])
    row = measure(turns.ours(), turns.peer(), repeats=3)
    assert turns.order == ["peer", "ours"] * 3
    assert (row["ours_ms"], row["peer_ms"], row["ratio"]) == (20.0, 200.0, 10.0)
    assert (row["vision_ms"], row["prefix_ms"], row["expert_ms"]) == (10.0, 5.0, 2.5)
    assert row["chunk_max_abs"] == 0.0


def test_without_a_peer_there_is_neither_a_ratio_nor_an_agreement() -> None:
    row = measure(_Turns([10.0], []).ours(), None, repeats=1)
    assert row["ours_ms"] == 10.0
    assert [row[name] for name in ("peer_ms", "ratio", "chunk_cosine", "chunk_max_abs")] == [None] * 4


def test_the_peer_computes_only_when_asked(tmp_path: Path) -> None:
    script = """
echo '{"versions": {"lerobot": "0.4.4"}}'
count=0
while read _; do
  count=$((count + 1))
  echo "{\\"ms\\": $count, \\"cpu_s\\": 2, \\"chunk\\": [[0.5, $count]]}"
done"""
    with closing(_peer(_interpreter(tmp_path, script))) as peer:
        assert peer.versions == {"lerobot": "0.4.4"}
        for number in (1, 2):
            answer = peer.chunk()
            assert (answer.ms, answer.cpu_s) == (number, 2)
            assert answer.actions.tolist() == [[0.5, number]]


@pytest.mark.parametrize("before", ["", "echo '{\"versions\": {}}'\n", "echo '{\"versions\": {}}'\nread _\n"])
def test_a_peer_that_dies_is_one_error_with_its_exit_code(tmp_path: Path, before: str) -> None:
    python = _interpreter(tmp_path, f"{before}exit 3")
    with pytest.raises(EngineError, match="code 3"), closing(_peer(python)) as peer:
        peer.chunk()


def test_a_folder_that_is_no_environment_is_never_installed_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="no virtual environment"):
        peer_python(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]  # noqa: PTH208


def test_an_installed_peer_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("benchmarks.peers.environment._run", commands.append)
    (tmp_path / "pyvenv.cfg").write_text("")
    assert peer_python(tmp_path) == tmp_path / "bin" / "python"
    assert [command[-1] for command in commands][-1] == "lerobot==0.4.4"
    assert not any("torchvision" in part for command in commands for part in command)
    commands.clear()
    peer_python(tmp_path)
    assert commands == []


def test_a_synthetic_observation_fits_the_cameras_and_repeats_with_its_seed() -> None:
    joints = [f"joint_{number}" for number in range(6)]
    state = joint_layout(joints, (0.0,) * 6, (2.0,) * 6)
    camera = SimpleNamespace(height=50, width=90)
    manifest: Any = SimpleNamespace(cameras={"top": camera}, embodiment=SimpleNamespace(state=state))
    one, same, other = (synthetic_observation(manifest, seed) for seed in (1, 1, 2))
    assert one.frames["top"].shape == (50, 90, 3)
    assert one.frames["top"].dtype == np.uint8
    assert np.array_equal(one.frames["top"], same.frames["top"])
    assert not np.array_equal(one.frames["top"], other.frames["top"])
    assert one.state.shape == (6,)
    assert np.abs(one.state).max() <= 2


@pytest.mark.parametrize(
    ("busy_s", "own_s", "peer_s", "expected"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (20.0, 4.0, 16.0, 0.0),  # both sides, nobody else
        (20.0, 4.0, 11.0, 0.5),
        (20.0, 0.0, 0.0, 2.0),
        (19.9, 4.0, 16.0, 0.0),  # /proc/stat counts in ticks
    ],
)
def test_load_by_others_is_what_neither_side_used(
    monkeypatch: pytest.MonkeyPatch, busy_s: float, own_s: float, peer_s: float, expected: float
) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat = iter(
        ["cpu 70 0 30 5 9 0 0 0 0 0\ncpu0 1 1 1 1\n", f"cpu {70 + busy_s * tick:.0f} 0 30 9 9 0 0 0\n"]
    )
    monkeypatch.setattr(load_module.Path, "read_text", lambda _: next(stat))
    monkeypatch.setattr(load_module.time, "monotonic", iter([100.0, 110.0]).__next__)
    monkeypatch.setattr(load_module.time, "process_time", iter([1.0, 1.0 + own_s]).__next__)
    assert OtherLoad().cores(peer_s) == expected


@pytest.mark.parametrize(("field", "counts"), list(enumerate([1, 1, 1, 0, 0, 1, 1, 1, 0, 0])))
def test_idle_disk_and_guest_time_is_not_load(
    monkeypatch: pytest.MonkeyPatch, field: int, counts: int
) -> None:
    ticks = [0] * 10
    ticks[field] = os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(load_module.Path, "read_text", lambda _: f"cpu  {' '.join(map(str, ticks))}\n")
    assert load_module._busy_s() == counts


@pytest.mark.parametrize(("busy", "doubtful"), [(0.0, False), (0.2, False), (0.21, True), (2.0, True)])
def test_figures_beside_other_load_are_called_doubtful(
    monkeypatch: pytest.MonkeyPatch, busy: float, doubtful: bool
) -> None:
    monkeypatch.setattr(OtherLoad, "cores", lambda _self, _peer_s: busy)
    row = measure(_Turns([10.0], []).ours(), None, repeats=1)
    assert (row["busy_cores"], row["doubtful"]) == (busy, doubtful)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stands in for ``wall-edge export``: keeps its arguments and leaves a digest where the bundle goes."""
    commands: list[str] = []

    def wall_edge(*arguments: object) -> None:
        commands.append(" ".join(map(str, arguments)).replace(f"{tmp_path}/", ""))
        Path(str(arguments[3])).write_text(file_digest(tmp_path / "config.json", tmp_path / "w.safetensors"))

    def bundle(path: Path) -> Any:
        if not path.exists():
            raise BundleError("no bundle")
        return SimpleNamespace(manifest=SimpleNamespace(source=SimpleNamespace(sha256=path.read_text())))

    monkeypatch.setattr(random_bundles, "_wall_edge", wall_edge)
    monkeypatch.setattr(random_bundles, "Bundle", bundle)
    monkeypatch.setattr(random_bundles, "calibration_session", lambda _, folder: folder)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "w.safetensors").write_text("weights")
    return commands


def test_only_a_recipe_that_is_calibrated_gets_calibration_data(exports: list[str], tmp_path: Path) -> None:
    checkpoint, work = tmp_path, tmp_path / "work"
    work.mkdir()
    for precision in ("fp16", "int8"):
        random_bundles.exported(checkpoint, work, precision)
    calibration = "--calibration work/calibration --samples 8 "
    assert [command.removeprefix(f"export {tmp_path} --out ") for command in exports] == [
        "work/fp16 --precision fp16 --json",
        f"work/int8 --precision int8 {calibration}--json",
    ]


def test_a_bundle_is_used_again_until_its_checkpoint_changes(exports: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        random_bundles.exported(tmp_path, tmp_path, "fp32")
    assert len(exports) == 1
    (tmp_path / "w.safetensors").write_text("other weights")
    random_bundles.exported(tmp_path, tmp_path, "fp32")
    assert len(exports) == 2


def test_precisions_are_measured_once_each_in_the_order_given() -> None:
    assert policy_latency._arguments([]).precision == ["fp32", "int8"]
    given = ["--precision", "int8", "--precision", "fp32", "--precision", "int8"]
    assert policy_latency._arguments(given).precision == ["int8", "fp32"]


@pytest.mark.parametrize("option", ["--repeats", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_counts_are_whole_and_positive(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        policy_latency._arguments([option, value])
    assert option in capsys.readouterr().err


def test_a_stage_is_timed_until_a_gpu_has_done_it(
    shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise what vision and prefix enqueue is waited for, and counted, in the integration loop."""
    bundle = Bundle(shipped_bundle)
    manifest = bundle.manifest
    with doubles(Gpu()) as gpu:
        monkeypatch.setattr(onnxruntime_cuda, "require_onnxruntime", lambda: OnnxRuntimeGpu(gpu))
        engine = load(bundle, EngineSettings(device="cuda"))
        session = TimedSession(engine, capacity=8)
        session.encode_images(synthetic_observation(manifest).frames)
        assert all(stream.done == stream.enqueued for stream in gpu.streams.values())
        state = np.zeros(manifest.state_slots, np.float32)
        session.prefill(np.full(5, 30), np.tile(np.arange(5), (3, 1)), state, state)
        assert all(stream.done == stream.enqueued for stream in gpu.streams.values())
        assert set(session.spent) == {"vision", "prefix"}
        engine.close()
