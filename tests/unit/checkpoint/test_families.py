"""What a configuration of either generation means, and which combinations nobody has an answer for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.trained import trained
from wall_edge_export.model.action_head import ActionHead
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.family import FIRST, LATER, family_of, time_schedule
from wall_edge_export.model.inventory import inventory
from wall_edge_export.model.shapes import ACTION_EXPERT, TEXT_EXPERT
from wall_edge_export.onnx.trace import hollow_model

from tests.conftest import CASES
from wall_edge.bundle import TimeSchedule
from wall_edge.errors import CheckpointError


def config(case: str, **changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CASES / case / "config.json").read_text())
    return {**loaded, **changes}


@pytest.mark.parametrize(
    ("case", "name", "end"),
    [
        ("two_views", "wall-oss", 1.0),
        ("mixed_views", "wall-oss", 1.0),
        ("w01_state_token", "wall-oss-0.5", 0.999),
        ("w05_causal", "wall-oss-0.5", 0.999),
    ],
)
def test_a_checkpoint_says_its_generation(case: str, name: str, end: float) -> None:
    found = config(case)
    assert family_of(found).name == model_shape(found).family == name
    assert time_schedule(found, family_of(found)).grid(10)[-1] == end


def test_layers_that_only_the_later_one_s_code_fuses_make_it_the_later_one(tmp_path: Path) -> None:
    """No setting tells a wall-oss-flow that Wall-X 1.1 trained on and integrates to 0.999."""
    folder = Path(shutil.copytree(CASES / "two_views", tmp_path / "case"))
    apart = Checkpoint(folder)
    assert apart.shape.family == FIRST.name
    expected = apart.load().state_dict()
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if ".self_attn.q_proj." in name]:
        parts = [tensors.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        tensors[name.replace("q_proj", "qkv_proj")] = torch.cat(parts)
    save_file(tensors, folder / "model.safetensors")
    fused = Checkpoint(folder)
    assert fused.shape.family == LATER.name
    assert trained(fused).schedule == TimeSchedule(0.999)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in fused.load().state_dict().items())


@pytest.mark.parametrize(
    "setting",
    [
        {"use_x_pred": True},
        {"proj_with_mask": False},
        {"attention_moe": True},
        {"use_state_string_representation": True},
        {"action_hidden_size": 32},
        {"state_hidden_size": 32},
        {"noise_scheduler": {"time_shift": 2.0}},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_any_setting_of_the_later_one_makes_it_the_later_one(setting: dict[str, Any]) -> None:
    assert family_of(config("two_views")) is FIRST
    assert family_of(config("two_views", **setting)) is LATER


@pytest.mark.parametrize(
    "setting",
    [
        {"attention_moe": False},
        {"proj_with_mask": True},
        {"use_x_pred": None},
        {"action_hidden_size": 64},
        {"noise_scheduler": {"s": 0.99, "time_shift": 1}},
        {"noise_scheduler": None},
    ],
)
def test_a_setting_that_says_what_the_first_does_anyway_changes_nothing(setting: dict[str, Any]) -> None:
    assert family_of(config("two_views", **setting)) is FIRST


def test_times_are_shifted_as_the_scheduler_says() -> None:
    grid = time_schedule(config("w10_adaptive"), LATER).grid(10)
    assert grid[0] == 0.0
    assert grid[1] == pytest.approx(0.999 * 2 * 0.1 / 1.1)
    assert grid[-1] == 0.999


def test_a_narrow_expert_has_a_narrow_stream() -> None:
    shape = model_shape(config("w05_causal"))
    assert (shape.stream_width(TEXT_EXPERT), shape.stream_width(ACTION_EXPERT)) == (96, 48)
    weights = inventory(hollow_model(shape)).values()
    own = [weight for weight in weights if {"prefix", "expert"} & set(weight.graphs) == {"expert"}]
    assert own
    layers = [weight for weight in own if weight.layer in ("mlp", None)]  # 96 is the query's width as well
    assert layers
    assert all(set(weight.shape) <= {48, 64} for weight in layers)
    shared = [weight.name for weight in weights if {"prefix", "expert"} <= set(weight.graphs)]
    assert shared == []  # nothing of the prefix is read in a step of the flow


def test_norms_of_all_tokens_keep_the_whole_stream() -> None:
    changed = config("w01_state_token", dim_inputs=[64, 48], action_hidden_size=48)
    changed["experts"][1]["hidden_size"] = 48
    assert model_shape(changed).stream_width(ACTION_EXPERT) == 64


def test_shared_attention_reads_the_whole_stream_behind_narrow_norms() -> None:
    """Refused once, though upstream computes it: zeros stand where an expert's norm writes nothing."""
    changed = config("two_views", norm_moe=True, dim_inputs=[64, 32])
    changed["experts"][1]["hidden_size"] = 32
    assert model_shape(changed).stream_width(ACTION_EXPERT) == 64


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (config("w10_adaptive", norm_moe=False), "use_adarms: true without norm_moe"),
        (config("w10_adaptive", adarms_cond_dim=16), "adarms_cond_dim 16"),
        (
            config("w05_causal", attention_moe=False),
            "causal_action_attention_mask: true without attention_moe",
        ),
        (
            config("w05_causal", action_hidden_size=98),
            "action_hidden_size 98; expected an even number, 4 to 96",
        ),
        (config("w05_causal", action_hidden_size=47), "action_hidden_size 47"),
        (config("w05_causal", action_hidden_size=0), "action_hidden_size is 0"),
        (config("w05_causal", model_type="qwen3_5"), "model_type 'qwen3_5'"),
        (config("w05_causal", mlp_moe=False), "mlp_moe: false"),
        (config("w05_causal", adaptive_norm=True), "adaptive_norm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_one_meaning_is_refused_by_name(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        model_shape(changed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"norm_moe": False}, "input_layernorms.0.weight is none of the model's"),
        ({"use_adarms": True}, "is none of the model's"),
        ({"tie_word_embeddings": False}, "say tie_word_embeddings: true in config.json, if the policy"),
        ({"use_state_string_representation": False}, "say use_state_string_representation: true in"),
        ({"use_state_string_representation": None}, "say use_state_string_representation: true in"),
    ],
    ids=str,
)
def test_a_switch_that_its_tensors_contradict_is_no_damaged_download(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    """All that was said was that a tensor is missing, and to download the checkpoint again."""
    case = Path(shutil.copytree(CASES / "w05_causal", tmp_path / "case"))
    settings = {key: value for key, value in config("w05_causal", **changed).items() if value is not None}
    (case / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError) as error:
        Checkpoint(case).check()
    assert "is missing" in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_predicted_action_becomes_the_velocity_towards_it() -> None:
    head = ActionHead(model_shape(config("w05_x_pred"))).eval()
    torch.manual_seed(0)
    hidden, noisy = torch.randn(5, 32), torch.randn(5, 5)
    action = head.action_proj_back(hidden)
    for time, rest in ((0.0, 1.0), (0.5, 0.5), (0.95, 0.05), (0.999, 0.05)):
        velocity = head.velocity(hidden, noisy, torch.tensor(time))
        torch.testing.assert_close(velocity, (action - noisy) / rest)


@pytest.mark.parametrize("inner", ["decoder", "all"])
def test_settings_nested_by_newer_transformers_mean_the_same(tmp_path: Path, inner: str) -> None:
    """Times, horizon and ``config.yml``'s last word, too: they used to be those of another generation."""
    folder = Path(shutil.copytree(CASES / "w10_adaptive", tmp_path / "checkpoint"))
    flat = config("w10_adaptive", action_horizon_flow=9)
    outer = (
        {"vision_config", "dof_config", "agent_pos_config", "model_type"}
        if inner == "all"
        else {key for key in flat if key not in ("hidden_size", "attention_moe", "norm_moe", "use_adarms")}
    )
    nested = {key: value for key, value in flat.items() if key not in outer}
    root = {key: flat[key] for key in outer}
    (folder / "config.json").write_text(json.dumps({**root, "text_config": nested}))
    made = trained(Checkpoint(folder))
    assert made.schedule == TimeSchedule(0.999, 2.0)
    assert made.horizon == 9
    own = {"noise_scheduler": {"time_shift": 3.0}, "action_horizon_flow": 7}
    (folder / "config.yml").write_text(json.dumps({"task": own}))
    made = trained(Checkpoint(folder))
    assert made.schedule == TimeSchedule(0.999, 3.0)
    assert made.horizon == 7


def test_a_state_without_masks_tells_which_layout_is_the_models(tmp_path: Path) -> None:
    """A smaller robot's layout of half as many slots is none of the model's."""
    folder = Path(shutil.copytree(CASES / "w01_state_token", tmp_path / "checkpoint"))
    tensors, name = load_file(folder / "model.safetensors"), "action_preprocessor.propri_proj.weight"
    slots = tensors[name].shape[1] // 2
    tensors[name] = tensors[name][:, :slots].contiguous()
    save_file(tensors, folder / "model.safetensors")
    small = {"agent_pos_config": {"arm": slots // 2}}
    changed = config("w01_state_token", proj_with_mask=False)
    (folder / "config.json").write_text(json.dumps(changed))
    (folder / "config.yml").write_text(json.dumps(small))
    assert Checkpoint(folder).shape.state_dof == slots


def test_embeddings_that_are_no_table(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CASES / "w05_causal", tmp_path / "checkpoint"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = torch.tensor(1.0)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.embed_tokens\.weight has shape \[\]"):
        Checkpoint(folder).check()


def test_a_head_too_narrow_for_a_time() -> None:
    with pytest.raises(CheckpointError, match="action_hidden_size 2; expected"):
        model_shape(config("w05_causal", action_hidden_size=2))


@pytest.mark.parametrize("here", [None, 64], ids=["not in config.json", "of its base"])
def test_the_head_s_width_of_the_training_yaml(tmp_path: Path, here: int | None) -> None:
    """wall-oss-0.5's is in ``config.yml`` and in its tensors; these have the last word."""
    folder = Path(shutil.copytree(CASES / "w05_causal", tmp_path / "checkpoint"))
    width = config("w05_causal")["action_hidden_size"]
    changed = config("w05_causal", action_hidden_size=here)
    (folder / "config.json").write_text(json.dumps(changed))
    (folder / "config.yml").write_text(json.dumps({"model": {"action_hidden_size": width}}))
    checkpoint = Checkpoint(folder)
    checkpoint.check()
    assert checkpoint.shape.action_width == width
    (folder / "config.yml").write_text(json.dumps({"model": {"action_hidden_size": width + 2}}))
    with pytest.raises(CheckpointError, match="action_hidden_size is"):
        Checkpoint(folder)


@pytest.mark.parametrize("here", [None, 64], ids=["not in config.json", "of its base"])
def test_a_state_token_narrower_than_the_stream(tmp_path: Path, here: int | None) -> None:
    """Upstream puts zeros behind it. Its width was once not read, and such tensors were refused."""
    folder = Path(shutil.copytree(CASES / "w01_state_token", tmp_path / "checkpoint"))
    tensors, name = load_file(folder / "model.safetensors"), "action_preprocessor.propri_proj.weight"
    tensors[name] = tensors[name][:40].contiguous()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config("w01_state_token", state_hidden_size=here)))
    (folder / "config.yml").write_text(json.dumps({"model": {"state_hidden_size": 40}}))
    checkpoint = Checkpoint(folder)
    checkpoint.check()
    assert checkpoint.shape.state_width == 40
    (folder / "config.yml").write_text(json.dumps({"model": {"state_hidden_size": 42}}))
    with pytest.raises(CheckpointError, match="state_hidden_size is"):
        Checkpoint(folder)


def test_a_state_token_wider_than_the_stream() -> None:
    with pytest.raises(CheckpointError, match="state_hidden_size 65; expected at most the hidden_size 64"):
        model_shape(config("w01_state_token", state_hidden_size=65))
    assert not model_shape(config("w05_x_pred", state_hidden_size=65)).state_token  # of no use there
