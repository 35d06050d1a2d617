"""The sizes that decide a WALL-OSS model, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.bundle import FamilyName

TEXT_EXPERT, ACTION_EXPERT = 0, 1


@dataclass(frozen=True)
class VisionShape:
    """Vision tower: ``depth`` blocks over patches of ``patch_size`` px, ``spatial_merge_size``² a token."""

    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    in_channels: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    window_size: int
    full_attention_blocks: tuple[int, ...]
    out_hidden_size: int

    @property
    def patch_dim(self) -> int:
        """Values in one flattened patch (channels × frames × height × width)."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def window_patches(self) -> int:
        """Side of an attention window in patches: a whole number of merged cells."""
        return self.window_size // self.spatial_merge_size // self.patch_size * self.spatial_merge_size


@dataclass(frozen=True)
class ExpertShape:
    """An expert's MLP; it reads and writes the first ``width`` channels of the hidden state."""

    width: int
    intermediate_size: int


@dataclass(frozen=True)
class ModelShape:
    """Everything that decides the shapes and the arithmetic of a WALL-OSS model."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]
    experts: tuple[ExpertShape, ...]
    vision: VisionShape
    action_dof: int
    state_dof: int
    tied_embeddings: bool
    family: FamilyName
    action_width: int
    """Channels of the action head."""
    state_width: int
    """Channels of the state token's embedding; 0 stands in those behind."""
    expert_attention: bool = False
    """Whether each expert has query, key, value and output projections of its own."""
    expert_norms: bool = False
    """Whether each expert has norms of its own, over its channels."""
    adaptive_norms: bool = False
    """Whether the action expert's norms depend on the time of the flow."""
    state_token: bool = True
    """Whether a token's embedding carries the state; else the prompt spells it."""
    masked_projections: bool = True
    """Whether actions and state enter the head with their masks."""
    causal_actions: bool = False
    """Whether an action token sees only those before it; else all of the chunk."""
    predicts: Literal["velocity", "action"] = "velocity"
    """What the action head's output means."""

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    def stream_width(self, expert: int) -> int:
        """Channels of the hidden state that tokens of an expert have any use for.

        What has attention and norms of its own never looks beyond its own channels.
        """
        separate = self.expert_attention and self.expert_norms
        return self.experts[expert].width if separate else self.hidden_size

    def kv_shape(self, tokens: int) -> tuple[int, int, int, int, int]:
        """Shape of the keys/values of ``tokens`` tokens: ``[tokens, layers, 2, kv heads, head dim]``."""
        return (tokens, self.num_layers, 2, self.num_kv_heads, self.head_dim)
