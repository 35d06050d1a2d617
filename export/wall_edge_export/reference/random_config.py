"""What the ``config.json`` of a random checkpoint says, from a named shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer

from wall_edge.policies.prompt_text import SPECIAL_TOKENS
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.family import FIRST, LATER
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.reference.random_shapes import CAMERAS, ROBOT, LaterParts, NamedShape
from wall_edge_export.reference.random_tokenizer import END_OF_TEXT

_HORIZON = 32


def stored_shape(shape: NamedShape, config: dict[str, Any]) -> ModelShape:
    """The model that a ``config.json`` of :func:`model_config` describes, with the embeddings as stored."""
    described = model_shape(config)
    return described if shape.later is None else replace(described, vocab_size=shape.later.embedding_rows)


def model_config(shape: NamedShape, tokenizer: Tokenizer, torch_dtype: str) -> dict[str, Any]:
    """``config.json`` in upstream's flat layout, with the ``wall_edge`` block that export asks for."""
    ids = {token: tokenizer.token_to_id(token) for token in (END_OF_TEXT, *SPECIAL_TOKENS)}
    return {
        "architectures": ["Qwen2_5_VLMoEForAction"],
        "model_type": "qwen2_5_vl",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.text_mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        # Tied, like Qwen2.5-VL-3B: this is what makes the published model 4.22 B parameters.
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": list(shape.mrope_section)},
        "vision_config": _vision_config(shape),
        **_expert_config(shape),
        "dof_config": dict(shape.dof_groups),
        "agent_pos_config": dict(shape.state_groups),
        "noise_scheduler": {"beta_alpha": 1.5, "beta_beta": 1.0, "s": 0.999, "num_inference_timesteps": 10},
        "image_token_id": ids["<|image_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "pad_token_id": ids[END_OF_TEXT],
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": ids["<|im_end|>"],
        "torch_dtype": torch_dtype,
        "wall_edge": _training_setup(shape),
    }


def _vision_config(shape: NamedShape) -> dict[str, Any]:
    return {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_mlp,
        "num_heads": shape.vision_heads,
        "in_channels": 3,
        "in_chans": 3,
        "patch_size": 14,
        "spatial_patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": list(shape.full_attention),
        "out_hidden_size": shape.hidden,
        "hidden_act": "silu",
    }


def _expert_config(shape: NamedShape) -> dict[str, Any]:
    widths = (shape.hidden, shape.hidden if shape.later is None else shape.later.action_hidden)
    return {
        "num_experts": 2,
        "experts": [
            {"hidden_size": width, "intermediate_size": intermediate, "hidden_act": "silu"}
            for width, intermediate in zip(widths, (shape.text_mlp, shape.action_mlp), strict=True)
        ],
        "dim_inputs": list(widths),
        "mlp_moe": True,
        "attention_moe": shape.later is not None,
        **({} if shape.later is None else _later_config(shape.later)),
    }


def _later_config(later: LaterParts) -> dict[str, Any]:
    """Keys that the first family knows nothing of."""
    return {
        "norm_moe": True,
        "use_adarms": False,
        "use_x_pred": False,
        "proj_with_mask": True,
        "action_hidden_size": later.action_hidden,
        "action_horizon_flow": _HORIZON,
        "use_state_string_representation": True,
        "causal_action_attention_mask": True,
    }


def _training_setup(shape: NamedShape) -> dict[str, Any]:
    family = FIRST if shape.later is None else LATER
    camera = {"width": 640, "height": 480, "resolution": family.longest_side}
    return {
        "robot": ROBOT,
        "horizon": _HORIZON,
        "action_rate_hz": 30.0,
        "action_reference": "absolute",
        "integration_steps": 10,
        "cameras": {name: dict(camera) for name in CAMERAS},
        **({} if shape.later is None else {"state_bins": shape.later.state_bins}),
    }
