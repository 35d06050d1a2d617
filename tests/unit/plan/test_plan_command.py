"""``wall-edge plan`` as a user calls it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner
from wall_edge_engines.build.targets.target import target_folder
from wall_edge_engines.cuda.driver import DeviceFacts
from wall_edge_export.cli import plan as module

from wall_edge.cli import app
from wall_edge.errors import EngineError, WallEdgeError

ROOT = Path(__file__).parents[3]
TABLETOP = ROOT / "examples" / "tabletop"
ORIN = ("--target", "orin-agx-64")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    if isinstance(done.exception, WallEdgeError):
        return 1, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def target_file(folder: Path, **changes: object) -> Path:
    data = yaml.safe_load((target_folder() / "orin-agx-64.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


def test_a_person_reads_times_memory_rates_and_what_to_take() -> None:
    code, out, _ = run("tiny", *ORIN, "--precision", "bf16")
    assert code == 0
    assert "predicted, not measured: tiny in bf16, 3 cameras" in out
    for words in (
        "vision",
        "one step",
        "chunk rate, predicted",
        "memory to run, predicted",
        "the device has",
    ):
        assert words in out
    assert "rates of a robot of default settings: async holds" in out
    assert "recommended: bf16, 10 steps" in out


def test_a_program_reads_json() -> None:
    code, out, _ = run("tiny", *ORIN, "--cameras", "2", "--steps", "4", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["predicted"], report["cameras"], report["integration_steps"]) == (True, 2, 4)
    assert (report["recipe"], report["fits"]) == ("bf16", True)


def test_cameras_by_name_and_longer_prompts_count() -> None:
    one = json.loads(run("tiny", *ORIN, "--cameras", "face_view", "--json")[1])
    long = json.loads(run("tiny", *ORIN, "--cameras", "face_view", "--prompt-tokens", "500", "--json")[1])
    assert (one["cameras"], long["prompt_tokens"]) == (1, 500)
    assert long["stages"]["prefix"]["operations"] > one["stages"]["prefix"]["operations"]


def test_a_checkpoint_with_its_robot() -> None:
    robot = TABLETOP / "robot.yaml"
    code, out, _ = run(TABLETOP / "checkpoint", "--robot", robot, *ORIN, "--precision", "fp32")
    assert code == 0
    assert "2 cameras" in out
    assert "rates of ROBOT.yaml: async holds" in out


def test_a_bundle_needs_no_torch(shipped_bundle: Path) -> None:
    code = (
        "import sys; from wall_edge.cli import app; sys.modules['torch'] = None; "
        f"app(['plan', {str(shipped_bundle)!r}, '--target', 'thor', '--json'], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert (report["recipe"], report["cameras"], report["target"]) == ("fp32", 2, "thor")


def test_what_does_not_fit_is_planned_then_refused_with_the_arithmetic(tmp_path: Path) -> None:
    small = target_file(tmp_path, memory_gib=1)
    code, out, error = run("tiny", "--target", small, "--precision", "bf16", "--json")
    report = json.loads(out)
    assert code == 1
    assert (report["fits"], report["target"]) == (False, "mine")
    assert report["refusal"] in error
    assert "CUDA and system 2.00 GB" in error
    assert "export a smaller recipe: --precision int8-int4" in error


def test_swap_is_given_in_gib() -> None:
    assert module._device("orin-nano-8", 2.5).swap_bytes == 5 << 29


def test_a_target_without_the_type_is_refused_as_build_does(tmp_path: Path) -> None:
    old = target_file(tmp_path, sm=75, element_types=["fp32", "fp16"], recipes=["fp32"])
    code, _, error = run("tiny", "--target", old, "--precision", "bf16")
    assert code == 1
    assert "bf16 does not exist on" in error
    assert "(SM75)" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "nothing: no such folder; expected a bundle (a folder with manifest.yaml), a"),
        ((str(ROOT / "docs"),), "a folder without either; expected a bundle"),
        (("/nowhere/bundle",), "/nowhere/bundle: no such folder; expected a bundle (a folder"),
        (("~nobody-here/bundle",), "~nobody-here/bundle: no such folder; expected a bundle"),
        (("tiny", "--cameras", "4"), "4 cameras; expected 1 to 3"),
        (("tiny", "--cameras", "0"), "0 cameras; expected 1 to 3"),
        (("tiny", "--cameras", "a,,b"), "--cameras 'a,,b'; expected a number, or names"),
        (("tiny", "--precision", "bf17"), "precision 'bf17'; expected"),
        (("tiny", "--precision", "auto"), "--precision auto; expected a recipe"),
        (("tiny", "--prompt-tokens", "3"), "a prompt of 3 tokens; expected more than the images'"),
        (("tiny", "--robot", "/none.yaml"), "/none.yaml: No such file"),
        (("tiny-fast", "--steps", "4"), "--steps 4 for a FAST policy; expected a flow policy"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    code, out, error = run(*arguments, *ORIN)
    assert (code, out) == (1, "")
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "option", [("--swap-gib", "inf"), ("--swap-gib", "1e300"), ("--steps", "0"), ("--steps", "1001")]
)
def test_a_number_that_no_device_and_no_bundle_has_is_refused(option: tuple[str, str]) -> None:
    assert run("tiny", *ORIN, *option)[0] == 2


def test_words_for_actions_have_no_integration_steps() -> None:
    report = json.loads(run("tiny-fast", *ORIN, "--precision", "bf16", "--json")[1])
    assert (report["integration_steps"], report["recommendation"]["steps"]) == (None, None)
    assert set(report["stages"]) == {"vision", "prefix", "lm_head"}
    assert "steps" not in run("tiny-fast", *ORIN, "--precision", "bf16")[1]


def test_small_figures_are_not_0() -> None:
    _, out, _ = run("tiny", "--target", "h100", "--precision", "bf16")
    assert re.search(r"[^\d.]0(\.0+)? (ms (and|to)|G|MB|GB/s) ", out) is None


def test_a_bundle_has_its_own_recipe(shipped_bundle: Path) -> None:
    """Another one was taken without a word, and the plan was of the bundle's."""
    code, out, error = run(shipped_bundle, *ORIN, "--precision", "int4-weights")
    assert (code, out) == (1, "")
    assert "--precision int4-weights for a bundle; expected fp32; plan the checkpoint" in error
    assert run(shipped_bundle, *ORIN, "--precision", "fp32")[0] == 0


@pytest.mark.parametrize("figure", [1e-320, 1e-7, 1e7])
def test_a_measured_figure_that_makes_no_time_is_refused(tmp_path: Path, figure: float) -> None:
    ceiling = {
        "theoretical": None,
        "theoretical_source": "-",
        "measured": [figure, figure],
        "measured_source": "-",
    }
    code, _, error = run("tiny", "--target", target_file(tmp_path, bandwidth_gb_s=ceiling))
    assert code == 1
    assert "bandwidth_gb_s.measured[0] is" in error


def test_a_bundle_has_its_own_cameras(shipped_bundle: Path) -> None:
    assert run(shipped_bundle, *ORIN, "--cameras", "2")[0] == 0
    assert run(shipped_bundle, *ORIN, "--cameras", "wrist_view,face_view")[0] == 0
    code, _, error = run(shipped_bundle, *ORIN, "--cameras", "1")
    assert code == 1
    assert "other cameras for a bundle; expected its face_view, wrist_view" in error


def test_without_target_and_gpu_all_targets_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> DeviceFacts:
        raise EngineError("no NVIDIA driver; install one")

    monkeypatch.setattr(module, "device_at_hand", no_gpu)
    code, _, error = run("tiny")
    assert code == 1
    assert "no NVIDIA driver; expected a GPU at hand, or --target h100, orin-agx-32" in error


def test_the_gpu_at_hand_is_planned_for_with_the_memory_that_it_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = DeviceFacts("Orin", 87, 15 << 30, integrated=True, driver="12.6")
    monkeypatch.setattr(module, "device_at_hand", lambda: facts)
    report = json.loads(run("tiny", "--precision", "bf16", "--json")[1])
    assert (report["target"], report["device_memory_bytes"]) == ("orin-nx-16", 15 << 30)
