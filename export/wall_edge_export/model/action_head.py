"""The flow-matching action head (``action_preprocessor`` in the checkpoint), always in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wall_edge_export.model.shapes import ModelShape


class ActionHead(nn.Module):
    """Noisy actions and time in, velocity out. None of its layers has a bias."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        hidden = shape.hidden_size
        self.hidden = hidden
        self.w1 = nn.Linear(2 * shape.action_dof, hidden, bias=False)
        self.w2 = nn.Linear(2 * hidden, hidden, bias=False)
        self.w3 = nn.Linear(hidden, hidden, bias=False)
        self.action_proj_back = nn.Linear(hidden, shape.action_dof, bias=False)
        self.propri_proj = nn.Linear(2 * shape.state_dof, hidden, bias=False)

    def time_embedding(self, time: Tensor) -> Tensor:
        """``time [...]`` in [0, 1], not scaled → ``[..., hidden]``, sines first."""
        half = self.hidden // 2
        steps = torch.arange(half, dtype=torch.float32)
        angles = time.unsqueeze(-1) * torch.exp(steps * (-math.log(10000.0) / (half - 1)))
        return torch.cat((angles.sin(), angles.cos()), dim=-1)

    def embed_action(self, noisy: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """``noisy, mask [..., horizon, dof]``, ``time [...]`` → token embeddings ``[..., horizon, H]``."""
        action = self.w1(torch.cat((noisy, mask), dim=-1))
        stamp = self.time_embedding(time).unsqueeze(-2).expand_as(action)
        out: Tensor = self.w3(nn.functional.silu(self.w2(torch.cat((action, stamp), dim=-1))))
        return out

    def embed_state(self, state: Tensor, mask: Tensor) -> Tensor:
        """``state, mask [..., dof]`` (normalised) → the ``<|propri|>`` token's embedding ``[..., H]``."""
        out: Tensor = self.propri_proj(torch.cat((state, mask), dim=-1))
        return out
