"""What a random tiny checkpoint and its observation look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VOCABULARY = 256
STATE_TOKEN, ACTION_TOKEN, IMAGE_TOKEN, VISION_START, VISION_END = 248, 249, 250, 252, 253


@dataclass(frozen=True)
class Settings:
    """The defaults are WALL-OSS-0.5's layout in small.

    ``later=False`` is the first family's case format, ``silent`` leaves the action head's widths to its
    tensors, ``state_width`` None is ``hidden``, ``prefix`` goes before every tensor's name, ``dead`` lists
    action slots.
    """

    later: bool = True
    # Decoder.
    hidden: int = 64
    heads: int = 4
    kv_heads: int = 2
    layers: int = 2
    sections: tuple[int, int, int] = (2, 3, 3)
    rope_theta: float = 1e6
    widths: tuple[int, int] = (64, 32)
    intermediates: tuple[int, int] = (96, 40)
    expert_attention: bool = True
    expert_norms: bool = True
    adaptive: bool = False
    # Action head.
    action_width: int = 32
    state_width: int | None = None
    action_slots: int = 7
    state_slots: int = 7
    masked: bool = True
    state_token: bool = False
    predicts_action: bool = False
    causal: bool = False
    scale: float = 0.999
    shift: float = 1.0
    # Vision.
    vision_hidden: int = 32
    vision_heads: int = 2
    vision_intermediate: int = 52
    vision_padded: int | None = None
    window: int = 112
    whole: tuple[int, ...] = (1,)
    # Storage.
    fused: bool = True
    vision_fused: bool = False
    tied: bool = False
    further_rows: int = 0
    prefix: str = ""
    silent: bool = False
    # Observation.
    grids: tuple[tuple[int, int], ...] = ((6, 10),)
    horizon: int = 10
    left_padding: int = 0
    dead: tuple[int, ...] = ()

    def config(self) -> dict[str, Any]:
        """``config.json``. A key at its default is left out, so absent keys are read too."""
        flags: dict[str, Any] = {
            "attention_moe": self.expert_attention,
            "norm_moe": self.expert_norms,
            "use_adarms": self.adaptive,
            "use_x_pred": self.predicts_action,
            "causal_action_attention_mask": self.causal,
            "use_state_string_representation": self.later and not self.state_token,
        }
        config = self._decoder() | {"vision_config": self._vision()} | self._tokens()
        config |= {name: value for name, value in flags.items() if value}
        config |= {} if self.masked else {"proj_with_mask": False}
        if self.later and not self.silent:
            config |= {
                "action_hidden_size": self.action_width,
                "state_hidden_size": self.state_width or self.hidden,
            }
            config |= {"action_horizon_flow": self.horizon}
        if self.adaptive and not self.silent:
            config["adarms_cond_dim"] = self.action_width
        return config

    def _decoder(self) -> dict[str, Any]:
        experts = [
            {"hidden_size": width, "intermediate_size": intermediate, "hidden_act": "silu"}
            for width, intermediate in zip(self.widths, self.intermediates, strict=True)
        ]
        schedule: dict[str, Any] = {"num_inference_timesteps": 10}
        schedule |= {} if self.scale == 0.999 else {"s": self.scale}
        schedule |= {} if self.shift == 1.0 else {"time_shift": self.shift}
        return {
            "model_type": "qwen2_5_vl",
            "vocab_size": VOCABULARY,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediates[0],
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "hidden_act": "silu",
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": self.tied,
            "rope_theta": self.rope_theta,
            "rope_scaling": {"type": "mrope", "mrope_section": list(self.sections)},
            "num_experts": 2,
            "experts": experts,
            "dim_inputs": list(self.widths),
            "mlp_moe": True,
            "dof_config": {"arm": self.action_slots - 1, "gripper": 1},
            "agent_pos_config": {"arm": self.state_slots - 1, "gripper": 1},
            "noise_scheduler": schedule,
        }

    def _vision(self) -> dict[str, Any]:
        return {
            "depth": 2,
            "hidden_size": self.vision_hidden,
            "intermediate_size": self.vision_intermediate,
            "num_heads": self.vision_heads,
            "in_channels": 3,
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": self.window,
            "fullatt_block_indexes": list(self.whole),
            "out_hidden_size": self.hidden,
            "hidden_act": "silu",
        }

    def _tokens(self) -> dict[str, Any]:
        return {
            "image_token_id": IMAGE_TOKEN,
            "video_token_id": 251,
            "vision_start_token_id": VISION_START,
            "vision_end_token_id": VISION_END,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "special_token_ids": {"<|propri|>": STATE_TOKEN, "<|action|>": ACTION_TOKEN},
        }
