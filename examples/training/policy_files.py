"""What makes a small trained model a WALL-OSS checkpoint: config, tokenizer and tensor names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from wall_edge.array_types import Floats
from wall_edge.bundle import ImageGeometry
from wall_edge.policies.prompt_text import SPECIAL_TOKENS, action_text, observation_text, subgoal_text

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class PolicyKind:
    """What one policy's files say and another's do not.

    ``dof`` are the checkpoint's groups of slots, of the state and of the actions alike; ``choices`` the words
    that a task chooses from; ``full_attention`` the vision blocks that see a whole image.
    """

    robot: str
    cameras: Mapping[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    dof: Mapping[str, int]
    choices: Sequence[str]
    full_attention: Sequence[int]

    @property
    def slots(self) -> int:
        return sum(self.dof.values())

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image tokens of each camera, in prompt order."""
        return {camera: geometry.tokens for camera, geometry in self.cameras.items()}


def build_tokenizer(kind: PolicyKind, tasks: Iterable[tuple[str, str]]) -> Tokenizer:
    """A byte-level BPE with WALL-OSS's special tokens, trained on the policy's own sentences.

    ``tasks`` are instructions, each with one of its subgoals. Qwen's BPE stops at word boundaries; this one
    merges across them, so that a sentence of the prompt template costs one token, and stops only at the words
    that a task chooses from. Any other text still has an encoding, byte by byte.
    """
    tokenizer = Tokenizer(models.BPE())
    choices = Regex(f" (?:{'|'.join(kind.choices)})")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(choices, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=2,
        special_tokens=[END_OF_TEXT, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(kind, tasks), trainer)
    return tokenizer


def _corpus(kind: PolicyKind, tasks: Iterable[tuple[str, str]]) -> list[str]:
    """The text between special tokens of every prompt and answer."""
    texts = []
    for instruction, subgoal in tasks:
        observation = observation_text(kind.image_tokens)
        texts += [observation, subgoal_text(instruction), action_text(subgoal), subgoal]
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    return [part for text in texts for part in special.split(text) if part]


def model_config(kind: PolicyKind, tokenizer: Tokenizer) -> dict[str, Any]:
    """``config.json`` in WALL-OSS's flat layout."""
    hidden, dof = 160, dict(kind.dof)
    ids = {token: tokenizer.token_to_id(token) for token in (END_OF_TEXT, *SPECIAL_TOKENS)}
    return {
        "architectures": ["Qwen2_5_VLMoEForAction"],
        "model_type": "qwen2_5_vl",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": hidden,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [4, 6, 6]},
        "vision_config": {
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 192,
            "num_heads": 4,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(kind.full_attention),
            "out_hidden_size": hidden,
            "hidden_act": "silu",
        },
        "num_experts": 2,
        "experts": [
            {"hidden_size": hidden, "intermediate_size": 384, "hidden_act": "silu"},
            {"hidden_size": hidden, "intermediate_size": 192, "hidden_act": "silu"},
        ],
        "dim_inputs": [hidden, hidden],
        "mlp_moe": True,
        "attention_moe": False,
        "dof_config": dof,
        "agent_pos_config": dof,
        "noise_scheduler": {"beta_alpha": 1.5, "beta_beta": 1.0, "s": 0.999, "num_inference_timesteps": 10},
        "image_token_id": ids["<|image_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "pad_token_id": ids[END_OF_TEXT],
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": ids["<|im_end|>"],
        "torch_dtype": "float32",
        # What WALL-OSS keeps in its training setup and an exporter has to know.
        "wall_edge": {
            "robot": kind.robot,
            "horizon": kind.horizon,
            "action_rate_hz": kind.action_rate_hz,
            "action_reference": "state",
            "integration_steps": 10,
            "prompt_wording": "lerobot",
            "cameras": {
                camera: {
                    "width": geometry.width,
                    "height": geometry.height,
                    "resolution": geometry.resolution,
                }
                for camera, geometry in kind.cameras.items()
            },
        },
    }


def normalizers(robot: str, lower: Floats, upper: Floats, spread: Floats) -> dict[str, torch.Tensor]:
    """Upstream's min/delta tensors: the state over its range, actions over ± one spread; each ``[slots]``."""
    values = {
        "normalizer_propri.min": lower,
        "normalizer_propri.delta": upper - lower,
        "normalizer_action.min": -spread,
        "normalizer_action.delta": 2 * spread,
    }
    return {
        f"action_preprocessor.{name}.{robot}": torch.tensor(value, dtype=torch.float32)
        for name, value in values.items()
    }


def save_checkpoint(
    folder: Path, config: dict[str, Any], tokenizer: Tokenizer, state: dict[str, torch.Tensor]
) -> None:
    """Write the folder that ``wall-edge export`` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    bounds = ImageGeometry(width=28, height=28)  # those that it has if nobody says otherwise
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": bounds.min_pixels,
        "max_pixels": bounds.max_pixels,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=1) + "\n")
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
