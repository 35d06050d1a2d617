"""Random checkpoints: what export reads, of the published sizes, whole or not at all."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.settings import resolve_settings
from wall_edge_export.model.shapes import ACTION_EXPERT
from wall_edge_export.reference import random_checkpoint
from wall_edge_export.reference.random_checkpoint import planned_tensors, write_random_checkpoint
from wall_edge_export.reference.random_config import model_config, stored_shape
from wall_edge_export.reference.random_shapes import CAMERAS, DOF_GROUPS, SHAPES, named_shape
from wall_edge_export.reference.random_tokenizer import build_tokenizer

from wall_edge.cli import app
from wall_edge.errors import ConfigError, WallEdgeError
from wall_edge.policies.prompt_text import PromptTokenizer, action_text, observation_text


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("random") / "tiny"
    write_random_checkpoint("tiny", out, seed=3)
    return out


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for path in folder.glob("*.safetensors") for name, t in load_file(path).items()}


def test_the_checkpoint_is_complete(tiny: Path) -> None:
    checkpoint = Checkpoint(tiny)
    checkpoint.check()
    given = resolve_settings(checkpoint, None)
    assert given.horizon == 32
    assert list(given.cameras) == list(CAMERAS)
    assert all(camera.tokens == 63 for camera in given.cameras.values())
    assert len(given.embodiment.action) == 20
    assert PromptTokenizer(tiny / "tokenizer.json").largest_id < checkpoint.shape.vocab_size


def test_every_tensor_is_in_the_index(tiny: Path) -> None:
    index = json.loads((tiny / "model.safetensors.index.json").read_text())
    tensors = stored(tiny)
    assert set(index["weight_map"]) == set(tensors)
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in tensors.values())


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_fit_the_tokenizer_and_the_degrees_of_freedom(name: str) -> None:
    shape = named_shape(name)
    tokenizer = build_tokenizer(shape)
    config = model_config(shape, tokenizer, "bfloat16")
    assert tokenizer.get_vocab_size() <= shape.vocab_size == config["vocab_size"]
    assert shape.vocab_size % 64 == 0
    assert sum(DOF_GROUPS.values()) == 20
    slots = 26 if "26" in name or "0.5" in name else 20
    assert sum(config["dof_config"].values()) == sum(config["agent_pos_config"].values()) == slots
    ids = [tokenizer.token_to_id(f"<|action_token_{number}|>") for number in range(shape.fast_tokens)]
    assert ids == list(range(ids[0], ids[0] + 2048)) if ids else name not in ("wall-oss-fast", "tiny-fast")


def planned(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a random checkpoint's tensors."""
    shape = named_shape(name)
    model = stored_shape(shape, model_config(shape, build_tokenizer(shape), "bfloat16"))
    tensors = planned_tensors(model, torch.bfloat16, fused=shape.later is not None)
    return {tensor.name: tensor.shape for tensor in tensors}


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("wall-oss-flow", 4.22),
        ("wall-oss-fast", 4.22),
        ("wall-oss-mini", 1.06),
        ("wall-oss-0.5", 4.16),
        ("wall-oss-0.5-mini", 1.047),
    ],
)
def test_the_sizes_that_were_published(name: str, billions: float) -> None:
    assert sum(map(math.prod, planned(name).values())) / 1e9 == pytest.approx(billions, abs=0.006)


def test_a_checkpoint_of_the_later_family_is_stored_as_the_published_one() -> None:
    """Wall-X 1.1's names and shapes (``wall_oss_05``): fused experts, no head, more embeddings than said."""
    tensors = planned("wall-oss-0.5")
    layer = {
        name.removeprefix("model.layers.35."): shape
        for name, shape in tensors.items()
        if ".layers.35." in name
    }
    assert layer == {
        "self_attn.qkv_proj_experts.0.weight": (2048 + 512, 2048),
        "self_attn.qkv_proj_experts.0.bias": (2048 + 512,),
        "self_attn.qkv_proj_experts.1.weight": (2048 + 512, 1024),
        "self_attn.qkv_proj_experts.1.bias": (2048 + 512,),
        "self_attn.o_proj_experts.0.weight": (2048, 2048),
        "self_attn.o_proj_experts.1.weight": (1024, 2048),
        "moe.experts.0.gate_up_proj.weight": (2 * 11008, 2048),
        "moe.experts.0.down_proj.weight": (2048, 11008),
        "moe.experts.1.gate_up_proj.weight": (2 * 2048, 1024),
        "moe.experts.1.down_proj.weight": (1024, 2048),
        "input_layernorms.0.weight": (2048,),
        "input_layernorms.1.weight": (1024,),
        "post_attention_layernorms.0.weight": (2048,),
        "post_attention_layernorms.1.weight": (1024,),
    }
    rest = {name: shape for name, shape in tensors.items() if name.startswith(("model.norm", "action_pre"))}
    assert rest == {
        "model.norms.0.weight": (2048,),
        "model.norms.1.weight": (1024,),
        "action_preprocessor.w1.weight": (1024, 2 * 26),
        "action_preprocessor.w2.weight": (1024, 2 * 1024),
        "action_preprocessor.w3.weight": (1024, 1024),
        "action_preprocessor.action_proj_back.weight": (26, 1024),
        **{
            f"action_preprocessor.normalizer_{kind}.{statistic}.x2_normal": (26,)
            for kind in ("action", "propri")
            for statistic in ("min", "delta")
        },
    }
    assert tensors["model.embed_tokens.weight"] == (155765, 2048)
    assert "lm_head.weight" not in tensors
    assert tensors["visual.blocks.31.mlp.gate_proj.weight"] == (3420, 1280)


def test_a_prompt_is_as_long_as_its_words(tiny: Path) -> None:
    """Spelt in bytes it would be twice as long as with Qwen's vocabulary, and so would the prefill."""
    text = observation_text(dict.fromkeys(CAMERAS, 63)) + action_text("do the task.")
    count = len(PromptTokenizer(tiny / "tokenizer.json").encode(text))
    assert 3 * 63 < count < 3 * 63 + 80


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, dtype: str) -> None:
    folders = [tmp_path / name for name in ("one", "again", "other")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        write_random_checkpoint("tiny", folder, seed=seed, dtype=dtype)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    one, other = stored(folders[0]), stored(folders[2])
    varied = [name for name, t in one.items() if t.float().std() > 0]
    assert len(varied) > 40
    assert not any(torch.equal(one[name], other[name]) for name in varied)
    # Tensors of one shape do not share their values.
    assert not torch.equal(
        one["model.layers.0.self_attn.q_proj.weight"], one["model.layers.1.self_attn.q_proj.weight"]
    )


def test_values_are_normal_with_one_over_the_square_root_of_the_inputs(tiny: Path) -> None:
    tensors = stored(tiny)
    embeddings = tensors["model.embed_tokens.weight"].float()
    assert float(embeddings.std()) == pytest.approx(64**-0.5, rel=0.02)
    assert float(embeddings.mean()) == pytest.approx(0.0, abs=0.002)
    inside = (embeddings.abs() < 64**-0.5).float().mean()
    assert float(inside) == pytest.approx(0.683, abs=0.01)
    patches = tensors["visual.patch_embed.proj.weight"].float()
    assert float(patches.std()) == pytest.approx((3 * 2 * 14 * 14) ** -0.5, rel=0.05)
    assert torch.all(tensors["model.norm.weight"] == 1)
    assert torch.all(tensors["visual.merger.ln_q.weight"] == 1)


def test_activations_stay_sane(tiny: Path) -> None:
    model = Checkpoint(tiny).load()
    torch.manual_seed(0)
    with torch.inference_mode():
        embeds = model.image_embeds(torch.randn(16, 3 * 2 * 14 * 14), [(4, 4)])
        decoder, positions = model.model, torch.arange(8).expand(3, 8)
        tokens = decoder.tokens(torch.randn(8, 64), positions, None, expert=ACTION_EXPERT)
        hidden = decoder(tokens)[0]
        velocity = model.action_preprocessor.action_proj_back(hidden)
    for values in (embeds, hidden, velocity):
        assert 0.05 < float(values.std()) < 5


def test_shards_hold_at_most_their_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_checkpoint, "SHARD_BYTES", 150_000)
    written = write_random_checkpoint("tiny", tmp_path / "sharded")
    sizes = [
        sum(t.numel() * t.element_size() for t in load_file(tmp_path / "sharded" / name).values())
        for name in written.shards
    ]
    assert len(sizes) >= 4
    assert max(sizes) <= 150_000
    assert sum(sizes) == written.bytes
    Checkpoint(tmp_path / "sharded").check()


@pytest.mark.parametrize("piece", [1024, 1 << 18])
def test_pieces_make_no_difference(tiny: Path, tmp_path: Path, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_checkpoint, "_PIECE", piece)
        write_random_checkpoint("tiny", tmp_path / "pieces", seed=3)
    again, tensors = stored(tmp_path / "pieces"), stored(tiny)
    assert all(np.array_equal(again[name].float(), t.float()) for name, t in tensors.items())


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_random_checkpoint("tiny", tmp_path / "out", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    def fill(_done: int, _total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        write_random_checkpoint("tiny", tmp_path / "out", progress=fill)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ConfigError, match=r"0\.0 GB free on its disk; expected 8\.4 GB"):
        write_random_checkpoint("wall-oss-flow", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_out_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="exists; expected a new folder"):
        write_random_checkpoint("tiny", tmp_path)
    with pytest.raises(ConfigError, match="exists; expected a new folder"):
        write_random_checkpoint("tiny", tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["checkpoint", "random", "tiny", "--out", str(tmp_path / "c"), "--dtype", "fp32"]
    )
    assert result.exit_code == 0, result.output
    assert "0.2 M parameters, 1.0 MB fp32" in result.output
    weights = load_file(tmp_path / "c" / "model-00001-of-00001.safetensors")
    assert weights["model.norm.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "named"), [(["tny"], "shape 'tny'"), (["tiny", "--dtype", "fp8"], "'fp8'")]
)
def test_names_that_are_not_there(tmp_path: Path, arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(app, ["checkpoint", "random", *arguments, "--out", str(tmp_path / "c")])
    assert result.exit_code == 1
    assert isinstance(result.exception, WallEdgeError)
    assert named in str(result.exception)
    assert not (tmp_path / "c").exists()
