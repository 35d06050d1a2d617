"""``wall_oss_05`` policies as LeRobot's pull request 4200 saves them: settings, architecture, processors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.settings import ExportSettings, resolve_settings

from tests.conftest import CASES
from wall_edge.bundle import StateText, TimeSchedule
from wall_edge.config import EmbodimentConfig, ModelConfig, RobotConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError, ConfigError, WallEdgeError
from wall_edge.policies.state_text import state_words

DOF, SLOTS = 6, 26
Json = dict[str, Any]
CAMERAS = {"observation.images.wrist": "right_wrist_view", "observation.images.top": "face_view"}
PRE = (
    "rename_observations_processor",
    "to_batch_processor",
    "wall_oss_05_task_passthrough",
    "wall_oss_05_pad_state",
    "wall_oss_05_pad_action",
    "normalizer_processor",
    "wall_oss_05_clamp_normalized",
    "wall_oss_05_tokenizer",
    "device_processor",
)
POST = ("unnormalizer_processor", "wall_oss_05_crop_action", "device_processor")
STEP_SETTINGS: Json = {
    "wall_oss_05_pad_state": {"max_state_dim": SLOTS},
    "wall_oss_05_pad_action": {"max_action_dim": SLOTS},
    "wall_oss_05_crop_action": {"action_dim": None},
    "wall_oss_05_tokenizer": {
        "processor_name": "lerobot/wall-oss-0.5",
        "camera_key_mapping": CAMERAS,
        "chunk_size": 32,
        "max_state_dim": SLOTS,
        "tokenizer_max_length": 1000,
        "revision": None,
    },
}


@dataclass(frozen=True)
class Saved:
    folder: Path

    def edit(self, name: str, change: Callable[[Json], object]) -> None:
        path = self.folder / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def settings(self, robot: RobotConfig | None, base: Path | None = None) -> ExportSettings:
        return resolve_settings(Checkpoint(self.folder, base=base), robot)

    def refusal(self, robot: RobotConfig) -> str:
        with pytest.raises(WallEdgeError) as error:
            self.settings(robot)
        assert "\n" not in str(error.value)
        return str(error.value)


def statistics(shift: float) -> dict[str, torch.Tensor]:
    """Of 26 columns; those behind the robot's never moved, as they are filled up with zeros."""
    low = torch.zeros(SLOTS)
    low[:DOF] = torch.arange(DOF) * 0.1 - shift
    high = low.clone()
    high[:DOF] += 1 + torch.arange(DOF) * 0.2
    return {"q01": low, "q99": high}


def save(folder: Path) -> Saved:
    """The weights and settings of a golden case, in the folder that LeRobot would make of them."""
    folder.mkdir()
    source = CASES / "w05_causal"
    shutil.copyfile(source / "model.safetensors", folder / "model.safetensors")
    state = {"observation.state": {"type": "STATE", "shape": [DOF]}}
    views = {key: {"type": "VISUAL", "shape": [3, 480, 640]} for key in CAMERAS}
    action = {"action": {"type": "ACTION", "shape": [DOF]}}
    config = {
        "type": "wall_oss_05",
        "input_features": {**views, **state},
        "output_features": action,
        "chunk_size": 32,
        "n_action_steps": 32,
        "num_inference_timesteps": 10,
        "action_branch": "flow",
        "pretrained_name_or_path": "lerobot/wall-oss-0.5",
        "camera_key_mapping": CAMERAS,
        "vlm_config": json.loads((source / "config.json").read_text()),
        "recipe_path": None,
        "recipe": {"messages": []},
        "wall_edge": {"unit": "rad", "action_rate_hz": 30.0, "action_reference": "absolute"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    stored = {
        f"{key}.{name}": value
        for key, shift in (("observation.state", 0.5), ("action", 0.25))
        for name, value in statistics(shift).items()
    }
    for name, steps in (("policy_preprocessor", PRE), ("policy_postprocessor", POST)):
        saved = []
        for number, step in enumerate(steps):
            entry: Json = {"registry_name": step, "config": STEP_SETTINGS.get(step, {})}
            if "normalizer" in step:
                norm_map = {"VISUAL": "IDENTITY", "STATE": "QUANTILES", "ACTION": "QUANTILES"}
                features = {**views, **state, **action}
                entry["config"] = {"eps": 1e-8, "features": features, "norm_map": norm_map}
                entry["state_file"] = f"{name}_step_{number}_{step}.safetensors"
                save_file(stored, folder / entry["state_file"])
            saved.append(entry)
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "steps": saved}))
    return Saved(folder)


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return save(tmp_path / "policy")


@pytest.fixture
def described(robot: RobotConfig) -> RobotConfig:
    return describe(robot)


def describe(robot: RobotConfig) -> RobotConfig:
    """Six joints, and that the other slots are nobody's."""
    entries: Json = {
        "arm": {"kind": "joint", "joint": [joint.name for joint in robot.joints], "unit": "rad"},
        "rest": {"kind": "held", "size": SLOTS - DOF},
    }
    camera = next(iter(robot.cameras.values()))
    return replace(
        robot,
        cameras=dict.fromkeys(CAMERAS.values(), camera),
        embodiment=from_mapping(EmbodimentConfig, {"action": entries}, "ROBOT.yaml"),
        model=ModelConfig(state_bins=512),
    )


def test_settings_come_from_the_policy(saved: Saved, described: RobotConfig) -> None:
    made = saved.settings(described)
    assert made.horizon == 32
    assert list(made.cameras) == ["right_wrist_view", "face_view"]
    assert made.time_schedule == TimeSchedule(0.999)
    assert made.time_grid == TimeSchedule(0.999).grid(10)
    assert made.state_text == StateText(512, SLOTS)
    assert made.wording == "wall-oss-0.5"
    shape = Checkpoint(saved.folder).shape
    assert (shape.action_dof, shape.state_dof) == (SLOTS, SLOTS)
    assert (shape.expert_attention, shape.causal_actions, shape.state_token) == (True, True, False)


def test_state_and_actions_are_lerobots(saved: Saved, described: RobotConfig) -> None:
    """Zeros are put in, normalised by q01 and q99 (a range of 0 counts as eps), clamped and said."""
    made = saved.settings(described).embodiment
    assert made.state.slots == made.action.slots == tuple(range(SLOTS))
    low, high = (statistics(0.5)[name].numpy().astype(np.float64) for name in ("q01", "q99"))
    rng = np.random.default_rng(0)
    state = np.zeros((50, SLOTS))
    state[:, :DOF] = rng.uniform(-2, 3, (50, DOF))
    span = np.where(high == low, 1e-8, high - low)
    expected = np.clip(2 * (state - low) / span - 1, -1, 1)
    np.testing.assert_allclose(made.state.normalize(state), expected, atol=1e-6)
    bins = np.digitize(expected, np.linspace(-1, 1, 513)[:-1]) - 1
    assert [state_words(made.state.normalize(row), 512) for row in state[:5]] == [
        " ".join(map(str, row)) for row in bins[:5]
    ]
    low, high = (statistics(0.25)[name].numpy().astype(np.float64) for name in ("q01", "q99"))
    actions = rng.uniform(-1.5, 1.5, (50, SLOTS))
    restored = (actions + 1) * np.where(high == low, 1e-8, high - low) / 2 + low
    np.testing.assert_allclose(made.action.restore(actions), restored, atol=1e-6)
    assert (made.state.clip, made.action.clip) == (1.0, None)


def test_bins_are_asked_for_and_said_whose_they_are(saved: Saved, described: RobotConfig) -> None:
    unsaid = replace(described, model=ModelConfig())
    with pytest.raises(ConfigError, match="512 where LeRobot's wall_oss_05 trained it") as error:
        saved.settings(unsaid)
    assert "model.state_bins in ROBOT.yaml" in str(error.value)
    saved.edit("config.json", lambda c: c["wall_edge"].update(state_bins=512))
    assert saved.settings(unsaid).state_text == StateText(512, SLOTS)
    other = replace(described, model=ModelConfig(state_bins=256))
    assert "wall_edge.state_bins is 512, model.state_bins of ROBOT.yaml is 256" in saved.refusal(other)


def test_every_slot_must_be_described(saved: Saved, described: RobotConfig, robot: RobotConfig) -> None:
    """LeRobot masks nothing: what a robot lacks is said and moves, as zeros did in training."""
    assert f"for a policy whose {SLOTS} degrees of freedom" in saved.refusal(
        replace(robot, model=ModelConfig(state_bins=512), cameras=described.cameras)
    )
    section = described.embodiment
    assert section is not None
    few = replace(section, action={"arm": section.action["arm"]})
    assert "nothing for slots 6, 7" in saved.refusal(replace(described, embodiment=few))


def test_the_weights_and_the_base(saved: Saved, described: RobotConfig, tmp_path: Path) -> None:
    """The architecture is the policy's own; a base of the same type may stand for one that has none."""
    before = saved.settings(described)
    base = save(tmp_path / "base")
    saved.edit("config.json", lambda c: c.update(vlm_config=None))
    with pytest.raises(CheckpointError, match=r"pass --base lerobot/wall-oss-0\.5"):
        Checkpoint(saved.folder)
    assert saved.settings(described, base.folder).embodiment == before.embodiment
    base.edit("config.json", lambda c: c.update(vlm_config=None))
    with pytest.raises(CheckpointError, match="a policy that LeRobot saved"):
        Checkpoint(saved.folder, base=base.folder)
    upstream = CASES / "w05_causal"
    assert saved.settings(described, upstream).embodiment == before.embodiment


def test_switches_that_nobody_wrote_are_what_its_code_does(saved: Saved) -> None:
    before = Checkpoint(saved.folder).shape
    for key in (
        "attention_moe",
        "norm_moe",
        "causal_action_attention_mask",
        "tie_word_embeddings",
        "mlp_moe",
    ):
        saved.edit("config.json", lambda c, key=key: c["vlm_config"].pop(key, None))
    assert Checkpoint(saved.folder).shape == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(action_branch="ar"), "action_branch"),
        (lambda c: c.update(n_obs_steps=2), "n_obs_steps"),
        (lambda c: c.update(chunk_size=0), "chunk_size"),
        (lambda c: c.update(chunk_size=10**6), "chunk_size"),
        (lambda c: c.update(max_state_dim=10**6), "max_state_dim"),
        (lambda c: c.update(num_inference_timesteps=0), "num_inference_timesteps"),
        (lambda c: c["vlm_config"].update(use_x_pred=True), "vlm_config.use_x_pred is True"),
        (lambda c: c["vlm_config"].update(attention_moe=False), "vlm_config.attention_moe is False"),
        (
            lambda c: c["vlm_config"].update(text_config={"attention_moe": False}),
            "vlm_config.attention_moe is False",
        ),
        (lambda c: c["vlm_config"].update(text_config=[]), "text_config"),
        (lambda c: c["vlm_config"].update(vla_config={"a": 1}), "vla_config"),
        (lambda c: c.update(vlm_config=[]), "vlm_config"),
        (lambda c: c.update(quantization_config={"bits": 4}), "a quantised checkpoint"),
        (lambda c: c["input_features"].pop("observation.images.top"), "observation.images.top has shape"),
        (lambda c: c["input_features"].pop("observation.state"), "observation.state is missing"),
        (lambda c: c["output_features"]["action"].update(shape=[27]), r"action has shape \[27\]"),
        (
            lambda c: c["camera_key_mapping"].update({"observation.images.top": "right_wrist_view"}),
            "camera_key",
        ),
        (lambda c: c["camera_key_mapping"].update({"observation.images.top": "<|action|>"}), "camera"),
    ],
)
def test_settings_that_cannot_be_meant(
    saved: Saved, described: RobotConfig, change: Callable[[Json], object], words: str
) -> None:
    saved.edit("config.json", change)
    with pytest.raises(WallEdgeError, match=words):
        saved.settings(described)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop(6), "wall_oss_05_clamp_normalized after it"),
        (lambda s: s.insert(0, s.pop(6)), "wall_oss_05_clamp_normalized after it"),
        (lambda s: s.append(s.pop(3)), "wall_oss_05_pad_state before"),
        (lambda s: s.append({"registry_name": "wall_oss_05_jitter"}), "step wall_oss_05_jitter"),
        (lambda s: s.append({"class": "my.Step"}), "a class of its own"),
        (lambda s: s.append(s[5]), "2 steps normalizer_processor"),
        (lambda s: s[3]["config"].update(max_state_dim=20), "wall_oss_05_pad_state.max_state_dim is 20"),
        (lambda s: s[7]["config"].update(chunk_size=16), "wall_oss_05_tokenizer.chunk_size is 16"),
        (lambda s: s[7]["config"].update(camera_key_mapping={}), "wall_oss_05_tokenizer.camera_key_mapping"),
        (lambda s: s[5]["config"]["norm_map"].update(STATE="LOG"), "'LOG' of observation.state"),
        (lambda s: s[5].update(state_file="../x.safetensors"), "state_file"),
    ],
)
def test_processors_that_do_something_else(
    saved: Saved, described: RobotConfig, change: Callable[[list[Json]], object], words: str
) -> None:
    saved.edit("policy_preprocessor.json", lambda p: change(p["steps"]))
    assert words in saved.refusal(described)


def test_processors_from_before_the_padding_and_after(saved: Saved, described: RobotConfig) -> None:
    """LeRobot puts the zeros in where no step does; later ones render messages where they train."""
    before = saved.settings(described)
    saved.edit("policy_preprocessor.json", lambda p: p["steps"].pop(3))
    saved.edit(
        "policy_preprocessor.json",
        lambda p: p["steps"].insert(0, {"registry_name": "render_messages_processor", "config": {}}),
    )
    assert saved.settings(described) == before


@pytest.mark.parametrize("width", [DOF, SLOTS - 1, SLOTS + 1])
def test_statistics_of_another_width(saved: Saved, described: RobotConfig, width: int) -> None:
    """Of the robot's six alone: LeRobot itself could not use them behind the padding."""
    for path in saved.folder.glob("*normalizer*.safetensors"):
        stored = {
            f"{key}.{name}": torch.zeros(width) + (name == "q99")
            for key in ("observation.state", "action")
            for name in ("q01", "q99")
        }
        save_file(stored, path)
    assert "expected 26 finite numbers of each" in saved.refusal(described)


def test_statistics_of_any_size(saved: Saved, described: RobotConfig) -> None:
    """Their shape says so, before a value is read."""
    path = next(saved.folder.glob("*_normalizer_processor.safetensors"))
    save_file({f"observation.state.{name}": torch.zeros(10_000) for name in ("q01", "q99")}, path)
    assert "10000 values; expected at most 256" in saved.refusal(described)


def test_a_value_that_is_not_finite(saved: Saved, described: RobotConfig) -> None:
    path = next(saved.folder.glob("*_normalizer_processor.safetensors"))
    values = statistics(0.5)
    values["q01"][2] = float("nan")
    save_file({f"observation.state.{name}": value for name, value in values.items()}, path)
    assert "expected 26 finite numbers of each" in saved.refusal(described)
