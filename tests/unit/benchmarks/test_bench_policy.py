"""``wall-edge bench policy`` on the shipped policy, and what it says where it cannot measure."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import wall_edge_engines
import yaml
from typer.testing import CliRunner
from wall_edge_engines import EngineSettings
from wall_edge_engines.build.targets.target import named_target

from tests.doubles.gpu import Gpu
from tests.doubles.installed import built_copy, doubles
from tests.unit.board.test_power import monitor
from wall_edge.bench.policy import measure as measure_module
from wall_edge.bench.policy.floors import target_for
from wall_edge.bench.policy.load import OtherLoad
from wall_edge.bench.policy.measure import measure
from wall_edge.bench.policy.rig import PolicyRig
from wall_edge.bench.policy.run import Options, timed_run
from wall_edge.bench.policy.session import LOOP, PREFIX, VISION
from wall_edge.board import Facts, Tree
from wall_edge.bundle import Bundle
from wall_edge.cli import app
from wall_edge.errors import PolicyError, WallEdgeError
from wall_edge.signals import INTERRUPTED
from wall_edge.verification.goldens import synthetic_observation

WORDS = "touch the red block."
ON_GPU = EngineSettings("tensorrt", "cuda")
FLOW_ROWS = {"chunk", "vision", "prefix", "action_loop", "step", "host", "word", "lm_head"}


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["bench", "policy", *map(str, arguments)])
    if isinstance(done.exception, WallEdgeError):
        return 1, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def told(shipped_bundle: Path) -> dict[str, Any]:
    code, out, _ = run(shipped_bundle, "--repeats", "20", "--steps", "4", "--instruction", WORDS, "--json")
    assert code == 0
    return dict(json.loads(out))


def test_every_stage_is_timed_and_said_in_words(told: dict[str, Any]) -> None:
    assert set(told["rows"]) == FLOW_ROWS
    for row in told["rows"].values():
        times = row["ms"]
        assert times["n"] >= 20
        assert 0 < times["least"] <= times["p50"] <= times["p95"]
        assert times["p99"] is None
        assert row["timed"]
    assert "no p99 of 20 times, it would be the largest: take --repeats 100" in told["notes"]
    assert told["rows"]["step"]["ms"]["p50"] == pytest.approx(told["rows"]["action_loop"]["ms"]["p50"] / 4)


def test_what_was_measured_stands_beside_it(told: dict[str, Any], shipped_bundle: Path) -> None:
    bundle = Bundle(shipped_bundle)
    assert told["bundle"] == bundle.digest
    assert (told["recipe"], told["integration_steps"], told["instruction"]) == ("fp32", 4, WORDS)
    assert told["cameras"] == {"face_view": [84, 84], "wrist_view": [84, 84]}
    assert told["prompt_tokens"] > told["image_tokens"] > 0
    assert "ONNX Runtime" in told["engine"]
    for key in ("machine", "versions", "date", "python"):
        assert told[key]


def test_warm_up_and_memory_are_told_apart(told: dict[str, Any]) -> None:
    assert told["warm_up"]["chunks"] == 3
    assert told["warm_up"]["first_chunk_ms"] > 0
    assert told["memory_bytes"]["peak_rss"] > 10e6
    assert told["memory_bytes"]["device_drop"] is None


def test_what_cannot_be_told_here_says_why(told: dict[str, Any]) -> None:
    assert told["predicted_for"] is None
    assert "wall-edge probe --out FILE.yaml" in told["prediction_notes"][0]
    assert told["attention"] is None
    assert "is no TensorRT engine" in told["attention_note"]
    assert told["power"] is None or told["power_note"] == ""


def test_a_quiet_run_is_comparable_and_a_busy_one_cannot_be_overlooked(
    shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OtherLoad, "seconds", 5.0)
    monkeypatch.setattr(OtherLoad, "cores", lambda _self, _peer_s=0.0: 0.1)
    monkeypatch.setattr(measure_module, "read_facts", lambda _: Facts())
    _, out, _ = run(shipped_bundle, "--repeats", "2", "--steps", "1")
    assert "NOT COMPARABLE" not in out
    monkeypatch.setattr(OtherLoad, "cores", lambda _self, _peer_s=0.0: 1.5)
    code, out, _ = run(shipped_bundle, "--repeats", "2", "--steps", "1")
    assert code == 0
    lines = out.strip().splitlines()
    loud = "NOT COMPARABLE: other programs kept 1.5 cores busy: end them and measure again"
    assert lines[0] == lines[-1] == loud
    assert "measured, ms, NOT COMPARABLE" in out


def test_a_person_reads_what_is_timed(shipped_bundle: Path) -> None:
    code, out, _ = run(shipped_bundle, "--repeats", "2", "--steps", "1")
    assert code == 0
    for words in (
        "end to end: from one uint8 frame a camera",
        "warm-up, in no row",
        "2 cameras: face_view 84x84, wrist_view 84x84",
        "1 integration step",
        "power: ",
        "attention fused: not told",
        "floor: left out",
    ):
        assert words in out


def test_with_a_probed_target_each_row_stands_over_its_floor(shipped_bundle: Path, probed: Path) -> None:
    options = ("--repeats", "2", "--steps", "2", "--target", probed)
    code, out, _ = run(shipped_bundle, *options, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["predicted_for"] == "probed"
    assert told["prediction_notes"][0].startswith("floor: ")
    rows = told["rows"]
    assert rows["host"]["predicted_floor_ms"] is None
    for row in (rows[name] for name in FLOW_ROWS - {"host"}):
        low, high = row["predicted_ms"]
        assert 0 < row["predicted_floor_ms"] <= low <= high
        assert row["over_floor"] == pytest.approx(row["ms"]["p50"] / row["predicted_floor_ms"])
        assert row["as_predicted"] is (low <= row["ms"]["p50"] <= high)
    floors = {name: row["predicted_floor_ms"] for name, row in rows.items()}
    assert floors["action_loop"] == pytest.approx(2 * floors["step"])
    assert floors["chunk"] == pytest.approx(floors["vision"] + floors["prefix"] + floors["action_loop"])
    _, out, _ = run(shipped_bundle, *options)
    assert "measured over predicted for probed" in out


@pytest.fixture
def probed(tmp_path: Path) -> Path:
    """A target file as ``wall-edge probe`` leaves one, of a slow processor."""
    ceiling = {"theoretical": None, "theoretical_source": "a test", "measured": [1.0, 2.0]}
    path = tmp_path / "probed.yaml"
    names = ("bandwidth_gb_s", "fp32_tflops", "bf16_tflops", "int8_tops")
    facts = {
        "title": "a processor",
        "sm": None,
        "multiprocessors": None,
        "memory_gib": 8.0,
        "integrated": True,
        "element_types": ["fp32"],
        "recipes": ["fp32"],
        **{name: {**ceiling, "measured_source": "a test"} for name in names},
    }
    path.write_text(yaml.safe_dump(facts))
    return path


@pytest.fixture
def rig(shipped_bundle: Path) -> Iterator[PolicyRig]:
    """With a clock that is read once a second: so many seconds, so many looks at it."""
    bundle = Bundle(shipped_bundle)
    seconds = count()
    engine = wall_edge_engines.load(bundle)
    observation = synthetic_observation(bundle.manifest)
    yield PolicyRig(bundle, engine, observation, WORDS, steps=1, clock=lambda: float(next(seconds)))
    engine.close()


def test_nobody_looks_into_a_chunk_that_is_timed_end_to_end(rig: PolicyRig) -> None:
    assert rig.chunk() == 1


def test_stages_and_the_hosts_share_are_the_whole_chunk(rig: PolicyRig) -> None:
    spent = rig.stages()
    assert spent == {VISION: 1, PREFIX: 2, LOOP: 1, "host": 5}  # the prefix in two runs, as on the robot
    assert rig.stages() == spent


def test_words_are_timed_one_by_one(rig: PolicyRig) -> None:
    words, heads = rig.subgoal(5)
    assert words == heads == [1] * 4


class Speaker:
    """A FAST policy's rig: its words are a chunk, or not."""

    speaks = True

    def __init__(self, refusal: str = "") -> None:
        self._refusal = refusal

    def chunk(self) -> float:
        if self._refusal:
            raise PolicyError(self._refusal)
        return 0.5

    def stages(self) -> dict[str, float]:
        return {"vision": 0.1, "prefix": 0.1, "words": 0.01, "host": 0.01}

    def subgoal(self) -> tuple[list[float], list[float]]:
        return [0.01] * 31, [0.001] * 31


def test_a_chunk_in_words_has_a_row_for_one_of_them() -> None:
    times = timed_run(Speaker(), Options(repeats=2), (), lambda _: None).times  # type: ignore[arg-type]
    assert {name for name, values in times.items() if values} == {
        "chunk", "vision", "prefix", "action_word", "host", "word", "lm_head",
    }  # fmt: skip


def test_words_that_are_no_chunk_are_refused_and_their_stages_stand() -> None:
    speaker: Any = Speaker("token 7 in an action chunk")
    result = timed_run(speaker, Options(repeats=2), (), lambda _: None)
    assert result.refusal == "token 7 in an action chunk"
    assert {name for name, values in result.times.items() if values} == {
        "vision",
        "prefix",
        "word",
        "lm_head",
    }


def test_a_flow_policy_without_a_chunk_ends_the_run() -> None:
    speaker: Any = Speaker("not finite")
    speaker.speaks = False
    with pytest.raises(PolicyError, match="not finite"):
        timed_run(speaker, Options(repeats=2), (), lambda _: None)


def test_power_is_measured_where_rails_are(shipped_bundle: Path, tmp_path: Path) -> None:
    monitor(tmp_path, 0, "ina3221", in1_label="VDD_IN", in1_input="5000", curr1_input="2000")
    options = Options(repeats=2, steps=1, idle_s=0.01)
    report = measure(Bundle(shipped_bundle), EngineSettings(), options, tree=Tree(tmp_path))
    assert report.power["total"].mean_w == pytest.approx(10)
    assert report.power["total"].idle_w == pytest.approx(10)
    assert report.power["total"].joules_a_chunk > 0
    assert report.power_note == ""
    assert report.memory.available_drop is None


def test_monitors_that_say_nothing_are_no_power(shipped_bundle: Path, tmp_path: Path) -> None:
    folder = monitor(tmp_path, 0, "ina3221", in1_label="VDD_IN", in1_input="5000", curr1_input="2000")
    (folder / "in1_input").write_text("")
    options = Options(repeats=2, steps=1, idle_s=0.01)
    report = measure(Bundle(shipped_bundle), EngineSettings(), options, tree=Tree(tmp_path))
    assert report.power == {}
    assert report.power_note == "not readable: no monitor gave values all along"


def test_a_jetson_with_free_clocks_is_not_comparable(shipped_bundle: Path, tmp_path: Path) -> None:
    for name, text in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "115200",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "2201600",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    report = measure(
        Bundle(shipped_bundle), EngineSettings(), Options(repeats=2, steps=1), tree=Tree(tmp_path)
    )
    assert report.comparable is False
    assert "the clocks are not locked: sudo jetson_clocks" in report.not_comparable_because
    assert report.as_dict()["board"]["l4t"] == "36.4.3"
    json.dumps(report.as_dict())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "fast-one"), "expected onnxruntime or tensorrt"),
        (("--device", "gpu"), "device is 'gpu'"),
        (("--device", "cuda"), ""),
        (("--engine", "tensorrt"), ""),
        (("--instruction", "?"), "--instruction '?' holds no words"),
        (("--instruction", ""), "holds no words"),
        (("--instruction", "red " * 300), "tokens"),
        (("--target", "orin-nx-16"), "--target orin-nx-16 is Jetson Orin NX 16 GB, measured is a processor"),
        (("--target", "orin"), "target 'orin'"),
        (("--target", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    shipped_bundle: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, error = run(shipped_bundle, *arguments)
    assert (code, out) == (1, "")
    assert words in error
    assert "\n" not in error.strip()


def test_no_bundle_is_one_sentence(tmp_path: Path) -> None:
    code, _, error = run(tmp_path / "nothing")
    assert code == 1
    assert "nothing" in error


def test_ctrl_c_is_one_line(shipped_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: PolicyRig) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    monkeypatch.setattr(PolicyRig, "chunk", interrupted)
    done = CliRunner().invoke(app, ["bench", "policy", str(shipped_bundle), "--json"])
    assert done.exit_code == INTERRUPTED
    assert done.stdout == ""


@pytest.fixture(scope="module")
def built(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with engines of the double beside it."""
    return built_copy(shipped_bundle, tmp_path_factory.mktemp("built") / "tabletop")


def test_tensorrt_says_its_memory_and_whether_attention_is_fused(built: Path) -> None:
    with doubles(Gpu()) as gpu:
        report = measure(Bundle(built), ON_GPU, Options(repeats=1, warm_up=2, steps=2))
        assert gpu.counts()["bytes"] == 0  # all given back
    assert set(report.rows) == FLOW_ROWS
    assert report.memory.device_drop is not None
    assert report.memory.device_drop > 0
    assert report.memory.device_total == 8 << 30
    fused = {graph: facts["fused"] for graph, facts in report.attention.graphs.items()}
    assert fused == {"vision": "no", "prefix": "no", "expert": "no", "lm_head": "none"}  # float32


def test_a_gpu_is_its_own_target_and_no_other(built: Path, probed: Path) -> None:
    with doubles(Gpu()):
        assert target_for(None, ON_GPU)[0] is named_target("orin-nano-8")  # by its SM and its 8 GB
        assert target_for("orin-nano-8", ON_GPU)[0] is named_target("orin-nano-8")
        for other in ("orin-agx-64", "h100", str(probed)):
            code, _, error = run(built, "--engine", "tensorrt", "--target", other)
            assert code == 1
            assert f"--target {other} is" in error
            assert "measured is Orin (double), SM87" in error
    with doubles(Gpu(sm=75, name="T4")):
        target, why = target_for(None, ON_GPU)
        assert target is None
        assert "no target describes T4" in why


def test_end_to_end_waits_for_a_gpu_once_and_stages_wait_for_each(built: Path) -> None:
    bundle = Bundle(built)
    with doubles(Gpu()) as gpu:
        engine = wall_edge_engines.load(bundle, ON_GPU)
        rig = PolicyRig(bundle, engine, synthetic_observation(bundle.manifest), WORDS, steps=1)
        rig.chunk()
        waits = []
        for timed in (rig.chunk, rig.stages):
            gpu.calls.clear()
            timed()
            waits.append(gpu.calls["cuMemcpyDtoHAsync"])
        assert waits == [1, 4]  # the chunk; vision, the prefix's two runs, the chunk
        del rig
        engine.close()
