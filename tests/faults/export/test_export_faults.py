"""Exports that are killed, starved or fed nonsense: no half bundle, no work twice, one line that says why."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from wall_edge_export.bundle import workspace as workspace_module
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.bundle.pipeline import export_bundle
from wall_edge_export.bundle.workspace import partial_folder
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.onnx import write_weights as emit
from wall_edge_export.quantize.precision import load_recipe

from wall_edge.bundle import Bundle, file_digest
from wall_edge.errors import BundleError, CheckpointError
from wall_edge.policies.prompts import Prompts
from wall_edge.signals import INTERRUPTED

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
Export = Callable[..., Any]
TOWER = "visual.blocks"
MLP = f"{TOWER}.0.mlp"


@pytest.fixture(scope="module")
def whole(
    export_once_traced: Export, slim_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What an export that nothing happens to writes; read-only."""
    out = tmp_path_factory.mktemp("whole") / "bundle"
    export_once_traced(Checkpoint(slim_checkpoint), out)
    return out


@pytest.fixture
def altered(slim_checkpoint: Path, tmp_path: Path) -> Callable[..., Checkpoint]:
    """The slim checkpoint with some of its tensors changed."""

    def alter(**changes: Callable[[torch.Tensor], torch.Tensor]) -> Checkpoint:
        folder = tmp_path / "altered"
        shutil.copytree(slim_checkpoint, folder, dirs_exist_ok=True)
        weights = load_file(folder / "model.safetensors")
        for name, change in changes.items():
            weights[name] = change(weights[name].clone())
        save_file(weights, folder / "model.safetensors")
        return Checkpoint(folder)

    return alter


def files(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in folder.iterdir()}


def stamps(folder: Path, *names: str) -> dict[str, tuple[int, int]]:
    """Inode and time of last change: the same as long as nobody writes the file again."""
    found = {name: (folder / name).stat() for name in names}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def interrupted_at(stage: str) -> Callable[[str], None]:
    def progress(text: str) -> None:
        if text == stage:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    ("stage", "finished"),
    [
        ("calibration", ["tokenizer.json"]),
        ("prefix", ["tokenizer.json", "vision.onnx", "vision.data"]),
        ("goldens", ["vision.data", "prefix.data", "lm_head.data", "expert.onnx", "expert.data"]),
    ],
)
def test_a_rerun_continues_where_the_first_was_interrupted(
    export_once_traced: Export,
    slim_checkpoint: Path,
    whole: Path,
    tmp_path: Path,
    stage: str,
    finished: list[str],
) -> None:
    out, told = tmp_path / "bundle", []
    with pytest.raises(KeyboardInterrupt):
        export_once_traced(Checkpoint(slim_checkpoint), out, progress=interrupted_at(stage))
    assert not out.exists()
    before = stamps(partial_folder(out), *finished)
    export_once_traced(Checkpoint(slim_checkpoint), out, progress=told.append)
    assert stamps(out, *finished) == before
    assert any(text.startswith("resuming after") for text in told)
    assert files(out) == files(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_calibration_is_not_done_twice(
    export_once_traced: Export, slim_checkpoint: Path, session_data: Path, tmp_path: Path
) -> None:
    request = ExportOptions("int8", calibration=session_data, samples=8)
    told: dict[str, list[str]] = {"clean": [], "first": [], "rerun": []}
    clean, out = tmp_path / "clean", tmp_path / "bundle"
    export_once_traced(Checkpoint(slim_checkpoint), clean, request, told["clean"].append)

    def progress(text: str) -> None:
        told["first"].append(text)
        interrupted_at("vision")(text)

    with pytest.raises(KeyboardInterrupt):
        export_once_traced(Checkpoint(slim_checkpoint), out, request, progress)
    export_once_traced(Checkpoint(slim_checkpoint), out, request, told["rerun"].append)
    assert "decoder layer 1/1" in told["first"]
    assert "decoder layer 1/1" not in told["rerun"]
    assert files(out) == files(clean)


@pytest.mark.parametrize("change", ["recipe", "weights", "vocabulary", "samples"])
def test_other_wishes_start_afresh(
    export_once_traced: Export,
    slim_checkpoint: Path,
    altered: Callable[..., Checkpoint],
    session_data: Path,
    tmp_path: Path,
    change: str,
) -> None:
    (words := tmp_path / "words.txt").write_text("touch the red block.\n")
    eight = ExportOptions("int8-weights", calibration=session_data, samples=8)
    checkpoints, requests = [Checkpoint(slim_checkpoint)] * 2, [eight, eight]
    if change == "weights":
        checkpoints[1] = altered(**{"lm_head.weight": lambda w: w + 1e-3})
    else:
        options = {
            "recipe": {"precision": "fp16"},
            "vocabulary": {"vocabulary": words},
            "samples": {"samples": 9},
        }
        requests[1] = ExportOptions(**{**vars(eight), **options[change]})
    out, told = tmp_path / "bundle", []
    with pytest.raises(KeyboardInterrupt):
        export_once_traced(checkpoints[0], out, requests[0], interrupted_at("prefix"))
    before = stamps(partial_folder(out), "vision.data")
    manifest = export_once_traced(checkpoints[1], out, requests[1], told.append)
    assert stamps(out, "vision.data") != before
    assert not any(text.startswith("resuming") for text in told)
    assert manifest.recipe == requests[1].precision
    Bundle(out)


def wall_edge_export(checkpoint: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wall_edge", "export", str(checkpoint), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--robot", str(ROBOT), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process: subprocess.Popen[str], out: Path, step: str, seconds: float = 400.0) -> None:
    """Until the journal says that a step is finished."""
    journal, deadline = partial_folder(out) / "journal.json", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended before {step}: {process.communicate()}")
        if journal.is_file() and step in json.loads(journal.read_text())["steps"]:
            return
        time.sleep(0.02)
    raise AssertionError(f"never finished {step}")


@pytest.mark.timeout(900)
def test_kill_9_leaves_the_earlier_bundle_and_what_was_finished(
    export_once_traced: Export, slim_checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    out, clean = tmp_path / "bundle", tmp_path / "clean"
    shutil.copytree(whole, out)
    process = wall_edge_export(slim_checkpoint, out, "--precision", "fp16")
    wait_for_step(process, out, "vision")
    process.kill()
    process.communicate(timeout=60)
    assert files(out) == files(whole)
    Bundle(out)
    before = stamps(partial_folder(out), "vision.onnx", "vision.data")
    export_once_traced(Checkpoint(slim_checkpoint), out, ExportOptions("fp16"))
    assert stamps(out, *before) == before
    export_once_traced(Checkpoint(slim_checkpoint), clean, ExportOptions("fp16"))
    assert files(out) == files(clean)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "clean"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_one_line_and_a_rerun_finishes(
    slim_checkpoint: Path, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "bundle"
    process = wall_edge_export(slim_checkpoint, out)
    wait_for_step(process, out, "files")
    process.send_signal(number)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {".bundle.partial"}
    if number == signal.SIGTERM:  # one rerun through the command line is enough
        return
    before = stamps(partial_folder(out), "tokenizer.json")
    rerun = wall_edge_export(slim_checkpoint, out, "--json")
    output, errors = rerun.communicate(timeout=600)
    assert rerun.returncode == 0, errors
    assert json.loads(output)["recipe"] == "fp32"
    assert stamps(out, *before) == before
    assert files(out) == files(whole)


def test_two_exports_to_one_place(
    export_once_traced: Export, slim_checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    out, tried = tmp_path / "bundle", []

    def rival(text: str) -> None:
        if text == "prefix":
            with pytest.raises(BundleError, match="another export is writing there"):
                export_once_traced(Checkpoint(slim_checkpoint), out, ExportOptions("fp16"))
            tried.append(text)

    export_once_traced(Checkpoint(slim_checkpoint), out, progress=rival)
    assert tried
    assert files(out) == files(whole)


def test_a_disk_without_room_is_found_before_anything_is_done(
    export_once_traced: Export, slim_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    full = shutil._ntuple_diskusage(10**12, 10**12, 10**6)  # type: ignore[attr-defined]
    monkeypatch.setattr(workspace_module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(
        BundleError, match=r"0\.00 GB free; expected 0\.\d\d GB for the bundle; free some room"
    ):
        export_once_traced(Checkpoint(slim_checkpoint), tmp_path / "bundle", progress=told.append)
    assert told == ["checkpoint"]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_on_the_way(
    export_once_traced: Export,
    slim_checkpoint: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, write = tmp_path / "bundle", emit.DataFile._write

    def full(self: emit.DataFile, data: bytes | memoryview) -> None:
        if self.path.name == "prefix.data" and self._size > 1 << 19:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(emit.DataFile, "_write", full)
        with pytest.raises(BundleError, match=r"No space left on device.*a rerun resumes") as refused:
            export_once_traced(Checkpoint(slim_checkpoint), out)
    assert "\n" not in str(refused.value)
    assert not out.exists()
    before = stamps(partial_folder(out), "vision.data")
    export_once_traced(Checkpoint(slim_checkpoint), out)
    assert stamps(out, "vision.data") == before
    assert files(out) == files(whole)


def poisoned(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """One value of a tensor replaced, not the first."""

    def change(weight: torch.Tensor) -> torch.Tensor:
        weight.view(-1)[weight.numel() // 2] = value
        return weight

    return change


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name",
    [
        f"{MLP}.gate_proj.weight",
        "visual.merger.ln_q.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.embed_tokens.weight",
        "model.layers.0.moe.experts.1.up_proj.weight",
        "lm_head.weight",
        "action_preprocessor.w1.weight",
    ],
)
def test_a_weight_that_is_not_finite_is_named(
    export_once_traced: Export, altered: Callable[..., Checkpoint], tmp_path: Path, name: str, value: float
) -> None:
    with pytest.raises(CheckpointError, match=f"tensor {name} holds values that are not finite"):
        export_once_traced(altered(**{name: poisoned(value)}), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("value", [70000.0, -65600.0])
def test_a_weight_beyond_half_precision_is_named(
    export_once_traced: Export, altered: Callable[..., Checkpoint], tmp_path: Path, value: float
) -> None:
    name, out = "model.layers.0.moe.experts.0.down_proj.weight", tmp_path / "bundle"
    checkpoint = altered(**{name: poisoned(value)})
    with pytest.raises(CheckpointError, match=rf"{name} holds values up to .*65504 in fp16.*fp32"):
        export_once_traced(checkpoint, out, ExportOptions("fp16"))
    assert not out.exists()
    export_once_traced(checkpoint, out, ExportOptions("bf16"))
    Bundle(out)


def test_activations_beyond_half_precision_are_found_at_export(
    export_once_traced: Export, altered: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    """No CPU would show it: there, half-precision products are computed in single."""
    checkpoint = altered(
        **{f"{MLP}.up_proj.weight": lambda w: w * 3e4, f"{MLP}.gate_proj.weight": lambda w: w * 30}
    )
    with pytest.raises(CheckpointError, match=rf"layer {MLP}\.\w+ reaches .*65504 in fp16"):
        export_once_traced(checkpoint, tmp_path / "bundle", ExportOptions("fp16"))
    assert not (tmp_path / "bundle").exists()
    export_once_traced(checkpoint, tmp_path / "bundle", ExportOptions("bf16"))


def test_a_residual_beyond_half_precision_is_found_at_export(
    export_once_traced: Export, altered: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    """Attention and MLP each add what half precision holds; it does not hold their sum."""
    biases = [f"{TOWER}.0.{layer}.bias" for layer in ("attn.proj", "mlp.down_proj")]
    checkpoint = altered(**dict.fromkeys(biases, lambda bias: bias * 0 + 40000))
    recipe = tmp_path / "narrow.yaml"
    plain = {graph: families for graph, families in load_recipe("fp32").as_dict().items() if graph != "name"}
    recipe.write_text(yaml.safe_dump({**plain, "vision": {**plain["vision"], "activations": "fp16"}}))  # type: ignore[dict-item]
    with pytest.raises(CheckpointError, match=rf"layer {TOWER}\.\d reaches .*65504 in fp16.*bf16"):
        export_once_traced(checkpoint, tmp_path / "bundle", ExportOptions(str(recipe)))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_activations_that_are_not_finite(
    export_once_traced: Export,
    altered: Callable[..., Checkpoint],
    session_data: Path,
    tmp_path: Path,
    precision: str,
) -> None:
    """Finite weights whose products are not: calibration finds it, or else the goldens do."""
    huge = {f"{MLP}.{name}_proj.weight": lambda w: w * 1e25 for name in ("gate", "up")}
    request = ExportOptions(precision, calibration=session_data, samples=8)
    named = rf"{MLP}\.down_proj" if precision == "int8" else "altered: its weights give logits"
    with pytest.raises(CheckpointError, match=rf"{named}.* not finite"):
        export_once_traced(altered(**huge), tmp_path / "bundle", request)
    assert not (tmp_path / "bundle").exists()


def test_an_out_that_is_no_bundle_is_untouched(
    export_once_traced: Export, slim_checkpoint: Path, tmp_path: Path
) -> None:
    (out := tmp_path / "photos").mkdir()
    (out / "cat.png").write_bytes(b"cat")
    with pytest.raises(BundleError, match="is no bundle"):
        export_once_traced(Checkpoint(slim_checkpoint), out)
    assert files(tmp_path / "photos").keys() == {"cat.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_stored_padding_changes_no_prompt_of_a_bundle(
    export_once_traced: Export, slim_checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    """C1: transformers stores whatever its last padded call used; a chunk was off by 70 %."""
    folder = Path(shutil.copytree(slim_checkpoint, tmp_path / "padded"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_to_multiple_of=8, direction="left")
    tokenizer.enable_truncation(16)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "tokenizer.json").read_text())["padding"]["pad_to_multiple_of"] == 8
    out = tmp_path / "bundle"
    export_once_traced(Checkpoint(folder), out)
    bundles = [Bundle(path) for path in (whole, out)]
    for words in ("touch the red block.", "go", "touch the blue block, then the red block."):
        action, subgoal = (
            [getattr(Prompts.of(b), kind)(words) for b in bundles] for kind in ("action", "subgoal")
        )
        for one, other in (action, subgoal):
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.positions, other.positions)
    assert bundles[0].goldens.keys() == bundles[1].goldens.keys()
    for name, values in bundles[0].goldens.items():
        np.testing.assert_array_equal(values, bundles[1].goldens[name])


@pytest.mark.parametrize(
    ("wording", "camera", "instruction"),
    [("lerobot", "cam_high view", " go ."), ("upstream", "cam_high", " go ")],
)
def test_a_bundle_says_whose_words_its_prompts_are_in(
    traced_once: Callable[[], Any],
    slim_checkpoint: Path,
    tmp_path: Path,
    wording: str,
    camera: str,
    instruction: str,
) -> None:
    """C2: and bundles from before it was said go on as they were."""
    folder, out = Path(shutil.copytree(slim_checkpoint, tmp_path / "checkpoint")), tmp_path / "bundle"
    config = json.loads((folder / "config.json").read_text())
    view = config["wall_edge"]["cameras"].pop("face_view")
    config["wall_edge"]["cameras"]["cam_high"] = view
    config["wall_edge"]["prompt_wording"] = wording
    (folder / "config.json").write_text(json.dumps(config))
    with traced_once():
        export_bundle(Checkpoint(folder), out)

    def text(camera: str, instruction: str) -> str:
        image = "<|vision_start|>" + "<|image_pad|>" * 9 + "<|vision_end|>"
        wrist = "wrist_view" if wording == "upstream" and camera == "cam_high" else "wrist view"
        return (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nObservation:"
            f" {wrist}: {image} {camera}: {image}"
            f"\nInstruction: {instruction}\nPredict the next action in robot action.\n"
            "Proprioception: <|propri|>\n<|im_end|>\n<|im_start|>assistant\n"
        )

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bundle = Bundle(out)
    assert bundle.manifest.prompt_wording == wording
    assert Prompts.of(bundle).action(" go ").ids.tolist() == tokenizer.encode(text(camera, instruction)).ids
    manifest = (out / "manifest.yaml").read_text().replace(f"prompt_wording: {wording}\n", "")
    (out / "manifest.yaml").write_text(manifest)
    (out / "manifest.sha256").write_text(f"{file_digest(out / 'manifest.yaml')}  manifest.yaml\n")
    assert (
        Prompts.of(Bundle(out)).action(" go ").ids.tolist()
        == tokenizer.encode(text("cam high view", "go.")).ids
    )
