"""Checkpoints that load but must not be exported, and files of wrong types: one line each.

Graph export is never reached in these cases, so they are quick.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from wall_edge_export.checkpoint.checkpoint import Checkpoint

from wall_edge.cli import app
from wall_edge.errors import CheckpointError, WallEdgeError
from wall_edge.signals import INTERRUPTED

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop"
Config = dict[str, Any]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TABLETOP / "checkpoint", tmp_path / "checkpoint"))


def edit(folder: Path, change: Callable[[Config], object], name: str = "config.json") -> None:
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


def refusal(folder: Path) -> str:
    """What ``wall-edge export`` says; nothing may be left behind."""
    out = folder.parent / "out"
    result = CliRunner().invoke(app, ["export", str(folder), "--out", str(out)])
    assert result.exit_code == 1
    assert isinstance(result.exception, WallEdgeError), result.exception
    assert "\n" not in str(result.exception)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    return str(result.exception)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c["wall_edge"].update(horizn=24), "did you mean 'horizon'"),
        (lambda c: c["wall_edge"].pop("horizon"), "does not say its horizon"),
        (lambda c: c["wall_edge"].update(horizon=0), "horizon is 0"),
        (lambda c: c["wall_edge"].update(action_rate_hz=-5), "action_rate_hz is -5"),
        (lambda c: c["wall_edge"].update(action_reference="tool"), "action_reference"),
        (lambda c: c["wall_edge"].update(robot="other"), "one of tabletop"),
        (lambda c: c["wall_edge"].pop("cameras"), "does not say its cameras"),
        (lambda c: c["wall_edge"]["cameras"]["face_view"].update(width=0), "width is 0"),
        (lambda c: c["wall_edge"].update(cameras=[]), "cameras"),
        (lambda c: c.update(wall_edge=None), "wall_edge is null; expected a mapping"),
        (lambda c: c["agent_pos_config"].update(extra=1), "7 state degrees of freedom"),
        (lambda c: c.update(image_token_id=1), "image_token_id 1"),
        (lambda c: c.update(noise_scheduler=[]), "config.json"),
    ],
)
def test_what_export_must_know(checkpoint: Path, change: Callable[[Config], object], named: str) -> None:
    edit(checkpoint, change)
    if "noise_scheduler" in json.loads((checkpoint / "config.json").read_text()):
        edit(checkpoint, lambda c: c["wall_edge"] and c["wall_edge"].pop("integration_steps", None))
    assert named in refusal(checkpoint)


def test_other_image_statistics(checkpoint: Path) -> None:
    edit(checkpoint, lambda c: c.update(image_mean=[0.5, 0.5, 0.5]), "preprocessor_config.json")
    assert "image_mean" in refusal(checkpoint)


def test_a_special_token_that_is_not_special(checkpoint: Path) -> None:
    def demote(tokenizer: Config) -> None:
        kept = [token for token in tokenizer["added_tokens"] if token["content"] != "<|propri|>"]
        tokenizer["added_tokens"] = kept

    edit(checkpoint, demote, "tokenizer.json")
    assert "<|propri|> is missing" in refusal(checkpoint)


def test_a_tokenizer_with_more_tokens_than_the_weights(checkpoint: Path) -> None:
    def extend(tokenizer: Config) -> None:
        last = max(tokenizer["added_tokens"], key=lambda token: token["id"])
        tokenizer["added_tokens"].append({**last, "id": 413, "content": "<|more|>"})

    edit(checkpoint, extend, "tokenizer.json")
    assert "token id 413; expected ids below vocab_size 413" in refusal(checkpoint)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_only_what_a_rerun_resumes(
    slim_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    checkpoint, out = shutil.copytree(slim_checkpoint, tmp_path / "checkpoint"), tmp_path / "out"
    command = [sys.executable, "-m", "wall_edge", "export", str(checkpoint), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 400
    while not list(tmp_path.glob(".out.partial/vision.onnx")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == INTERRUPTED, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "checkpoint"]


def test_out_that_holds_something_else(checkpoint: Path, tmp_path: Path) -> None:
    """A bug once: any folder with a manifest.yaml counted as an earlier bundle and was deleted."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "manifest.yaml").write_text("hello: 1\n")
    (project / "thesis.txt").write_text("years of work")
    result = CliRunner().invoke(app, ["export", str(checkpoint), "--out", str(project)])
    assert result.exit_code == 1
    assert "is no bundle" in str(result.exception)
    assert (project / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(text_config=None),
        lambda c: c.update(rms_norm_eps=None),
        lambda c: c.pop("rms_norm_eps"),
        lambda c: c.update(rope_theta="x"),
        lambda c: c.update(rope_scaling="default"),
        lambda c: c["rope_scaling"].update(mrope_section=[-1, 5, 4]),
        lambda c: c.update(rope_parameters={"rope_theta": 10000.0, "rope_type": "yarn"}),
        lambda c: c["experts"].__setitem__(0, None),
        lambda c: c["experts"][0].update(hidden_size="x"),
        lambda c: c.update(dim_inputs=5),
        lambda c: c.update(dim_inputs=[32.7, 64]),
        lambda c: c["vision_config"].update(num_heads=3),
        lambda c: c["vision_config"].update(window_size=10),
        lambda c: c["vision_config"].update(fullatt_block_indexes=5),
        lambda c: c["vision_config"].update(hidden_act="gelu"),
        lambda c: c.update(tie_word_embeddings="false"),
        lambda c: c.update(use_sliding_window=True),
        lambda c: c.update(head_dim=8),
        lambda c: c.update(type="wall_x"),
    ],
)
def test_config_values_of_wrong_types(broken_case: Path, change: Callable[[Config], object]) -> None:
    edit(broken_case, change)
    with pytest.raises(CheckpointError) as refused:
        Checkpoint(broken_case)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[]", "\xff", "{" * 5000, '"x"', ""])
def test_configs_that_are_no_object(broken_case: Path, text: str) -> None:
    (broken_case / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Checkpoint(broken_case)


@pytest.mark.parametrize("text", ["- a", "customized_robot_config: x", "dof_config: {a: b}"])
def test_training_configs_of_wrong_types(broken_case: Path, text: str) -> None:
    (broken_case / "config.yml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yml"):
        Checkpoint(broken_case)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_cases_that_are_no_archive(
    broken_case: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    from wall_edge_export.reference.goldens import main as golden

    (broken_case / "case.npz").write_bytes(content)
    assert golden([str(broken_case)]) == 1
    assert "case.npz" in capsys.readouterr().err
