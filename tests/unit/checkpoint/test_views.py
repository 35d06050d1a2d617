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


class TestAdaptersOfAnotherForm:
    """A LoRA is trained on a model that has its layers fused or apart, whatever the base's file has."""

    def merged(self, later: Path, folder: Path, name: str) -> Tensor:
        checkpoint = Checkpoint(later, adapter=folder)
        checkpoint.check()
        return checkpoint.tensor(name)

    @pytest.mark.parametrize(("part", "wrapper"), [("q", ""), ("k", "model."), ("v", "_orig_mod.")])
    def test_apart_on_a_fused_base(self, later: Path, tmp_path: Path, part: str, wrapper: str) -> None:
        plain = state(Checkpoint(later))
        layers = [
            f"model.layers.{layer}.self_attn.{part}_proj_experts.{expert}"
            for layer in range(3)
            for expert in (0, 1)
        ]
        tensors: Tensors = {}
        for layer in layers:
            tensors |= pair(layer, *plain[f"{layer}.weight"].shape)
        wrapped = {f"{wrapper}{name}": tensor for name, tensor in tensors.items()}
        targets = [f"{part}_proj_experts.{expert}" for expert in (0, 1)]
        folder = adapter(tmp_path / "lora", wrapped, target_modules=targets)
        checkpoint = Checkpoint(later, adapter=folder)
        checkpoint.check()
        for name, weight in plain.items():
            layer = name.removesuffix(".weight")
            expected = weight + 3.0 * product(tensors, layer) if layer in layers else weight
            torch.testing.assert_close(checkpoint.tensor(name) if checkpoint.has(name) else weight, expected)

    @pytest.mark.parametrize("name", [QKV, GATE_UP])
    def test_fused_on_a_base_that_has_it_apart(self, later: Path, tmp_path: Path, name: str) -> None:
        layer, whole = name.removesuffix(".weight"), load_file(later / "model.safetensors")[name]
        tensors = pair(layer, *whole.shape)
        plain, expected = state(rewrite(later, split)), whole + 3.0 * product(tensors, layer)
        folder, start = adapter(tmp_path / "lora", tensors), 0
        for part in ("q", "k", "v") if name == QKV else ("gate", "up"):
            one = name.replace("qkv_", f"{part}_") if name == QKV else name.replace("gate_up", part)
            rows = len(plain[one])
            torch.testing.assert_close(self.merged(later, folder, one), expected[start : start + rows])
            start += rows
        assert start == len(whole)

    def test_layers_that_it_lacks_are_missed_by_its_names(self, later: Path, tmp_path: Path) -> None:
        tensors = pair("model.layers.0.self_attn.q_proj_experts.1", 96, 48)
        folder = adapter(tmp_path / "lora", tensors, target_modules=["q_proj_experts.1"])
        with pytest.raises(
            CheckpointError, match=r"holds 1 of 3 layers, and not model.layers.1.self_attn.q_proj"
        ):
            Checkpoint(later, adapter=folder)

    def test_both_forms_at_once(self, later: Path, tmp_path: Path) -> None:
        tensors = pair(Q.removesuffix(".weight"), 96, 48) | pair(QKV.removesuffix(".weight"), 160, 48)
        with pytest.raises(CheckpointError, match="matches nothing in the base") as refused:
            Checkpoint(later, adapter=adapter(tmp_path / "lora", tensors))
        assert "\n" not in str(refused.value)


class TestAdaptersOfPaddedLayers:
    """The vision MLP of a re-saved base is 128 wide instead of 52, and so may an adapter of it be."""

    LAYER = "visual.blocks.1.mlp"

    def padded(self, width: int) -> Tensors:
        """Of all three layers; what training leaves in padded rows of gate and up is 0, as no gradient gets
        there, and in the columns of down what it began with."""
        tensors = {}
        for part, shape in (("gate", (width, 32)), ("up", (width, 32)), ("down", (32, width))):
            tensors |= pair(f"{self.LAYER}.{part}_proj", *shape)
            if part != "down":
                tensors[f"{self.LAYER}.{part}_proj.lora_B.weight"][52:] = 0
        return tensors

    @pytest.mark.parametrize("width", [52, 128])
    def test_of_either_width(self, later: Path, tmp_path: Path, width: int) -> None:
        plain, tensors = state(Checkpoint(later)), self.padded(width)
        rewrite(later, lambda stored: pad_vision(stored, fused=False))
        checkpoint = Checkpoint(later, adapter=adapter(tmp_path / "lora", tensors))
        loaded = state(checkpoint)
        for part in ("gate", "up", "down"):
            name = f"{self.LAYER}.{part}_proj"
            rows, columns = plain[f"{name}.weight"].shape
            update = 3.0 * product(tensors, name)[:rows, :columns]
            torch.testing.assert_close(loaded[f"{name}.weight"], plain[f"{name}.weight"] + update)
        other = "visual.blocks.0.mlp.gate_proj.weight"
        assert torch.equal(loaded[other], plain[other])

    def test_fused_too(self, later: Path, tmp_path: Path) -> None:
        plain = state(Checkpoint(later))
        rewrite(later, lambda stored: pad_vision(stored, fused=True))
        name = f"{self.LAYER}.gate_up_proj"
        tensors = pair(name, 256, 32)
        for start in (52, 128 + 52):
            tensors[f"{name}.lora_B.weight"][start : start + 76] = 0
        loaded = state(Checkpoint(later, adapter=adapter(tmp_path / "lora", tensors)))
        for part, rows in (("gate", slice(0, 52)), ("up", slice(128, 180))):
            weight = f"{self.LAYER}.{part}_proj.weight"
            torch.testing.assert_close(loaded[weight], plain[weight] + 3.0 * product(tensors, name)[rows])

    @pytest.mark.parametrize("part", ["gate", "up"])
    def test_one_that_makes_use_of_the_padding(self, later: Path, tmp_path: Path, part: str) -> None:
        """Cut off, its channels would be lost without a word."""
        rewrite(later, lambda stored: pad_vision(stored, fused=False))
        folder = adapter(tmp_path / "lora", pair(f"{self.LAYER}.{part}_proj", 128, 32))
        with pytest.raises(CheckpointError, match=r"blocks.1.mlp.*or zeros behind it") as refused:
            Checkpoint(later, adapter=folder).check()
        assert "\n" not in str(refused.value)
