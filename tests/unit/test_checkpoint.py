"""The same weights under every published layout give the same model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from wall_edge_export.checkpoint import Checkpoint


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
    routed = Checkpoint(broken_case).load().model.layers[0].moe
    out = routed(torch.randn(5, 64), n_action=5)
    assert torch.all(out[:, 48:] == 0)
    assert torch.any(out[:, :48] != 0)
