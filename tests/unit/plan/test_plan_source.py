"""What a plan is made of: a shape's name, or a checkpoint's folder, whole or without its weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from wall_edge_export.checkpoint import hub
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import INSTRUCTION, ExportInputs
from wall_edge_export.plan.source import plan_source
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint
from wall_edge_export.reference.random_shapes import CAMERAS, SHAPES

from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import CheckpointError, ConfigError

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop" / "checkpoint"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the shape tiny; read-only."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_random_checkpoint("tiny", folder)
    return folder


@pytest.fixture
def without_weights(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    shutil.copytree(TABLETOP, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_its_random_checkpoint_s_source(name: str) -> None:
    source = plan_source(name)
    assert source.cameras == CAMERAS
    if (
        "0.5" in name
    ):  # 192 tokens an image of 448x336; 26 numbers of three digits and 25 spaces for one token
        words = 26 * 3 + 25
        assert (source.prompt_tokens, source.max_prompt_tokens) == (
            252 + 3 * 129 + words - 1,
            225 + 3 * 129 + 256 + words,
        )
    else:
        assert (source.prompt_tokens, source.max_prompt_tokens) == (252, 225 + 256)
    assert (source.integration_steps, source.horizon, source.action_rate_hz) == (10, 32, 30.0)
    assert source.graph_inputs.actions.kind == ("fast" if "fast" in name else "flow")


def test_a_shape_and_a_checkpoint_of_it_are_the_same(written: Path) -> None:
    """But for the bounds of its image processor, of which there is none."""
    assert plan_source(str(written)) == plan_source("tiny")


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan_source("tiny", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_s_source_is_what_export_takes(robot: RobotConfig) -> None:
    source = plan_source(str(TABLETOP), robot=robot)
    inputs = ExportInputs.open(Checkpoint(TABLETOP), robot)
    assert source.shape == inputs.checkpoint.shape
    assert source.graph_inputs == inputs.graph_inputs
    assert source.max_prompt_tokens == inputs.max_prompt_tokens
    assert source.integration_steps == len(inputs.settings.time_grid) - 1
    words = robot.instruction or INSTRUCTION
    assert source.prompt_tokens == len(inputs.prompts.action(words).ids)
    wordy = replace(robot, instruction="touch the red block and come back.")
    longer = plan_source(str(TABLETOP), robot=wordy)
    assert longer.prompt_tokens > source.prompt_tokens


def test_weights_need_not_be_there(without_weights: Path, robot: RobotConfig) -> None:
    assert plan_source(str(without_weights), robot=robot) == plan_source(str(TABLETOP), robot=robot)
    (without_weights / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}})
    )
    assert plan_source(str(without_weights), robot=robot).cameras == ("face_view", "wrist_view")


def test_weights_that_are_there_must_be_whole(without_weights: Path, robot: RobotConfig) -> None:
    (without_weights / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        plan_source(str(without_weights), robot=robot)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_what_is_needed_is_asked_for_by_name(without_weights: Path, robot: RobotConfig, file: str) -> None:
    (without_weights / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        plan_source(str(without_weights), robot=robot)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_number_takes_the_first_cameras(number: int) -> None:
    source = plan_source("tiny", number)
    assert source.cameras == CAMERAS[:number] == tuple(source.graph_inputs.cameras or {})
    assert len(source.graph_inputs.grids) == number
    assert source.prompt_tokens == (112, 182, 252)[number - 1]


def test_names_take_those_in_the_prompt_s_order() -> None:
    source = plan_source("tiny", (CAMERAS[2], CAMERAS[0]))
    assert source.cameras == (CAMERAS[0], CAMERAS[2])


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (0, "0 cameras; expected 1 to 3: face_view, left_wrist_view, right_wrist_view"),
        (4, "4 cameras; expected 1 to 3"),
        (-1, "-1 cameras; expected 1 to 3"),
        ((), "cameras none; expected some of face_view"),
        (("top\n",), r"cameras top\\n; expected some of face_view"),
        (("face_view", "face_view"), "cameras face_view, face_view; expected .* each once"),
    ],
)
def test_cameras_that_are_not_there(cameras: int | tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_source("tiny", cameras)


def test_a_shape_takes_a_robot_s_cameras_and_settings(robot: RobotConfig) -> None:
    plain = replace(robot, model=None)
    source = plan_source("tiny", robot=plain)
    assert source.cameras == tuple(robot.cameras)
    faster = plan_source("tiny", robot=replace(robot, model=ModelConfig(integration_steps=4, horizon=16)))
    assert (faster.integration_steps, faster.horizon) == (4, 16)


def test_what_a_checkpoint_lacks_is_export_s_error(without_weights: Path) -> None:
    config = json.loads((without_weights / "config.json").read_text())
    config["wall_edge"].pop("horizon")
    (without_weights / "config.json").write_text(json.dumps(config))
    message = r"does not say its horizon; expected model\.horizon in ROBOT\.yaml; .*--robot ROBOT\.yaml"
    with pytest.raises(ConfigError, match=message):
        plan_source(str(without_weights))


@pytest.mark.parametrize("argument", ["wall-oss-flo", "", "\x1b[31m", "tiny "])
def test_neither_a_shape_nor_a_folder(argument: str) -> None:
    with pytest.raises(ConfigError, match="neither a shape nor a folder; expected one of wall-oss-flow"):
        plan_source(argument)


def test_a_shape_has_no_base() -> None:
    with pytest.raises(ConfigError, match="--base beside the shape tiny"):
        plan_source("tiny", base="somewhere")


def test_of_a_hub_id_no_weights_are_fetched(
    without_weights: Path, robot: RobotConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def download(repository: str, *, allow_patterns: list[str], **_: object) -> str:
        assert repository == "somebody/policy"
        asked.append(allow_patterns)
        return str(without_weights)

    monkeypatch.setitem(
        __import__("sys").modules,
        "huggingface_hub",
        SimpleNamespace(snapshot_download=download, errors=SimpleNamespace()),
    )
    assert plan_source("somebody/policy", robot=robot).horizon == 24
    assert asked == [["*.json", "config.yml", "config.yaml"]]
    assert hub.resolve_checkpoint("somebody/policy") == without_weights
    assert "*.safetensors" in asked[1]
