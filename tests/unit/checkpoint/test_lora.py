"""LoRA adapters: merged as PEFT does, and refused by name where they are anything else.

Checked once against ``merge_and_unload`` of peft 0.21.2 (linear layers, embeddings, the patch convolution,
rank and alpha patterns, rsLoRA, ``modules_to_save``): equal to 3e-8.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lora import adapter as adapters
from wall_edge_export.checkpoint.lora import matching
from wall_edge_export.checkpoint.lora.adapter import LoraAdapter, stored_adapter

from wall_edge.errors import CheckpointError

Q = "model.layers.0.self_attn.q_proj"
K = "model.layers.1.self_attn.k_proj"
Tensors = dict[str, Tensor]


def adapter(folder: Path, tensors: Tensors, **config: Any) -> Path:
    """A PEFT folder; ``tensors`` by their names after ``base_model.model.``."""
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


def pair(module: str, out: int, size: int, rank: int = 2) -> Tensors:
    torch.manual_seed(len(module) + rank)
    return {
        f"{module}.lora_A.weight": torch.randn(rank, size),
        f"{module}.lora_B.weight": torch.randn(out, rank),
    }


def product(tensors: Tensors, module: str) -> Tensor:
    return tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]


def refusal(case: Path, folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        Checkpoint(case, adapter=folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_product_is_added_to_its_weight_alone(golden_case: Path, tmp_path: Path, prefix: str) -> None:
    """``model.`` is what a LeRobot policy puts in front of the model's own names."""
    tensors = pair(f"{prefix}{Q}", 64, 64)
    merged = Checkpoint(golden_case, adapter=adapter(tmp_path / "lora", tensors))
    plain = Checkpoint(golden_case)
    expected = plain.tensor(f"{Q}.weight") + 3 * product(tensors, f"{prefix}{Q}")
    torch.testing.assert_close(merged.tensor(f"{Q}.weight"), expected)
    for name in plain.load().state_dict():
        if name != f"{Q}.weight":
            assert torch.equal(merged.tensor(name), plain.tensor(name)), name
    torch.testing.assert_close(merged.load().state_dict()[f"{Q}.weight"], expected)


def test_the_header_of_its_file_is_read_once(
    golden_case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, for its shapes and for its values: a file replaced between the two was two adapters."""
    reads: list[Path] = []
    read = adapters.read_header
    monkeypatch.setattr(adapters, "read_header", lambda path: (reads.append(path), read(path))[1])
    folder = adapter(tmp_path / "lora", pair(Q, 64, 64))
    Checkpoint(golden_case, adapter=folder)
    assert reads == [folder / adapters.WEIGHTS]


def test_an_adapter_of_the_decoder_alone(golden_case: Path, tmp_path: Path) -> None:
    """Upstream's ``add_lora`` wraps the decoder, so its names lack ``model.``."""
    own = Q.removeprefix("model.")
    tensors = pair(own, 64, 64)
    merged = Checkpoint(golden_case, adapter=adapter(tmp_path / "lora", tensors))
    expected = Checkpoint(golden_case).tensor(f"{Q}.weight") + 3 * product(tensors, own)
    torch.testing.assert_close(merged.tensor(f"{Q}.weight"), expected)


@given(rank=st.integers(1, 5), alpha=st.floats(0.125, 64), stabilised=st.booleans())
def test_the_scale(
    tmp_path_factory: pytest.TempPathFactory, rank: int, alpha: float, stabilised: bool
) -> None:
    tensors = pair(Q, 64, 64, rank)
    folder = adapter(
        tmp_path_factory.mktemp("scale") / "lora", tensors, r=rank, lora_alpha=alpha, use_rslora=stabilised
    )
    shapes = {f"{Q}.weight": (64, 64)}
    lora = LoraAdapter(folder, stored_adapter(folder), shapes)
    merged = lora.merged(f"{Q}.weight", lambda: torch.zeros(64, 64))
    scale = alpha / math.sqrt(rank) if stabilised else alpha / rank
    torch.testing.assert_close(merged, scale * product(tensors, Q), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ranks", "alphas", "scale"),
    [
        ({"q_proj": 3}, {}, 6 / 3),
        ({"self_attn.q_proj": 3}, {"q_proj": 12}, 12 / 3),
        ({r"layers\.\d+\..*q_proj": 3}, {r"^model.layers.0.self_attn.q_proj": 1}, 1 / 3),
        ({"proj": 5, "q_proj": 3, "layers.0.self_attn.q_proj": 9}, {"0.self_attn": 99}, 6 / 3),
    ],
)
def test_patterns_name_whole_ends_of_a_module(
    golden_case: Path, tmp_path: Path, ranks: dict[str, int], alphas: dict[str, float], scale: float
) -> None:
    """PEFT's rule: a pattern matches from a dot on to the end, and the first that does counts."""
    tensors = pair(Q, 64, 64, 3)
    folder = adapter(tmp_path / "lora", tensors, rank_pattern=ranks, alpha_pattern=alphas)
    merged = Checkpoint(golden_case, adapter=folder).tensor(f"{Q}.weight")
    expected = Checkpoint(golden_case).tensor(f"{Q}.weight") + scale * product(tensors, Q)
    torch.testing.assert_close(merged, expected)


def test_a_convolution_and_an_embedding(golden_case: Path, tmp_path: Path) -> None:
    patch, words = "visual.patch_embed.proj", "model.embed_tokens"
    torch.manual_seed(0)
    tensors = {
        f"{patch}.lora_A.weight": torch.randn(2, 3, 2, 14, 14),
        f"{patch}.lora_B.weight": torch.randn(32, 2, 1, 1, 1),
        f"{words}.lora_embedding_A": torch.randn(2, 256),
        f"{words}.lora_embedding_B": torch.randn(64, 2),
    }
    merged = Checkpoint(golden_case, adapter=adapter(tmp_path / "lora", tensors))
    plain = Checkpoint(golden_case)
    kernel = torch.einsum(
        "or,rcthw->octhw", tensors[f"{patch}.lora_B.weight"][..., 0, 0, 0], tensors[f"{patch}.lora_A.weight"]
    )
    torch.testing.assert_close(merged.tensor(f"{patch}.weight"), plain.tensor(f"{patch}.weight") + 3 * kernel)
    rows = torch.einsum(
        "rv,hr->vh", tensors[f"{words}.lora_embedding_A"], tensors[f"{words}.lora_embedding_B"]
    )
    torch.testing.assert_close(merged.tensor(f"{words}.weight"), plain.tensor(f"{words}.weight") + 3 * rows)


@pytest.mark.parametrize("inner", ["", ".modules_to_save", ".modules_to_save.default", ".base_layer"])
def test_a_module_that_was_trained_whole_replaces_the_base(
    golden_case: Path, tmp_path: Path, inner: str
) -> None:
    whole = torch.randn(64, 64)
    tensors = {f"action_preprocessor.w3{inner}.weight": whole, **pair("action_preprocessor.w3", 64, 64)}
    folder = adapter(tmp_path / "lora", tensors, modules_to_save=["w3"])
    merged = Checkpoint(golden_case, adapter=folder).tensor("action_preprocessor.w3.weight")
    torch.testing.assert_close(merged, whole + 3 * product(tensors, "action_preprocessor.w3"))


def test_small_updates_survive_a_bfloat16_base(broken_case: Path, tmp_path: Path) -> None:
    """An update below the last of bfloat16's 8 bits is gone if the sum is rounded to the base's type."""
    stored = {n: t.bfloat16() for n, t in load_file(broken_case / "model.safetensors").items()}
    save_file(stored, broken_case / "model.safetensors")
    tensors = {name: t * 0.005 for name, t in pair(Q, 64, 64).items()}
    merged = Checkpoint(broken_case, adapter=adapter(tmp_path / "lora", tensors))
    update = merged.tensor(f"{Q}.weight") - stored[f"{Q}.weight"].float()
    torch.testing.assert_close(update, 3 * product(tensors, Q), rtol=1e-3, atol=1e-7)
    assert merged.tensor(f"{K}.weight").dtype == torch.bfloat16


def test_the_adapter_is_part_of_the_source(golden_case: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "lora", pair(Q, 64, 64))
    files = Checkpoint(golden_case, adapter=folder).weight_files()
    assert files[0] == golden_case / "model.safetensors"
    assert files[-2:] == [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_dora": True}, "use_dora True"),
        ({"bias": "lora_only"}, "bias 'lora_only'"),
        ({"lora_bias": True}, "lora_bias True"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out True"),
        ({"use_qalora": True}, "use_qalora True"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights 'loftq'"),
        ({"peft_type": "LOHA"}, "peft_type 'LOHA'"),
        ({"peft_type": None}, "peft_type None"),
        ({"r": "2"}, "r is '2'"),
        ({"r": 0}, "rank 0"),
        ({"lora_alpha": None}, "lora_alpha is null"),
        ({"rank_pattern": {"q_proj": 3}}, "expected rank 3"),
        ({"rank_pattern": {"(": 3}}, "pattern '('"),
        ({"r": 4}, "expected rank 4"),
    ],
)
def test_what_is_no_plain_lora(golden_case: Path, tmp_path: Path, config: dict[str, Any], named: str) -> None:
    assert named in refusal(golden_case, adapter(tmp_path / "lora", pair(Q, 64, 64), **config))


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        (pair(Q, 64, 32), "is for [64, 32]: a LoRA for other shapes; expected [64, 64]"),
        (pair(Q, 128, 64), "is for [128, 64]: a LoRA for other shapes"),
        (
            pair("model.layers.7.self_attn.q_proj", 64, 64),
            "layers.7.self_attn.q_proj.lora_A.weight matches nothing",
        ),
        ({"model.layers.0.mlp.weight": torch.ones(2)}, "model.layers.0.mlp.weight matches nothing"),
        ({f"{Q}.lora_magnitude_vector": torch.ones(64)}, "lora_magnitude_vector matches nothing"),
        ({f"{Q}.lora_A.weight": torch.ones(2, 64)}, "lora_B is missing"),
        ({f"{Q}.lora_B.weight": torch.ones(64, 2)}, "lora_A is missing"),
        (
            {f"{Q}.lora_A.weight": torch.ones(2, 64), f"{Q}.lora_B.weight": torch.ones(64, 3)},
            "expected rank 2",
        ),
        ({f"{Q}.lora_A.weight": torch.ones(2), f"{Q}.lora_B.weight": torch.ones(64, 2)}, "expected rank 2"),
        ({f"{Q}.bias": torch.ones(63)}, "a LoRA for other shapes"),
        ({}, "holds no tensors"),
    ],
)
def test_what_does_not_fit_this_base(golden_case: Path, tmp_path: Path, tensors: Tensors, named: str) -> None:
    message = refusal(golden_case, adapter(tmp_path / "lora", tensors))
    assert named in message
    assert "take the adapter that was trained on this checkpoint" in message


@pytest.mark.parametrize("tied", ["lm_head is not stored", "one tensor under two names"])
def test_embeddings_that_are_tied_to_the_head(broken_case: Path, tmp_path: Path, tied: str) -> None:
    """PEFT adapts the embedding and leaves the head; one shared tensor cannot hold both."""
    tensors = load_file(broken_case / "model.safetensors")
    kept = "lm_head.weight" if "two" in tied else "model.embed_tokens.weight"
    dropped = {"lm_head.weight", "model.embed_tokens.weight"} - {kept}
    tensors[kept] = tensors[kept].clone()
    del tensors[next(iter(dropped))]
    save_file(
        tensors,
        broken_case / "model.safetensors",
        metadata={next(iter(dropped)): kept} if "two" in tied else {},
    )
    words = {
        "model.embed_tokens.lora_embedding_A": torch.ones(2, 256),
        "model.embed_tokens.lora_embedding_B": torch.ones(64, 2),
    }
    assert "tied to its head" in refusal(broken_case, adapter(tmp_path / "lora", words))


def test_pickled_adapters_are_never_read(golden_case: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "lora", pair(Q, 64, 64))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "safe_serialization=True" in refusal(golden_case, folder)


@pytest.mark.parametrize("damage", ["no config", "no folder", "truncated"])
def test_adapters_that_are_not_whole(golden_case: Path, tmp_path: Path, damage: str) -> None:
    folder = adapter(tmp_path / "lora", pair(Q, 64, 64))
    weights = folder / "adapter_model.safetensors"
    if damage == "no config":
        (folder / "adapter_config.json").unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-7])
    else:
        folder = tmp_path / "nowhere"
    assert {"no config": "adapter_config.json", "no folder": "no such folder"}.get(
        damage, "whole"
    ) in refusal(golden_case, folder)


# --- rows C6, C10, H6 and H16 ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_new_trick": True}, "use_new_trick True"),
        ({"new_config": {"a": 1}}, "new_config"),
        ({"scaling": 2.0}, "scaling 2.0"),
        ({"lora_alpha": 1e308}, "lora_alpha"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": -6}, "lora_alpha"),
        ({"alpha_pattern": {"q_proj": 1e308}}, "lora_alpha"),
        ({"r": 10**400 - 1}, "expected rank"),
    ],
)
def test_adapter_settings_that_nobody_knows(
    golden_case: Path, tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    """C10, H16: a future key that is set changes what the adapter means; absurd scales are no scales."""
    message = refusal(golden_case, adapter(tmp_path / "lora", pair(Q, 64, 64), **config))
    assert named in message
    assert len(message) < 1000


def test_unknown_keys_that_are_off(golden_case: Path, tmp_path: Path) -> None:
    """C10: null, false and empty say nothing."""
    off = {"use_new_trick": False, "new_config": None, "rank_pattern": None, "runtime_config": {"x": False}}
    Checkpoint(golden_case, adapter=adapter(tmp_path / "lora", pair(Q, 64, 64), **off))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["lora_A", "lora_B"])
def test_adapters_that_are_not_finite(golden_case: Path, tmp_path: Path, side: str, value: float) -> None:
    """C10: one NaN used to pass where the goldens did not come by."""
    tensors = pair(Q, 64, 64)
    tensors[f"{Q}.{side}.weight"][0, 0] = value
    assert "not finite" in refusal(golden_case, adapter(tmp_path / "lora", tensors))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.int32])
def test_adapters_of_other_types(golden_case: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """C6: the same for adapters."""
    tensors = {name: tensor.to(dtype) for name, tensor in pair(Q, 64, 64).items()}
    assert "weights of type F64" in refusal(golden_case, adapter(tmp_path / "lora", tensors))


QS = [f"model.layers.{n}.self_attn.q_proj" for n in (0, 1)]
BOTH = {**pair(QS[0], 64, 64), **pair(QS[1], 64, 64)}


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (BOTH, {"target_modules": ["q_proj"]}),
        (BOTH, {"target_modules": ["self_attn.q_proj"]}),
        (BOTH, {"target_modules": r".*\.q_proj"}),
        (BOTH, {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["k_proj"]}),
        (BOTH, {"target_modules": ["q_proj", "w3"], "modules_to_save": ["w3"]}),
        (pair(QS[1], 64, 64), {"target_modules": ["q_proj"], "layers_to_transform": [1]}),
        (pair(QS[1], 64, 64), {"target_modules": ["q_proj"], "layers_to_transform": 1}),
        (pair(QS[1], 64, 64), {"target_modules": [QS[1]]}),
        ({f"model.{n}": t for n, t in BOTH.items()}, {"target_modules": ["q_proj"]}),
        ({n.removeprefix("model."): t for n, t in BOTH.items()}, {"target_modules": ["q_proj"]}),
    ],
)
def test_adapters_with_all_their_layers(
    golden_case: Path, tmp_path: Path, tensors: Tensors, config: dict[str, Any]
) -> None:
    """C10: PEFT's rule of which layers an adapter is in, on the whole model, LeRobot's and the decoder."""
    Checkpoint(golden_case, adapter=adapter(tmp_path / "lora", tensors, **config))


@pytest.mark.parametrize(
    ("tensors", "config", "named"),
    [
        (pair(QS[0], 64, 64), {"target_modules": ["q_proj"]}, f"holds 1 of 2 layers, and not {QS[1]}"),
        (pair(QS[0], 64, 64), {"target_modules": r".*\.q_proj"}, f"holds 1 of 2 layers, and not {QS[1]}"),
        (pair(QS[0], 64, 64), {"target_modules": "all-linear"}, "holds 1 of"),
        (BOTH, {"target_modules": ["q_proj", "k_proj"]}, "holds 2 of 4 layers"),
        (BOTH, {"target_modules": ["q_proj"], "layers_to_transform": [1]}, f"holds {QS[0]}"),
        (BOTH, {"target_modules": ["k_proj"], "exclude_modules": ["k_proj"]}, f"holds {QS[0]}"),
    ],
)
def test_adapters_that_lack_layers(
    golden_case: Path, tmp_path: Path, tensors: Tensors, config: dict[str, Any], named: str
) -> None:
    """C10: a file that was cut in two, or saved by one of several processes, is half of an adapter."""
    assert named in refusal(golden_case, adapter(tmp_path / "lora", tensors, **config))


@pytest.mark.parametrize("pattern", ["(a+)+b", "(.*)*x", "((a|a)+)+$", "(.*a){25}", r"(\w+\s?)*\d"])
@pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern", "target_modules", "exclude_modules"])
def test_patterns_that_backtrack_without_end(
    golden_case: Path, tmp_path: Path, key: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H6: matched in a process with a time limit, whatever is in them."""
    monkeypatch.setattr(matching, "TIME_LIMIT_S", 1.0)
    value: Any = {pattern: 2} if key.endswith("pattern") else pattern
    config = {"target_modules": ["q_proj"], key: value}
    folder = adapter(tmp_path / "lora", BOTH, **config)
    start = time.monotonic()
    with contextlib.suppress(CheckpointError):  # some of them simply match nothing, at once
        Checkpoint(golden_case, adapter=folder)
    assert time.monotonic() - start < 60  # without a limit: years


def test_an_expression_that_takes_too_long_is_told() -> None:
    """H6: and one that is none."""
    with pytest.raises(ValueError, match="longer than"):
        matching.matches(["(a+)+b"], ["a" * 40])
    with pytest.raises(ValueError, match="unterminated"):
        matching.matches(["("], ["a"])
    with pytest.raises(ValueError, match="characters"):
        matching.matches(["a" * 5000], ["a"])
    assert matching.matches(["a.", "b"], ["ab", "b"]) == [[True, False], [False, True]]


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: f"_orig_mod.{n}",
        lambda n: f"module.{n}",
        lambda n: n.replace("model.", "model.language_model.", 1),
        lambda n: n.replace("layers.0.", "layers.0._fsdp_wrapped_module."),
    ],
)
def test_adapters_whose_names_other_tools_wrapped(
    golden_case: Path, tmp_path: Path, rename: Callable[[str], str]
) -> None:
    """C10: the same update as under the plain names."""
    tensors = pair(Q, 64, 64)
    plain = Checkpoint(golden_case, adapter=adapter(tmp_path / "plain", tensors)).tensor(f"{Q}.weight")
    wrapped = {rename(name): tensor for name, tensor in tensors.items()}
    folder = adapter(
        tmp_path / "wrapped", wrapped, target_modules=[Q.rpartition(".")[2]], layers_to_transform=0
    )
    assert torch.equal(Checkpoint(golden_case, adapter=folder).tensor(f"{Q}.weight"), plain)


@pytest.mark.parametrize(
    "extra",
    [
        {f"{Q}.lora_A.default.weight": torch.ones(2, 64)},
        {f"module.{Q}.lora_B.weight": torch.ones(64, 2)},
        {f"{Q}.lora_embedding_A": torch.ones(2, 64), f"{Q}.lora_embedding_B": torch.ones(64, 2)},
        {f"{Q}.weight": torch.ones(64, 64), f"{Q}.modules_to_save.weight": torch.ones(64, 64)},
    ],
)
def test_a_layer_that_an_adapter_has_twice(golden_case: Path, tmp_path: Path, extra: Tensors) -> None:
    """C4: the last of them used to win."""
    folder = adapter(tmp_path / "lora", {**pair(Q, 64, 64), **extra})
    assert "is there twice" in refusal(golden_case, folder)


def test_an_adapter_in_shards(golden_case: Path, tmp_path: Path) -> None:
    """C4: one file of several is not the adapter."""
    folder = adapter(tmp_path / "lora", pair(Q, 64, 64))
    (folder / "adapter_model.safetensors.index.json").write_text('{"weight_map": {}}')
    assert "index of shards" in refusal(golden_case, folder)
