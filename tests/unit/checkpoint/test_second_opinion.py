"""A second opinion at export (issue 9, 4): an independent path sees what our own reader overlooks.

A reader's fault is made here by damaging a checkpoint's files after the reader has read them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner
from wall_edge_export.bundle.pipeline import export_bundle
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.opinion.check import INSTRUCTIONS, second_opinion

from wall_edge.bundle import Bundle, Manifest, SecondOpinion, describe_opinion, file_digest, write_manifest
from wall_edge.cli import app
from wall_edge.config import RobotConfig
from wall_edge.errors import BundleError, CheckpointError
from wall_edge.policies.prompt_text import PromptTokenizer

Json = dict[str, Any]
Open = Callable[..., ExportInputs]

EVERYTHING = ("image-token counts", "pixel values", "prompt ids and camera words")
PREPROCESSOR, NESTED = "preprocessor_config.json", "processor_config.json"


@pytest.fixture(autouse=True)
def with_transformers() -> None:
    pytest.importorskip("transformers", minversion="4.57", reason="the extra check is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """No test of this file may so much as ask for a network address."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield asked
    assert asked == []


@pytest.fixture
def folder(slim_checkpoint: Path, tmp_path: Path) -> Path:
    """The tabletop's checkpoint with one layer, to damage."""
    return Path(shutil.copytree(slim_checkpoint, tmp_path / "checkpoint"))


@pytest.fixture
def opened(folder: Path) -> Open:
    """Opens the checkpoint in :func:`folder`; ``block`` changes config.json's own block before."""

    def open_it(**block: Any) -> ExportInputs:
        edit(folder, lambda config: config["wall_edge"].update(block), "config.json")
        return ExportInputs.open(Checkpoint(folder), None)

    return open_it


def edit(folder: Path, change: Callable[[Json], object], name: str = PREPROCESSOR) -> None:
    path = folder / name
    data = json.loads(path.read_text()) if path.exists() else {}
    change(data)
    path.write_text(json.dumps(data))


def ask(source: ExportInputs, instruction: str = "touch the red block.") -> SecondOpinion:
    found = second_opinion(source, instruction)
    assert found is not None
    return found


def refused(source: ExportInputs, instruction: str = "touch the red block.") -> str:
    with pytest.raises(CheckpointError) as error:
        second_opinion(source, instruction)
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    return str(error.value)


# Agreement


def test_the_shipped_policy(robot: RobotConfig, folder: Path) -> None:
    found = ask(ExportInputs.open(Checkpoint(folder), robot))
    assert found.compared == EVERYTHING
    assert found.not_compared == {}
    assert found.flavour == "lerobot"  # as its config.json says
    assert found.instructions == ("touch the red block.", *INSTRUCTIONS)
    assert found.largest_pixel_difference is not None
    assert found.largest_pixel_difference < 1e-5  # rounding to float32; a grey level is 0.014
    assert set(found.tools) == {"transformers", "tokenizers", "pillow"}


@pytest.mark.parametrize("wording", ["lerobot", "upstream", "wall-edge"])
def test_cameras_of_any_name_and_size(opened: Open, wording: str) -> None:
    """C2: each flavour's camera words and full stop; larger, smaller, upright, wide and tiny frames."""
    cameras = {
        "cam_high": {"width": 320, "height": 240},
        "face_view": {"width": 90, "height": 160},
        "left_side_view": {"width": 53, "height": 31, "resolution": 84},
        "observer": {"width": 400, "height": 100, "resolution": 128},
    }
    found = ask(opened(prompt_wording=wording, cameras=cameras), "  stack the 2 cups ")
    assert (found.compared, found.flavour) == (EVERYTHING, wording)


def test_padding_stored_in_the_tokenizer(folder: Path, opened: Open) -> None:
    """C1: both readers take a prompt to be exactly its tokens."""
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": 8, "pad_id": 0}
    padding |= {"pad_type_id": 0, "pad_token": "<|endoftext|>"}
    edit(folder, lambda data: data.update(padding=padding), "tokenizer.json")
    assert ask(opened()).compared == EVERYTHING


def test_a_setting_without_effect_is_no_difference(folder: Path, opened: Open) -> None:
    source = opened()
    edit(folder, lambda data: data.update(resample=2))  # frames come in whole patches: nothing is resized
    assert ask(source).compared == EVERYTHING


def test_settings_nested_as_transformers_5_keeps_them(folder: Path, opened: Open) -> None:
    """C3: the nested form is compared, too."""
    source = opened()
    (folder / NESTED).write_text(
        json.dumps({"image_processor": json.loads((folder / PREPROCESSOR).read_text())})
    )
    (folder / PREPROCESSOR).unlink()
    assert ask(source).compared == EVERYTHING


# Disagreement: each compared thing


@pytest.mark.parametrize("file", [PREPROCESSOR, NESTED])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_pixels": 3136}, "9 image tokens, a grid of [6, 6] patches; expected 4, a grid of [4, 4]"),
        ({"min_pixels": 40_000}, "9 image tokens, a grid of [6, 6] patches; expected 64, a grid of [16, 16]"),
        ({"min_pixels": 10**15}, "images of at least 1e+15 pixels; expected at most 3211264"),
        (
            {"min_pixels": None, "max_pixels": None, "size": {"shortest_edge": 784, "longest_edge": 3136}},
            "expected 4, a grid of [4, 4]",
        ),
        ({"image_mean": [0.5, 0.5, 0.5]}, "pixel values differ by up to 0.33"),
        ({"image_std": [0.27, 0.26, 0.28]}, "pixel values differ by up to 0.0"),
        ({"rescale_factor": 1 / 127.5}, "pixel values differ"),
        ({"do_rescale": False}, "pixel values differ"),
        ({"do_normalize": False}, "pixel values differ"),
        ({"patch_size": 28}, "patch_size is 28; expected 14"),
        ({"patch_size": 10**12}, "patch_size is 1000000000000; expected 14"),
        ({"merge_size": 1}, "merge_size is 1; expected 2"),
        ({"temporal_patch_size": 1}, "temporal_patch_size is 1; expected 2"),
        ({"image_processor_type": "CLIPImageProcessor"}, "image_processor_type is CLIPImageProcessor"),
    ],
)
def test_another_image_processor(folder: Path, opened: Open, file: str, settings: Json, said: str) -> None:
    """C3: the size, the mean and every other key that changes pixels or their number."""
    source = opened()
    if file == NESTED:
        shutil.copy(folder / PREPROCESSOR, folder / NESTED)
        edit(folder, lambda data: data.update(image_processor=dict(data) | settings), NESTED)
    else:
        edit(folder, lambda data: data.update(settings))
    message = refused(source)
    assert said in message
    assert file in message


def test_a_bilinear_processor_that_resizes(
    folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: the same count of tokens, but pixels resampled by another filter."""
    cameras = {"face_view": {"width": 84, "height": 84, "resolution": 56}}
    source = opened(cameras=cameras)
    monkeypatch.setattr(
        "wall_edge_export.opinion.images.scaled_frame",
        lambda frame, _: Image.fromarray(frame),
    )
    edit(folder, lambda data: data.update(max_pixels=3136, resample=2))
    assert "pixel values differ" in refused(source)
    edit(folder, lambda data: data.update(max_pixels=3136, resample=3))
    assert ask(source).compared == EVERYTHING


def test_tokens_that_only_transformers_adds(folder: Path, opened: Open) -> None:
    source = opened()
    token = {"content": " red", "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    token["single_word"] = False
    edit(folder, lambda data: data.update(added_tokens_decoder={"413": token}), "tokenizer_config.json")
    message = refused(source)
    assert "expected 413 (' red')" in message
    assert "of the prompt for actions, 'touch the red block.', is" in message


def test_a_tokenizer_with_other_merges(folder: Path, opened: Open, tmp_path: Path) -> None:
    other = Path(shutil.copy(folder / "tokenizer.json", tmp_path))
    edit(tmp_path, lambda data: data["model"].update(merges=data["model"]["merges"][:40]), "tokenizer.json")
    message = refused(replace(opened(), tokenizer=PromptTokenizer(other)))
    assert "token " in message
    assert "of the prompt for actions" in message


def test_a_wrong_camera_word(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: "cam high view" where LeRobot says "cam_high view", as our own reader and its test once had it."""
    source = opened(prompt_wording="lerobot", cameras={"cam_high": {"width": 84, "height": 84}})
    monkeypatch.setattr("wall_edge.policies.prompt_text.view_name", lambda *_: "cam high view")
    message = refused(source)
    assert "the prompt calls camera cam_high 'cam high view'; expected 'cam_high view' (lerobot)" in message


def test_a_wrong_full_stop(opened: Open) -> None:
    """C2: LeRobot ends an instruction with one, upstream does not."""
    source = opened(prompt_wording="upstream", cameras={"face_view": {"width": 84, "height": 84}})
    source.checkpoint.config["wall_edge"]["prompt_wording"] = "lerobot"
    assert "of the prompt for actions, 'touch it', is" in refused(source, "touch it")


def test_padding_that_is_not_reset(opened: Open) -> None:
    """C1: what our reader once did with padding stored in tokenizer.json."""
    source = opened()
    source.tokenizer._tokenizer.enable_padding(pad_to_multiple_of=64)
    message = refused(source)
    assert "of the prompt for actions, 'touch the red block.', is 0 ('<|endoftext|>')" in message


def test_a_refused_export_writes_nothing(folder: Path, tmp_path: Path, robot: RobotConfig) -> None:
    token = {"content": " red", "special": False}
    edit(folder, lambda data: data.update(added_tokens_decoder={"413": token}), "tokenizer_config.json")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="expected 413"):
        export_bundle(Checkpoint(folder), tmp_path / "bundle", robot)
    assert sorted(tmp_path.rglob("*")) == before


# Nothing to compare, or nobody


def test_no_settings_of_an_image_processor(folder: Path, opened: Open) -> None:
    source = opened()
    (folder / PREPROCESSOR).unlink()
    found = ask(source)
    assert found.compared == ("prompt ids and camera words",)
    reason = found.not_compared["image-token counts and pixel values"]
    assert reason == f"the checkpoint has no {PREPROCESSOR} or {NESTED}"
    assert f"not compared: image-token counts and pixel values ({reason})" in describe_opinion(found)


def test_what_transformers_cannot_open_is_not_compared(folder: Path, opened: Open) -> None:
    source = opened()
    edit(folder, lambda data: data.update(added_tokens_decoder={"x": 3}), "tokenizer_config.json")
    edit(folder, lambda data: data.update(image_mean=[0.5]))
    found = ask(source)
    assert found.compared == ()
    assert "transformers cannot use its tokenizer: " in found.not_compared["prompt ids and camera words"]
    assert "transformers cannot use its processor: " in describe_opinion(found)
    assert "compared nothing" in describe_opinion(found)


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000, '{"a": 1, "a": 2}'])
@pytest.mark.parametrize("name", ["tokenizer_config.json", PREPROCESSOR, NESTED, "added_tokens.json"])
def test_a_damaged_file_is_named(folder: Path, opened: Open, name: str, content: str) -> None:
    source = opened()
    (folder / name).write_text(content)
    assert name in refused(source)


def test_without_transformers_nobody_checked(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened()
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert second_opinion(source, "touch the red block.") is None
    assert "nobody compared prompts and pixels" in describe_opinion(None)
    assert "wall-edge[check]" in describe_opinion(None)


def test_an_old_transformers_is_not_asked(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processors may differ in ways that nobody has looked at."""
    source = opened()
    monkeypatch.setattr("wall_edge_export.opinion.peer.metadata.version", lambda _: "4.51.3")
    assert second_opinion(source, "touch the red block.") is None


# Hostile folders


def test_no_code_of_a_checkpoint_runs(folder: Path, opened: Open, tmp_path: Path) -> None:
    source, mark = opened(), tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Own: pass\n"
    for module in ("own", "tokenization_own", "image_processing_own"):
        (folder / f"{module}.py").write_text(code)
    remote = {"AutoTokenizer": ["own.Own", "own.Own"], "AutoImageProcessor": "own.Own"}
    hostile = {
        "auto_map": remote,
        "tokenizer_class": "Own",
        "tokenizer_file": "/dev/zero",
        "vocab_file": "/dev/zero",
        "name_or_path": "someone/else",
        "chat_template": "{{ cycler.__init__.__globals__.os.system('touch " + str(mark) + "') }}",
    }
    edit(folder, lambda data: data.update(hostile), "tokenizer_config.json")
    edit(folder, lambda data: data.update(auto_map=remote, preprocess="own.Own", __class__="own.Own"))
    (folder / "chat_template.jinja").write_text(hostile["chat_template"])
    (folder / "vocab.pkl").write_bytes(b"cposix\nsystem\n(S'touch " + bytes(mark) + b"'\ntR.")
    assert ask(source).compared == EVERYTHING
    assert not mark.exists()
    assert "own" not in sys.modules


def test_a_pipe_in_the_folder_does_not_block(folder: Path, opened: Open) -> None:
    source = opened()
    os.mkfifo(folder / "tokenizer_config.json")
    assert "a pipe or a device" in refused(source)


# What is said about it


def opinion(**changes: Any) -> SecondOpinion:
    given: Json = {"tools": {"transformers": "5.0"}, "flavour": "lerobot", "compared": ("pixel values",)}
    given |= {"not_compared": {}, "instructions": ("go",), "images": ("noise",)}
    return SecondOpinion(**given | changes)


def rewritten(bundle: Bundle, manifest: Manifest) -> Path:
    write_manifest(bundle.folder, manifest)
    return bundle.folder


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (opinion(), "transformers 5.0 agreed on pixel values (1 instruction, 1 image a camera, lerobot"),
        (None, "second opinion: none: at export nobody compared prompts and pixels"),
        (opinion(not_compared={"pixel values": "no [red]file[/]\x1b[2J"}), "no [red]file[/]\\x1b[2J"),
    ],
)
def test_verify_and_inspect_say_who_checked(
    copy_bundle: Callable[[], Bundle], found: SecondOpinion | None, line: str
) -> None:
    bundle = copy_bundle()
    folder = rewritten(bundle, replace(bundle.manifest, second_opinion=found))
    assert Bundle(folder).manifest.second_opinion == found
    told_by_verify = CliRunner().invoke(app, ["verify", str(folder)])
    assert line in told_by_verify.output.replace("\n", " ")
    told_by_inspect = CliRunner().invoke(app, ["inspect", str(folder)], env={"COLUMNS": "400"})
    assert line.removeprefix("second opinion: ") in told_by_inspect.output
    as_json = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    stored = json.loads(as_json.output.splitlines()[-1])["second_opinion"]
    assert (None if stored is None else stored["flavour"]) == (None if found is None else "lerobot")


def test_an_export_writes_its_second_opinion_down(shipped_bundle: Path) -> None:
    stored = yaml.safe_load((shipped_bundle / "manifest.yaml").read_text())["second_opinion"]
    assert tuple(stored["compared"]) == EVERYTHING
    assert stored["tools"]["transformers"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"instructions": ["x"] * 65}, "second_opinion.instructions is '65 texts'"),
        ({"compared": ["x" * 5000]}, "second_opinion.compared"),
        ({"largest_pixel_difference": -1.0}, "second_opinion.largest_pixel_difference is -1.0"),
        ({"tools": ["transformers"]}, "second_opinion.tools"),
        ({"agreed": True}, "second_opinion.agreed"),
    ],
)
def test_a_manifest_with_an_odd_opinion(copy_bundle: Callable[[], Bundle], changes: Json, named: str) -> None:
    bundle = copy_bundle()
    data = yaml.safe_load((bundle.folder / "manifest.yaml").read_text())
    data["second_opinion"].update(changes)
    (bundle.folder / "manifest.yaml").write_text(yaml.safe_dump(data))
    digest = file_digest(bundle.folder / "manifest.yaml")
    (bundle.folder / "manifest.sha256").write_text(f"{digest}  manifest.yaml\n")
    with pytest.raises(BundleError, match=named.replace(".", r"\.")):
        Bundle(bundle.folder)
