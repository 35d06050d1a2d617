"""The same weights under every published layout give the same model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from wall_edge_export.checkpoint import weights
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.embodiment import embodiment
from wall_edge_export.inputs.settings import resolve_settings
from wall_edge_export.model.decoder import Rotary
from wall_edge_export.model.shapes import ACTION_EXPERT
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

from wall_edge.bundle import Reference
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError


def same_model(a: Path, b: Path) -> bool:
    one, other = Checkpoint(a).load().state_dict(), Checkpoint(b).load().state_dict()
    return all(torch.equal(one[name], other[name]) for name in one) and set(one) == set(other)


def test_lerobot_prefix(golden_case: Path, broken_case: Path) -> None:
    tensors = load_file(golden_case / "model.safetensors")
    save_file({f"model.{name}": t for name, t in tensors.items()}, broken_case / "model.safetensors")
    assert same_model(golden_case, broken_case)


def test_shards_with_an_index(golden_case: Path, broken_case: Path) -> None:
    tensors = sorted(load_file(golden_case / "model.safetensors").items())
    (broken_case / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((tensors[:20], tensors[20:]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(part), broken_case / shard)
        weight_map.update(dict.fromkeys(dict(part), shard))
    (broken_case / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same_model(golden_case, broken_case)


def test_text_fields_nested_by_newer_transformers(golden_case: Path, broken_case: Path) -> None:
    config = json.loads((golden_case / "config.json").read_text())
    text = {key: config.pop(key) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    (broken_case / "config.json").write_text(json.dumps({**config, "text_config": text}))
    assert same_model(golden_case, broken_case)


def test_dof_layout_from_the_training_yaml(golden_case: Path, broken_case: Path) -> None:
    config = json.loads((golden_case / "config.json").read_text())
    layout = {"customized_dof_config": config.pop("dof_config")}
    layout["customized_agent_pos_config"] = config.pop("agent_pos_config")
    (broken_case / "config.json").write_text(json.dumps(config))
    (broken_case / "config.yml").write_text(json.dumps({"customized_robot_config": layout}))
    assert same_model(golden_case, broken_case)


def test_bfloat16_weights_become_float32(broken_case: Path) -> None:
    tensors = load_file(broken_case / "model.safetensors")
    halved = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(halved, broken_case / "model.safetensors")
    loaded = Checkpoint(broken_case).load().state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in loaded.values())
    assert torch.equal(loaded["lm_head.weight"], halved["lm_head.weight"].float())


def test_an_expert_narrower_than_the_model_touches_only_its_channels(broken_case: Path) -> None:
    """``dim_inputs`` below the hidden size: the other channels pass the expert by unchanged."""
    config = json.loads((broken_case / "config.json").read_text())
    config["dim_inputs"], config["experts"][1]["hidden_size"] = [64, 48], 48
    (broken_case / "config.json").write_text(json.dumps(config))
    tensors = load_file(broken_case / "model.safetensors")
    for name in list(tensors):
        if "experts.1" in name:
            tensors[name] = (tensors[name][:48] if "down" in name else tensors[name][:, :48]).contiguous()
    save_file(tensors, broken_case / "model.safetensors")
    layer = Checkpoint(broken_case).load().model.layers[0]
    for projection in (layer.self_attn.o_proj, layer.self_attn.v_proj):
        torch.nn.init.zeros_(projection.weight)
    x, rotary = torch.randn(5, 64), Rotary(torch.ones(5, 1, 16), torch.zeros(5, 1, 16))
    out, _ = layer(x, rotary, None, None, expert=ACTION_EXPERT)
    assert torch.equal(out[:, 48:], x[:, 48:])
    assert torch.any(out[:, :48] != x[:, :48])


def test_a_tensor_costs_one_open(golden_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(golden_case)
    checkpoint.check()
    opened: list[Path] = []

    def count(path: Path, **options: Any) -> Any:
        opened.append(path)
        return safe_open(path, **options)

    monkeypatch.setattr(weights, "safe_open", count)
    for number in range(1, 4):
        checkpoint.tensor("model.norm.weight")
        checkpoint.has("model.embed_tokens.weight")
        assert len(opened) == number


def test_a_tensor_that_is_dropped_leaves_no_map(broken_case: Path) -> None:
    """On a copy: other tests hold tensors of the case itself."""
    path = str((broken_case / "model.safetensors").resolve())
    checkpoint = Checkpoint(broken_case)
    tensor = checkpoint.tensor("model.norm.weight")
    assert torch.all(torch.isfinite(tensor))
    del tensor
    assert path not in Path("/proc/self/maps").read_text()


def test_tied_embeddings_as_save_model_leaves_them(golden_case: Path, broken_case: Path) -> None:
    """Of two names for one tensor the file has the first alone, and its metadata the other."""
    model = Checkpoint(golden_case).load()
    model.lm_head.weight = model.model.embed_tokens.weight
    save_model(model, str(broken_case / "model.safetensors"))
    with safe_open(broken_case / "model.safetensors", framework="pt") as file:
        assert "model.embed_tokens.weight" not in file.keys()  # noqa: SIM118
    loaded = Checkpoint(broken_case).load().state_dict()
    assert torch.equal(loaded["model.embed_tokens.weight"], model.model.embed_tokens.weight)
    assert torch.equal(loaded["lm_head.weight"], loaded["model.embed_tokens.weight"])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A small checkpoint with upstream's 20 degrees of freedom and a tokenizer."""
    write_random_checkpoint("tiny", tmp_path / "tiny")
    return tmp_path / "tiny"


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace some tensors of a checkpoint, whatever its shards."""
    for path in folder.glob("*.safetensors"):
        save_file({name: tensors.get(name, t) for name, t in load_file(path).items()}, path)


def test_a_vocabulary_resized_to_the_tokenizer(tiny: Path) -> None:
    """Upstream and LeRobot resize the embeddings to the tokenizer, whatever config.json says."""
    tokens = 365
    embeddings = torch.randn(tokens, 64)
    rewrite(tiny, {"model.embed_tokens.weight": embeddings})
    checkpoint = Checkpoint(tiny)
    assert checkpoint.config["vocab_size"] == 1088
    assert checkpoint.shape.vocab_size == tokens
    assert torch.equal(checkpoint.load().state_dict()["lm_head.weight"], embeddings)


def test_a_vocabulary_of_another_tokenizer(tiny: Path) -> None:
    rewrite(tiny, {"model.embed_tokens.weight": torch.randn(366, 64)})
    with pytest.raises(CheckpointError, match=r"embed_tokens.weight has shape \[366, 64\]"):
        Checkpoint(tiny).check()


def arm(robot: RobotConfig, *names: str) -> RobotConfig:
    """The tabletop robot with other joints and the tiny checkpoint's cameras."""
    joints = tuple(replace(robot.joints[0], name=name, id=number) for number, name in enumerate(names))
    camera = next(iter(robot.cameras.values()))
    views = dict.fromkeys(("face_view", "left_wrist_view", "right_wrist_view"), camera)
    control = replace(robot.control, rest=(0.0,) * len(names))
    return replace(robot, joints=joints, control=control, cameras=views)


def customise(folder: Path, dof: dict[str, int], state: dict[str, int], **more: object) -> None:
    robot = {"name": "x", "customized_dof_config": dof, "customized_agent_pos_config": state}
    (folder / "config.yml").write_text(yaml.safe_dump({"customized_robot_config": robot, **more}))


def test_a_customised_robot_takes_the_first_slots(tiny: Path) -> None:
    customise(tiny, {"action_arm": 3, "action_grip": 1}, {"state_arm": 3, "state_grip": 1})
    embodiment = resolve_settings(Checkpoint(tiny), None).embodiment
    assert embodiment.action.names == ("action_arm_0", "action_arm_1", "action_arm_2", "action_grip")
    assert embodiment.action.slots == embodiment.state.slots == (0, 1, 2, 3)
    assert Checkpoint(tiny).shape.action_dof == 20


def test_a_customised_robot_that_is_switched_off(tiny: Path) -> None:
    customise(tiny, {"arm": 3}, {"arm": 3}, enable_customized_robot_config=False)
    assert len(resolve_settings(Checkpoint(tiny), None).embodiment.action.names) == 20


@pytest.mark.parametrize("keep", ["config.json", "config.yml"])
def test_the_weights_decide_which_layout_is_the_models(tiny: Path, keep: str) -> None:
    """The customised layout alone would say four slots, and the weights have twenty."""
    config = json.loads((tiny / "config.json").read_text())
    whole = {key: config[key] for key in ("dof_config", "agent_pos_config")}
    if keep == "config.yml":
        (tiny / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in whole}))
    customise(tiny, {"arm": 4}, {"arm": 4}, **(whole if keep == "config.yml" else {}))
    checkpoint = Checkpoint(tiny)
    checkpoint.check()
    assert checkpoint.shape.action_dof == checkpoint.shape.state_dof == 20
    assert checkpoint.action_layout.names == ("arm_0", "arm_1", "arm_2", "arm_3")


def test_slots_that_are_named_padding_are_the_last_and_not_driven(tiny: Path) -> None:
    """Wherever it is listed: upstream 1.1 sorts it behind (``harrix/utils/train_config.py``)."""
    config = json.loads((tiny / "config.json").read_text())
    groups = {"left": 2, "action_padding": 17, "grip": 1}
    config["dof_config"] = config["agent_pos_config"] = groups
    (tiny / "config.json").write_text(json.dumps(config))
    embodiment = resolve_settings(Checkpoint(tiny), None).embodiment
    assert embodiment.action.names == ("left_0", "left_1", "grip")
    assert embodiment.action.slots == embodiment.state.slots == (0, 1, 2)
    assert len(embodiment.action.scale) == len(embodiment.state.offset) == 3


def test_a_robot_with_some_of_the_joints_takes_their_slots(tiny: Path, robot: RobotConfig) -> None:
    """Joints are found by name, so neither their number nor their order is guessed."""
    minimum = torch.arange(20, dtype=torch.float32)
    rewrite(tiny, {"action_preprocessor.normalizer_action.min.x2_normal": minimum})
    few = arm(robot, "height", "follow_left_gripper", "head_actions_1")
    embodiment = resolve_settings(Checkpoint(tiny), few).embodiment
    assert embodiment.action.names == ("height", "follow_left_gripper", "head_actions_1")
    assert embodiment.action.slots == embodiment.state.slots == (16, 6, 15)
    np.testing.assert_allclose(embodiment.action.offset, (17.0, 7.0, 16.0))


def test_a_state_with_other_names_is_listed_like_the_actions(tiny: Path, robot: RobotConfig) -> None:
    customise(tiny, {"a_arm": 1, "a_grip": 1}, {"s_arm": 1, "s_grip": 1})
    embodiment = resolve_settings(Checkpoint(tiny), arm(robot, "a_grip", "a_arm")).embodiment
    assert embodiment.action.slots == embodiment.state.slots == (1, 0)


@pytest.mark.parametrize("width", [4, 20])
def test_statistics_of_the_robot_or_of_all_slots(tiny: Path, width: int) -> None:
    customise(tiny, {"arm": 4}, {"arm": 4})
    low = torch.arange(width, dtype=torch.float32)
    delta = torch.ones(width)
    delta[4:] = 0  # what no one drives may be anything
    rewrite(
        tiny,
        {
            "action_preprocessor.normalizer_action.min.x2_normal": low,
            "action_preprocessor.normalizer_action.delta.x2_normal": delta,
        },
    )
    np.testing.assert_allclose(
        resolve_settings(Checkpoint(tiny), None).embodiment.action.offset, [0.5, 1.5, 2.5, 3.5]
    )


@pytest.mark.parametrize(
    ("dof", "named"),
    [
        ({"arm": 21}, "sum to the model's 20"),
        ({"arm": 3, "grip": 0}, "positive numbers"),
        ({"arm": 4.5}, "whole number"),
    ],
)
def test_customised_robots_that_do_not_fit(tiny: Path, dof: dict[str, Any], named: str) -> None:
    customise(tiny, dof, dof)
    with pytest.raises(CheckpointError, match=named):
        Checkpoint(tiny)


def test_joints_that_the_checkpoint_does_not_have(tiny: Path, robot: RobotConfig) -> None:
    with pytest.raises(
        ConfigError, match="joints elbow: the checkpoint has none of these names; expected some or all of"
    ):
        resolve_settings(Checkpoint(tiny), arm(robot, "height", "elbow"))


def test_angles_in_degrees_stay_so(tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    config["wall_edge"]["unit"] = "deg"
    (tiny / "config.json").write_text(json.dumps(config))
    embodiment = resolve_settings(Checkpoint(tiny), None).embodiment
    joints = np.linspace(-0.5, 0.5, 20)
    np.testing.assert_allclose(embodiment.state.normalize(joints), joints)
    np.testing.assert_allclose(embodiment.action.restore(np.full(20, 0.5)), np.full(20, 0.5))
    assert {degree.unit for degree in (*embodiment.action.degrees, *embodiment.state.degrees)} == {"deg"}


@pytest.mark.parametrize(
    ("low", "span", "reference", "percent"),
    [
        (0.0, 100.0, "absolute", True),
        (34.0, 61.0, "absolute", True),
        (0.0, 95.0, "state", True),
        (-0.12, 4.52, "absolute", False),
        (-30.0, 120.0, "absolute", False),
    ],
)
def test_a_gripper_in_per_cent_in_upstreams_statistics(
    broken_case: Path, low: float, span: float, reference: Reference, percent: bool
) -> None:
    """C5: the same mixture of units in upstream's layout; the base model's own gripper is an angle."""
    tensors = load_file(broken_case / "model.safetensors")
    for kind in ("action", "propri"):
        minimum, delta = torch.full((7,), -1.0), torch.full((7,), 2.0)
        if kind == "propri" or reference == "absolute":
            minimum[6], delta[6] = low, span
        tensors[f"action_preprocessor.normalizer_{kind}.min.arm"] = minimum
        tensors[f"action_preprocessor.normalizer_{kind}.delta.arm"] = delta
    save_file(tensors, broken_case / "model.safetensors")

    def made() -> object:
        return embodiment(Checkpoint(broken_case), None, statistics=None, unit="deg", reference=reference)

    if percent:
        with pytest.raises(CheckpointError, match="gripper went from"):
            made()
    else:
        made()
