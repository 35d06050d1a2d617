"""The sizes that decide a WALL-OSS model, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass

TEXT_EXPERT, ACTION_EXPERT = 0, 1
MAX_SLOTS = 256
"""Degrees of freedom that a model may have; WALL-OSS has 20 to 26."""


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
    """One SwiGLU expert; it reads and writes the first ``width`` channels of the hidden state."""

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

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    def kv_shape(self, tokens: int) -> tuple[int, int, int, int, int]:
        """Shape of the keys/values of ``tokens`` tokens: ``[tokens, layers, 2, kv heads, head dim]``."""
        return (tokens, self.num_layers, 2, self.num_kv_heads, self.head_dim)
