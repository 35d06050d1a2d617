"""Checkpoints that must be refused: one line, the thing named, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint

from wall_edge.errors import CheckpointError


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        Checkpoint(folder).load()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_missing_weights(broken_case: Path) -> None:
    (broken_case / "model.safetensors").unlink()
    message = refusal(broken_case)
    assert "model.safetensors: no such file" in message
    assert "copy or download" in message


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_truncated_weights(broken_case: Path, keep: int) -> None:
    path = broken_case / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(broken_case)
    assert "model.safetensors" in message
    assert "expected a whole safetensors file" in message


def test_missing_tensor(broken_case: Path) -> None:
    edit_tensors(broken_case, lambda tensors: tensors.pop("model.layers.1.self_attn.q_proj.bias"))
    assert "model.layers.1.self_attn.q_proj.bias is missing" in refusal(broken_case)


def test_shapes_that_disagree(broken_case: Path) -> None:
    edit_config(broken_case, lambda config: config["experts"][1].update(intermediate_size=41))
    message = refusal(broken_case)
    assert "experts.1.gate_proj.weight has shape [40, 64]" in message
    assert "expected [41, 64]" in message


def test_tensors_of_an_unknown_family(broken_case: Path) -> None:
    name = "model.layers.0.self_attn.q_proj_experts.1.weight"
    edit_tensors(broken_case, lambda tensors: tensors.update({name: torch.zeros(2)}))
    assert name in refusal(broken_case)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(num_experts=3), "num_experts=3"),
        (lambda c: c["experts"].append(c["experts"][0]), "3 experts listed"),
        (lambda c: c.pop("experts"), "none experts listed"),
        (lambda c: c.update(attention_moe=True), "q_proj_experts.0.weight is missing"),
        (lambda c: c.update(mlp_moe=False), "mlp_moe"),
        (lambda c: c.update(norm_moe=True), "input_layernorms.0.weight is missing"),
        (lambda c: c.update(model_type="llama"), "model_type 'llama'"),
        (lambda c: c.update(dim_inputs=[64, 65]), "expert 1"),
        (lambda c: c.update(hidden_size=65), "hidden_size 65"),
        (lambda c: c["rope_scaling"].update(mrope_section=[2, 3, 4]), "mrope_section [2, 3, 4]"),
        (lambda c: c.pop("dof_config"), "dof_config is missing"),
        (lambda c: c.update(num_hidden_layers=0), "num_hidden_layers is 0"),
    ],
)
def test_unsupported_or_contradictory_config(
    broken_case: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    edit_config(broken_case, change)
    assert named in refusal(broken_case)


def test_config_that_is_no_json(broken_case: Path) -> None:
    (broken_case / "config.json").write_text("{")
    assert "valid JSON" in refusal(broken_case)


def test_an_index_cannot_point_outside_the_folder(broken_case: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (broken_case / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "no such file" in refusal(broken_case)


def shards(folder: Path) -> Path:
    """Split the weights in two and write an index; returns the second shard."""
    tensors = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((tensors[:20], tensors[20:]), start=1):
        save_file(dict(part), folder / f"model-{number}.safetensors")
        weight_map.update(dict.fromkeys(dict(part), f"model-{number}.safetensors"))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder / "model-2.safetensors"


def test_a_missing_shard_is_named(broken_case: Path) -> None:
    shards(broken_case).unlink()
    assert "model-2.safetensors: no such file" in refusal(broken_case)


def test_a_tensor_that_its_shard_lacks_is_named(broken_case: Path) -> None:
    path = shards(broken_case)
    tensors = load_file(path)
    name, _ = tensors.popitem()
    save_file(tensors, path)
    assert f"model-2.safetensors: tensor {name} is missing from its shard" in refusal(broken_case)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[]", "{"])
def test_an_index_that_is_none(broken_case: Path, content: str) -> None:
    (broken_case / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(broken_case)


def test_pickled_weights_are_never_read(broken_case: Path) -> None:
    (broken_case / "model.safetensors").rename(broken_case / "pytorch_model.bin")
    assert "model.safetensors: no such file" in refusal(broken_case)
