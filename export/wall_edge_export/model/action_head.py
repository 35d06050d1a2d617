"""The flow-matching action head (``action_preprocessor`` in the checkpoint), always in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wall_edge_export.model.layers import fitted
from wall_edge_export.model.shapes import ModelShape

_LEAST_REST = 0.05
"""Of the flow's time that is left, where an action is turned into a velocity: upstream's bound."""


class ActionHead(nn.Module):
    """Noisy actions and time in, velocity out."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        width, masks = shape.action_width, 2 if shape.masked_projections else 1
        self.width, self._shape = width, shape
        self.w1 = nn.Linear(masks * shape.action_dof, width, bias=False)
        if shape.adaptive_norms:
            self.time_mlp_in, self.time_mlp_out = nn.Linear(width, width), nn.Linear(width, width)
        else:
            self.w2 = nn.Linear(2 * width, width, bias=False)
            self.w3 = nn.Linear(width, width, bias=False)
        self.action_proj_back = nn.Linear(width, shape.action_dof, bias=False)
        if shape.state_token:
            self.propri_proj = nn.Linear(masks * shape.state_dof, shape.state_width, bias=False)

    def time_embedding(self, time: Tensor) -> Tensor:
        """``time [...]`` in [0, 1], not scaled → ``[..., width]``, sines first."""
        half = self.width // 2
        steps = torch.arange(half, dtype=torch.float32)
        angles = time.unsqueeze(-1) * torch.exp(steps * (-math.log(10000.0) / (half - 1)))
        return torch.cat((angles.sin(), angles.cos()), dim=-1)

    def condition(self, time: Tensor) -> Tensor | None:
        """What adaptive norms depend on at ``time [...]``: ``[..., width]``; None where norms are plain."""
        if not self._shape.adaptive_norms:
            return None
        inner = nn.functional.silu(self.time_mlp_in(self.time_embedding(time)))
        return nn.functional.silu(self.time_mlp_out(inner))

    def embed_action(self, noisy: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        """``noisy, mask [..., horizon, dof]``, ``time [...]`` → embeddings ``[..., horizon, width]``."""
        action: Tensor = self.w1(self._masked(noisy, mask))
        if self._shape.adaptive_norms:
            return action
        stamp = self.time_embedding(time).unsqueeze(-2).expand_as(action)
        out: Tensor = self.w3(nn.functional.silu(self.w2(torch.cat((action, stamp), dim=-1))))
        return out

    def embed_state(self, state: Tensor, mask: Tensor) -> Tensor:
        """``state, mask [..., dof]`` (normalised) → the ``<|propri|>`` token's embedding ``[..., H]``."""
        return fitted(self.propri_proj(self._masked(state, mask)), self._shape.hidden_size)

    def velocity(self, hidden: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Final hidden states ``[..., horizon, W]`` of ``noisy [..., horizon, dof]`` at ``time [...]`` → the
        flow's velocity ``[..., horizon, dof]``."""
        out: Tensor = self.action_proj_back(fitted(hidden, self.width).float())
        if self._shape.predicts == "velocity":
            return out
        return (out - noisy) / (1 - time).clamp(min=_LEAST_REST)[..., None, None]

    def _masked(self, values: Tensor, mask: Tensor) -> Tensor:
        return torch.cat((values, mask), dim=-1) if self._shape.masked_projections else values
