"""Policies that LeRobot saved: their statistics, slots, cameras and base.

Checked once against lerobot 0.4.4's own processor classes, all five modes and zero spreads: equal to 5e-7.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lerobot.rules import affine
from wall_edge_export.inputs.settings import ExportSettings, resolve_settings
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import CheckpointError, ConfigError, WallEdgeError

DOF = 6
EPS = np.float32(1e-8)
Json = dict[str, Any]
Edit = Callable[[Json], object]


@dataclass(frozen=True)
class Saved:
    """A policy folder as lerobot 0.4.4 writes it, and the folder of its base."""

    folder: Path
    base: Path

    def edit(self, name: str, change: Edit) -> None:
        path = self.folder / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def settings(self, robot: RobotConfig | None) -> ExportSettings:
        return resolve_settings(Checkpoint(self.folder, base=self.base), robot)


def statistics(seed: int, factor: float = 1.0) -> dict[str, torch.Tensor]:
    """In degrees times ``factor``; dimension 2 never moved."""
    torch.manual_seed(seed)
    low = torch.randn(DOF) * 30
    spread = torch.rand(DOF) * 50 + 5
    spread[2] = 0
    ends = {"min": low, "max": low + spread, "q01": low + 1, "q99": low + 1 + spread}
    ends |= {"q10": low + 2, "q90": low + 2 + spread, "count": torch.tensor([100])}
    values = {"mean": low + spread / 3, "std": spread / 4, **ends}
    return {name: value if name == "count" else value * factor for name, value in values.items()}


def pipeline(name: str, step: str, features: Json, mode: str, neutral: list[str]) -> Json:
    norm_map = {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}
    own = {
        "registry_name": step,
        "config": {"eps": 1e-8, "features": features, "norm_map": norm_map},
        "state_file": f"{name}_step_{len(neutral)}_{step}.safetensors",
    }
    steps = [{"registry_name": other, "config": {}} for other in neutral]
    return {"name": name, "steps": [*steps, own, {"registry_name": "device_processor", "config": {}}]}


def save_policy(folder: Path, base: Path, mode: str = "MEAN_STD", factor: float = 1.0) -> Saved:
    folder.mkdir()
    state = {"observation.state": {"type": "STATE", "shape": [DOF]}}
    views = {
        f"observation.images.{view}": {"type": "VISUAL", "shape": [3, 120, 160]}
        for view in ("face_view", "wrist_view")
    }
    action = {"action": {"type": "ACTION", "shape": [DOF]}}
    config = {
        "type": "wall_x",
        "input_features": {**state, **views},
        "output_features": action,
        "chunk_size": 16,
        "n_action_steps": 16,
        "pretrained_name_or_path": "x-square-robot/wall-oss-flow",
        "wall_edge": {"unit": "deg", "action_rate_hz": 30.0, "action_reference": "absolute"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    neutral = ["rename_observations_processor", "to_batch_processor", "wall_x_task_processor"]
    pre = pipeline("policy_preprocessor", "normalizer_processor", {**state, **views, **action}, mode, neutral)
    post = pipeline("policy_postprocessor", "unnormalizer_processor", action, mode, [])
    values = {"observation.state": statistics(1, factor), "action": statistics(2, factor)}
    stored = {f"{key}.{name}": value for key, found in values.items() for name, value in found.items()}
    for made, number in ((pre, 3), (post, 0)):
        (folder / f"{made['name']}.json").write_text(json.dumps(made))
        save_file(stored, folder / made["steps"][number]["state_file"])
    weights = {f"model.{n}": t for p in base.glob("*.safetensors") for n, t in load_file(p).items()}
    save_file({n: t for n, t in weights.items() if "normalizer" not in n}, folder / "model.safetensors")
    return Saved(folder, base)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "tiny"
    write_random_checkpoint("tiny", out, dtype="fp32")
    return out


@pytest.fixture
def saved(tmp_path: Path, base: Path) -> Saved:
    return save_policy(tmp_path / "policy", base)


def lerobot(
    mode: str, stats: dict[str, torch.Tensor], x: npt.NDArray[np.float32], *, inverse: bool
) -> npt.NDArray[np.float32]:
    """What lerobot's processor computes, in float32."""
    s = {name: value.numpy() for name, value in stats.items()}
    if mode == "IDENTITY":
        return x
    if mode == "MEAN_STD":
        return x * s["std"] + s["mean"] if inverse else (x - s["mean"]) / (s["std"] + EPS)
    low, high = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}[mode]
    width = np.where(s[high] == s[low], EPS, s[high] - s[low])
    return (x + 1) / 2 * width + s[low] if inverse else 2 * (x - s[low]) / width - 1


@pytest.mark.parametrize("mode", ["IDENTITY", "MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10"])
@pytest.mark.parametrize("unit", ["deg", "rad"])
def test_every_mode_is_lerobots(tmp_path: Path, base: Path, robot: RobotConfig, mode: str, unit: str) -> None:
    factor = 1.0 if unit == "deg" else np.pi / 180
    saved = save_policy(tmp_path / "policy", base, mode, factor)
    saved.edit("config.json", lambda c: c["wall_edge"].update(unit=unit))
    embodiment = saved.settings(robot).embodiment
    rng = np.random.default_rng(0)
    joints = rng.uniform(-180, 180, (20, DOF)) * factor
    expected = lerobot(mode, statistics(1, factor), joints.astype(np.float32), inverse=False)
    np.testing.assert_allclose(embodiment.state.normalize(joints), expected, rtol=2e-5, atol=1e-5)
    actions = rng.standard_normal((20, DOF))
    physical = lerobot(mode, statistics(2, factor), actions.astype(np.float32), inverse=True)
    np.testing.assert_allclose(embodiment.action.restore(actions), physical, rtol=2e-5, atol=1e-5)
    assert embodiment.state.clip is None
    assert embodiment.action.clip is None


@given(std=st.floats(1e-6, 1e3), mean=st.floats(-1e3, 1e3), x=st.floats(-1e3, 1e3))
def test_eps_is_added_when_normalising_and_not_when_restoring(std: float, mean: float, x: float) -> None:
    stats = {"mean": np.array([mean]), "std": np.array([std])}
    eps = 0.5
    state = affine("MEAN_STD", stats, eps, 1, restores=False)
    action = affine("MEAN_STD", stats, eps, 1, restores=True)
    assert (x - state.offset[0]) / state.scale[0] == pytest.approx((x - mean) / (std + eps))
    assert x * action.scale[0] + action.offset[0] == pytest.approx(x * std + mean)


def test_the_robot_fills_the_first_slots_and_names_them(saved: Saved, robot: RobotConfig) -> None:
    given = saved.settings(robot)
    joints = tuple(joint.name for joint in robot.joints)
    for layout in (given.embodiment.state, given.embodiment.action):
        assert layout.names == joints
        assert layout.slots == tuple(range(DOF))
        assert [(d.part, d.of, d.unit) for d in layout.degrees] == [("joint", name, "deg") for name in joints]
    assert Checkpoint(saved.folder, base=saved.base).shape.action_dof == 20


def test_horizon_cameras_and_steps_come_from_the_policy(saved: Saved, robot: RobotConfig) -> None:
    given = saved.settings(robot)
    assert given.horizon == 16
    assert list(given.cameras) == ["face_view", "wrist_view"]
    assert len(given.time_grid) == 11
    assert given.action_rate_hz == 30.0


def test_robot_yaml_goes_before_the_policy(saved: Saved, robot: RobotConfig) -> None:
    asked = replace(robot, model=ModelConfig(horizon=8, time_grid=(0.0, 0.5, 1.0)))
    saved.edit("config.json", lambda c: c["wall_edge"].update(integration_steps=10))
    given = saved.settings(asked)
    assert given.horizon == 8
    assert given.time_grid == (0.0, 0.5, 1.0)


def test_the_weights_are_the_policys_and_the_rest_is_the_bases(saved: Saved) -> None:
    checkpoint = Checkpoint(saved.folder, base=saved.base)
    assert checkpoint.tokenizer == saved.base / "tokenizer.json"
    ours, theirs = checkpoint.load().state_dict(), Checkpoint(saved.base).load().state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    files = [path.name for path in checkpoint.weight_files()]
    assert files[:2] == ["model.safetensors", "config.json"]
    assert "policy_preprocessor_step_3_normalizer_processor.safetensors" in files
    assert "policy_postprocessor.json" in files
    assert all(path.is_file() for path in checkpoint.weight_files())


def test_the_bases_own_robot_does_not_count(saved: Saved, robot: RobotConfig) -> None:
    """The base was trained for other cameras, another horizon and another rate."""
    saved.edit("config.json", lambda c: c.pop("wall_edge"))
    with pytest.raises(ConfigError, match="does not say its"):
        saved.settings(robot)


def test_a_vocabulary_resized_to_the_tokenizer(saved: Saved) -> None:
    """LeRobot resizes the embeddings and leaves the base's config.json as it was."""
    weights = load_file(saved.folder / "model.safetensors")
    weights["model.model.embed_tokens.weight"] = weights["model.model.embed_tokens.weight"][:400].clone()
    save_file(weights, saved.folder / "model.safetensors")
    checkpoint = Checkpoint(saved.folder, base=saved.base)
    assert checkpoint.shape.vocab_size == 400
    checkpoint.check()


def test_tied_embeddings_that_are_stored_under_the_heads_name(saved: Saved) -> None:
    """safetensors' save_model keeps the first of two names in alphabetical order and notes the other."""
    weights = load_file(saved.folder / "model.safetensors")
    weights["model.lm_head.weight"] = weights.pop("model.model.embed_tokens.weight")
    noted = {"model.model.embed_tokens.weight": "model.lm_head.weight"}
    save_file(weights, saved.folder / "model.safetensors", metadata=noted)
    loaded = Checkpoint(saved.folder, base=saved.base).load().state_dict()
    assert torch.equal(loaded["model.embed_tokens.weight"], loaded["lm_head.weight"])


def test_an_adapter_brings_its_own_statistics(
    saved: Saved, base: Path, tmp_path: Path, robot: RobotConfig
) -> None:
    """LeRobot saves an adapter with the settings and processors of the run that trained it."""
    tuned = save_policy(tmp_path / "tuned", base, "MIN_MAX")
    (tuned.folder / "model.safetensors").unlink()
    (tuned.folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1})
    )
    name = "base_model.model.model.model.layers.0.self_attn.q_proj"
    pair = {f"{name}.lora_A.weight": torch.ones(1, 64), f"{name}.lora_B.weight": torch.ones(64, 1)}
    save_file(pair, tuned.folder / "adapter_model.safetensors")
    for folder, root in ((saved.folder, base), (base, None)):
        checkpoint = Checkpoint(folder, base=root, adapter=tuned.folder)
        assert resolve_settings(checkpoint, robot).embodiment == tuned_embodiment(tuned, saved, robot)
        stored = load_file(saved.folder / "model.safetensors")["model.model.layers.0.self_attn.q_proj.weight"]
        assert torch.equal(checkpoint.tensor("model.layers.0.self_attn.q_proj.weight"), stored + 1)


def tuned_embodiment(tuned: Saved, saved: Saved, robot: RobotConfig) -> object:
    """The tuned policy's embodiment, had it been saved with its weights."""
    (tuned.folder / "model.safetensors").write_bytes((saved.folder / "model.safetensors").read_bytes())
    try:
        return tuned.settings(robot).embodiment
    finally:
        (tuned.folder / "model.safetensors").unlink()


def refusal(saved: Saved, robot: RobotConfig | None) -> str:
    with pytest.raises(WallEdgeError) as refused:
        saved.settings(robot)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_base_the_error_names_it(saved: Saved) -> None:
    with pytest.raises(CheckpointError, match="pass --base x-square-robot/wall-oss-flow"):
        Checkpoint(saved.folder)


def test_bases_that_are_none(saved: Saved, base: Path) -> None:
    with pytest.raises(CheckpointError, match="policy that LeRobot saved; expected the WALL-OSS model"):
        Checkpoint(saved.folder, base=saved.folder)
    with pytest.raises(CheckpointError, match="leave out --base"):
        Checkpoint(base, base=base)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(prediction_mode="fast"), "a policy that predicts FAST tokens"),
        (lambda c: c.update(n_obs_steps=2), "n_obs_steps is 2"),
        (lambda c: c.update(max_action_dim=32), "max_action_dim and max_state_dim [32, 20]"),
        (lambda c: c["output_features"]["action"].update(shape=[21]), "action has shape [21]"),
        (lambda c: c["output_features"]["action"].update(shape=[5]), "5 action and 6 state degrees"),
        (lambda c: c["input_features"].pop("observation.state"), "observation.state is missing"),
        (
            lambda c: c["input_features"]["observation.images.face_view"].update(shape=[120, 160]),
            "face_view has shape",
        ),
        (lambda c: c["wall_edge"].pop("unit"), "does not say its unit"),
        (lambda c: c["wall_edge"].update(unit="%"), "unit is '%'"),
        (lambda c: c.update(output_features=None), "output_features is null"),
    ],
)
def test_settings_that_do_not_fit(saved: Saved, robot: RobotConfig, change: Edit, named: str) -> None:
    saved.edit("config.json", change)
    assert named in refusal(saved, robot)


def normalizer(change: Edit) -> Edit:
    return lambda p: change(p["steps"][3])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (normalizer(lambda s: s["config"]["norm_map"].update(STATE="ZSCORE")), "normalisation 'ZSCORE'"),
        (
            normalizer(lambda s: s["config"]["norm_map"].update(VISUAL="MEAN_STD")),
            "pixels are normalised by MEAN_STD",
        ),
        (normalizer(lambda s: s.update(state_file="../x.safetensors")), "state_file '../x.safetensors'"),
        (normalizer(lambda s: s.update(state_file="gone.safetensors")), "gone.safetensors"),
        (normalizer(lambda s: s.pop("state_file")), "state_file ''"),
        (normalizer(lambda s: s["config"].update(eps="small")), "eps is 'small'"),
        (lambda p: p["steps"].insert(0, {"registry_name": "libero_processor"}), "step libero_processor"),
        (lambda p: p["steps"].insert(0, {"class": "mine.Step"}), "step of a class of its own"),
        (lambda p: p["steps"].pop(3), "0 steps normalizer_processor"),
        (lambda p: p.update(steps=None), "steps is null"),
    ],
)
def test_processors_that_do_not_fit(saved: Saved, robot: RobotConfig, change: Edit, named: str) -> None:
    saved.edit("policy_preprocessor.json", change)
    assert named in refusal(saved, robot)


def test_a_state_that_the_step_leaves_alone(saved: Saved, robot: RobotConfig) -> None:
    def narrow(step: Json) -> None:
        step["config"]["normalize_observation_keys"] = ["observation.images.face_view"]

    saved.edit("policy_preprocessor.json", normalizer(narrow))
    joints = np.linspace(-100, 100, DOF)
    np.testing.assert_array_equal(saved.settings(robot).embodiment.state.normalize(joints), joints)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("action.std"), "no std"),
        (lambda s: s.update({"action.std": torch.ones(7)}), "std [1.0"),
        (lambda s: s.update({"action.mean": torch.full((DOF,), torch.nan)}), "mean [nan"),
        (lambda s: s.update({"action.std": -torch.ones(DOF)}), "spread [-1.0"),
    ],
)
def test_statistics_that_do_not_fit(saved: Saved, robot: RobotConfig, change: Edit, named: str) -> None:
    path = saved.folder / "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    stored = load_file(path)
    change(stored)
    save_file(stored, path)
    message = refusal(saved, robot)
    assert named in message
    assert "action is normalised by MEAN_STD" in message


@pytest.mark.parametrize("name", ["policy_preprocessor.json", "policy_postprocessor.json"])
def test_processors_that_are_missing(saved: Saved, robot: RobotConfig, name: str) -> None:
    (saved.folder / name).unlink()
    assert f"{name}: no such file" in refusal(saved, robot)


def test_joints_are_named_by_robot_yaml_and_counted(saved: Saved, robot: RobotConfig) -> None:
    assert "no ROBOT.yaml for a policy whose 6 degrees of freedom LeRobot does not name" in refusal(
        saved, None
    )
    fewer = replace(
        robot,
        joints=robot.joints[:5],
        control=replace(robot.control, rest=robot.control.rest[:5]),
    )
    assert "ROBOT.yaml's 5 joints" in refusal(saved, fewer)


# --- rows C2, C5, H5 and H10 ----------------------------------------------------------------------------


def give_gripper(saved: Saved, low: float, high: float, kinds: tuple[str, ...] = ()) -> None:
    """Let the last joint, which is the robot's gripper, have gone from ``low`` to ``high``."""
    middle = {"mean": (low + high) / 2, "std": (high - low) / 4, "min": low, "max": high}
    middle |= {"q01": low, "q10": low, "q90": high, "q99": high}
    for path in saved.folder.glob("policy_*processor*.safetensors"):
        stored = load_file(path)
        for name in list(stored):
            key = name.rpartition(".")[2]
            if key in middle:
                stored[name][-1] = middle[key]
            if kinds and key not in kinds:
                del stored[name]
        save_file(stored, path)


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "QUANTILES"])
@pytest.mark.parametrize(("low", "high"), [(0, 100), (2.5, 61), (0.0, 95.3)])
@pytest.mark.parametrize("unit", ["deg", "rad"])
def test_a_gripper_in_per_cent_beside_an_arm_in_degrees(
    tmp_path: Path, base: Path, robot: RobotConfig, mode: str, low: float, high: float, unit: str
) -> None:
    """C5: LeRobot's default; per cent taken as degrees leaves half of the gripper's travel unreachable."""
    saved = save_policy(tmp_path / "policy", base, mode)
    saved.edit("config.json", lambda c: c["wall_edge"].update(unit=unit))
    give_gripper(saved, low, high)
    with pytest.raises(CheckpointError, match="per cent of its range"):
        saved.settings(robot)


def test_per_cent_is_seen_in_means_alone(saved: Saved, robot: RobotConfig) -> None:
    """C5: statistics without ends."""
    give_gripper(saved, 20, 60, ("mean", "std"))
    with pytest.raises(CheckpointError, match="per cent of its range"):
        saved.settings(robot)


@pytest.mark.parametrize(("low", "high"), [(-10.0, 100.0), (0.0, 110.0), (-35.0, 5.0)])
def test_a_gripper_in_degrees(saved: Saved, robot: RobotConfig, low: float, high: float) -> None:
    """C5: values that no clamped per cent has."""
    give_gripper(saved, low, high)
    assert saved.settings(robot).embodiment.action.degrees[-1].unit == "deg"


def test_any_joint_that_spans_nought_to_a_hundred(saved: Saved, robot: RobotConfig) -> None:
    """C5: whatever its name."""
    give_gripper(saved, 0, 100)
    joints = tuple(replace(joint, name=f"j{n}") for n, joint in enumerate(robot.joints))
    renamed = replace(robot, joints=joints)
    with pytest.raises(CheckpointError, match="j5 went from 0 to 100"):
        saved.settings(renamed)


def test_the_words_are_lerobots(saved: Saved, base: Path, robot: RobotConfig) -> None:
    """C2: of a policy that LeRobot saved; upstream's of upstream's layout; the block may say otherwise."""
    assert saved.settings(robot).wording == "lerobot"
    assert resolve_settings(Checkpoint(base), None).wording == "upstream"
    saved.edit("config.json", lambda c: c["wall_edge"].update(prompt_wording="upstream"))
    assert saved.settings(robot).wording == "upstream"
    saved.edit("config.json", lambda c: c["wall_edge"].update(prompt_wording="klingon"))
    with pytest.raises(CheckpointError, match="prompt_wording is 'klingon'"):
        saved.settings(robot)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(max_action_dim=10**9), "max_action_dim"),
        (lambda c: c.update(chunk_size=10**9), "chunk_size"),
        (lambda c: c.update(recipe_path="recipe.yaml"), "recipe"),
        (lambda c: c.update(use_x_pred=True), "use_x_pred"),
        (lambda c: c.update(quantization_config={"bits": 4}), "a quantised checkpoint"),
        (
            lambda c: c["input_features"].update(
                {"observation.images.<|action|>": {"type": "VISUAL", "shape": [3, 84, 84]}}
            ),
            "camera.*action",
        ),
        (
            lambda c: c["input_features"].update(
                {f"observation.images.c{n}": {"type": "VISUAL", "shape": [3, 84, 84]} for n in range(2000)}
            ),
            r"2002 cameras|cameras is",
        ),
    ],
)
def test_policies_that_no_lerobot_saves(saved: Saved, robot: RobotConfig, change: Edit, named: str) -> None:
    """C6, C9, H5, H10: the policy's own settings are read like a model's."""
    saved.edit("config.json", change)
    features = json.loads((saved.folder / "config.json").read_text())["input_features"]
    views = [key.removeprefix("observation.images.") for key in features if "images" in key]
    camera = next(iter(robot.cameras.values()))
    with pytest.raises(WallEdgeError, match=named):
        saved.settings(replace(robot, cameras=dict.fromkeys(views, camera)))


@pytest.mark.parametrize("eps", [0.0, -1e-8, 1e308, float("nan")])
def test_an_eps_that_cannot_be_divided_by(saved: Saved, robot: RobotConfig, eps: float) -> None:
    """C: the normaliser's own."""
    for name in ("policy_preprocessor", "policy_postprocessor"):
        saved.edit(
            f"{name}.json",
            lambda p: [step["config"].update(eps=eps) for step in p["steps"] if step["config"]],
        )
    with pytest.raises(CheckpointError, match="eps"):
        saved.settings(robot)
