"""Fused and padded tensors: another way to store the same model, and refused by name where they are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from wall_edge_export.checkpoint.checkpoint import Checkpoint

from tests.conftest import CASES
from tests.unit.checkpoint.test_lora import adapter, pair, product
from wall_edge.errors import CheckpointError

Tensors = dict[str, Tensor]
Q = "model.layers.1.self_attn.q_proj_experts.1.weight"
QKV = "model.layers.1.self_attn.qkv_proj_experts.1.weight"
GATE_UP = "model.layers.0.moe.experts.0.gate_up_proj.weight"


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A copy of a case in wall-oss-0.5's own layout, to change."""
    return Path(shutil.copytree(CASES / "w05_causal", tmp_path / "case"))


def rewrite(case: Path, change: Callable[[Tensors], None]) -> Checkpoint:
    tensors = load_file(case / "model.safetensors")
    change(tensors)
    save_file({name: t.contiguous() for name, t in tensors.items()}, case / "model.safetensors")
    return Checkpoint(case)


def state(checkpoint: Checkpoint) -> Tensors:
    return dict(checkpoint.load().state_dict())


def refusal(case: Path, change: Callable[[Tensors], None]) -> str:
    with pytest.raises(CheckpointError) as refused:
        rewrite(case, change).check()
    return str(refused.value)


def split(tensors: Tensors) -> None:
    """Every fused layer apart."""
    for name in list(tensors):
        if "qkv_proj_experts" in name:
            heads, kv = 6 * 16, 2 * 16  # of this case
            for part, rows in zip("qkv", tensors.pop(name).split((heads, kv, kv)), strict=True):
                tensors[name.replace("qkv_", f"{part}_")] = rows
        elif "gate_up" in name:
            for part, rows in zip(("gate", "up"), tensors.pop(name).chunk(2), strict=True):
                tensors[name.replace("gate_up", part)] = rows


def pad_vision(tensors: Tensors, *, fused: bool, filler: float = 0.0) -> None:
    """The vision MLPs padded from 52 to 128, as a re-saved checkpoint holds them."""
    for name in [name for name in tensors if name.startswith("visual.blocks") and ".mlp." in name]:
        t = tensors[name]
        if "down_proj" in name:
            if t.dim() > 1:
                tensors[name] = torch.nn.functional.pad(t, (0, 128 - t.shape[1]), value=filler)
        else:
            shape = (128 - len(t), *t.shape[1:])
            tensors[name] = torch.cat((t, torch.full(shape, filler)))
    if fused:
        for name in [name for name in tensors if ".mlp.gate_proj" in name]:
            up = tensors.pop(name.replace("gate_proj", "up_proj"))
            tensors[name.replace("gate_proj", "gate_up_proj")] = torch.cat((tensors.pop(name), up))


def test_fused_and_apart_are_one_model(later: Path) -> None:
    fused = state(Checkpoint(later))
    apart = state(rewrite(later, split))
    assert fused.keys() == apart.keys()
    assert all(torch.equal(fused[name], apart[name]) for name in fused)
    assert not any("qkv_proj_experts" in name or "gate_up" in name for name in fused)


@pytest.mark.parametrize("fused", [False, True])
def test_padding_of_the_vision_mlp_is_cut_off(later: Path, fused: bool) -> None:
    plain = state(Checkpoint(later))
    padded = state(rewrite(later, lambda tensors: pad_vision(tensors, fused=fused)))
    assert plain.keys() == padded.keys()
    assert all(torch.equal(plain[name], padded[name]) for name in plain)


def test_padding_that_is_not_zero_is_a_wider_mlp(later: Path) -> None:
    message = refusal(later, lambda tensors: pad_vision(tensors, fused=False, filler=1e-3))
    assert "visual.blocks.0.mlp" in message
    assert "or zeros behind it" in message


def test_only_the_vision_mlp_may_be_padded(later: Path) -> None:
    def wider(tensors: Tensors) -> None:
        split(tensors)
        name = "model.layers.0.moe.experts.1.down_proj.weight"
        tensors[name] = torch.nn.functional.pad(tensors[name], (0, 64))

    assert "moe.experts.1.down_proj.weight has shape [48, 128]" in refusal(later, wider)


def test_a_layer_stored_both_ways_is_refused(later: Path) -> None:
    def both(tensors: Tensors) -> None:
        tensors[Q] = tensors[QKV][:96].clone()

    message = refusal(later, both)
    assert Q in message
    assert QKV in message


@pytest.mark.parametrize("name", [QKV, GATE_UP])
def test_a_fused_layer_of_another_height_is_named(later: Path, name: str) -> None:
    message = refusal(later, lambda tensors: tensors.update({name: tensors[name][:-2]}))
    assert name in message
    assert "by config.json" in message


def test_a_tensor_of_no_part_of_the_model_is_named(later: Path) -> None:
    message = refusal(later, lambda tensors: tensors.update({"model.layers.0.gate.weight": torch.zeros(2)}))
    assert "model.layers.0.gate.weight is not part of the model" in message


def test_an_adapter_of_a_fused_layer_reaches_every_part(later: Path, tmp_path: Path) -> None:
    module = QKV.removesuffix(".weight")
    tensors = pair(module, 160, 48)
    whole = load_file(later / "model.safetensors")[QKV] + 3.0 * product(tensors, module)
    merged = Checkpoint(later, adapter=adapter(tmp_path / "adapter", tensors))
    for part, rows in zip("qkv", whole.split((96, 32, 32)), strict=True):
        name = QKV.replace("qkv_", f"{part}_")
        torch.testing.assert_close(merged.tensor(name), rows, rtol=1e-5, atol=1e-5)


def test_the_embedding_decides_the_vocabulary(later: Path) -> None:
    """wall-oss-0.5 stores 155765 rows, and its config.json says 151936."""
    config = json.loads((later / "config.json").read_text())
    config["vocab_size"] -= 40
    (later / "config.json").write_text(json.dumps(config))
    assert Checkpoint(later).load().model.embed_tokens.weight.shape[0] == 256
