"""What makes a small trained model a WALL-OSS checkpoint: config and tensor names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from wall_edge_export.checkpoint.names import HEAD
from wall_edge_export.checkpoint.views import with_fused_experts
from wall_edge_export.model.inventory import inventory
from wall_edge_export.model.wall import WallModel

from wall_edge.array_types import Floats
from wall_edge.bundle import FamilyName, ImageGeometry, Wording
from wall_edge.policies.prompt_text import SPECIAL_TOKENS, STATE
from wall_edge.policies.state_text import state_words

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class PolicyKind:
    """What one policy's files say and another's do not.

    ``dof`` are the checkpoint's groups of slots, of the state and of the actions alike; ``choices`` the words
    that a task chooses from; ``full_attention`` the vision blocks that see a whole image; ``state_bins`` into
    how many bins a state's range is cut, None for a family whose prompt does not spell it.
    """

    robot: str
    cameras: Mapping[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    dof: Mapping[str, int]
    choices: Sequence[str]
    full_attention: Sequence[int]
    family: FamilyName = "wall-oss"
    state_bins: int | None = None

    @property
    def wording(self) -> Wording:
        """Whose words its prompts are in."""
        return "lerobot" if self.family == "wall-oss" else self.family

    @property
    def slots(self) -> int:
        return sum(self.dof.values())

    def said(self, states: Floats) -> list[str]:
        """What stands for normalised states ``[B, slots]`` in prompts: words, or a token."""
        if self.state_bins is None:
            return [STATE] * len(states)
        return [state_words(state, self.state_bins) for state in states]

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image tokens of each camera, in prompt order."""
        return {camera: geometry.tokens for camera, geometry in self.cameras.items()}


class _Widths(NamedTuple):
    """Channels of the action expert, and of the text expert's MLP inside."""

    action: int
    text_mlp: int


# The later family's action expert is narrow, and has projections of its own instead.
_WIDTHS: Mapping[FamilyName, _Widths] = {"wall-oss": _Widths(160, 384), "wall-oss-0.5": _Widths(96, 320)}


def _layout(kind: PolicyKind, widths: _Widths) -> dict[str, Any]:
    """What says of which generation a checkpoint is."""
    later = kind.family == "wall-oss-0.5"
    layout: dict[str, Any] = {"tie_word_embeddings": later, "mlp_moe": True, "attention_moe": later}
    if later:
        layout |= {
            "norm_moe": True,
            "action_hidden_size": widths.action,
            "use_adarms": False,
            "use_state_string_representation": True,
            "causal_action_attention_mask": True,
            "use_x_pred": False,
        }
    return layout


def model_config(kind: PolicyKind, tokenizer: Tokenizer) -> dict[str, Any]:
    """``config.json`` in WALL-OSS's flat layout."""
    hidden, dof, widths = 160, dict(kind.dof), _WIDTHS[kind.family]
    ids = {token: tokenizer.token_to_id(token) for token in (END_OF_TEXT, *SPECIAL_TOKENS)}
    return {
        "architectures": ["Qwen2_5_VLMoEForAction"],
        "model_type": "qwen2_5_vl",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": hidden,
        "intermediate_size": widths.text_mlp,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
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
            {"hidden_size": hidden, "intermediate_size": widths.text_mlp, "hidden_act": "silu"},
            {"hidden_size": widths.action, "intermediate_size": 192, "hidden_act": "silu"},
        ],
        "dim_inputs": [hidden, widths.action],
        **_layout(kind, widths),
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
            "prompt_wording": kind.wording,
            **({} if kind.state_bins is None else {"state_bins": kind.state_bins}),
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


def stored_state(model: WallModel) -> dict[str, torch.Tensor]:
    """A model's tensors as its generation of checkpoints has them: fused, tied ones once."""
    state, weights = model.state_dict(), inventory(model)
    if model.shape.tied_embeddings:
        weights = {name: weight for name, weight in weights.items() if name != HEAD}
    if not model.shape.expert_attention:
        return {name: state[name] for name in weights}
    stored = with_fused_experts(weights).items()
    return {name: torch.cat([state[part.name] for part in parts]) for name, parts in stored}


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
