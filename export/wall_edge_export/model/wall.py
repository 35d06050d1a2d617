"""The whole WALL-OSS model; parameter names are the checkpoint's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wall_edge_export.model.action_head import ActionHead
from wall_edge_export.model.decoder import Decoder, Tokens
from wall_edge_export.model.layers import MASKED, additive, fitted
from wall_edge_export.model.shapes import ACTION_EXPERT, TEXT_EXPERT, ModelShape
from wall_edge_export.model.vision import Grid, VisionTower


class WallModel(nn.Module):
    """Vision tower, decoder with hard-routed experts, language head and action head.

    The methods below are the stages that :mod:`wall_edge_export.onnx.graphs` turns into graphs; keys/values
    have the shape ``[tokens, layers, 2, kv heads, head dim]``.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.visual = VisionTower(shape.vision)
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        self.action_preprocessor = ActionHead(shape)

    def image_embeds(self, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
        """``patches [n, patch_dim]`` → image tokens ``[n / merge², H]``."""
        out: Tensor = self.visual(patches, grids)
        return out

    def prefix(
        self,
        input_ids: Tensor,
        image_embeds: Tensor,
        positions: Tensor,
        mask: Tensor,
        past: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        *,
        image_token_id: int,
        state_token_id: int | None,
    ) -> tuple[Tensor, Tensor]:
        """Prompt tokens ``input_ids [T]`` at ``positions [3, T]`` after ``past [P, …]``.

        ``mask [T, P + T]`` is true where a token may look: at the past, itself and what is before it.
        Image pads are replaced by ``image_embeds [N, H]`` in their order, ``<|propri|>`` by the state
        ``[dof]`` where a token carries it. Returns the new tokens' keys/values ``[T, …]`` and the last one's
        hidden state ``[1, H]``, which :meth:`logits` takes.
        """
        tokens = self.prompt_tokens(
            input_ids,
            image_embeds,
            positions,
            mask,
            state,
            state_mask,
            past=past.shape[0],
            image_token_id=image_token_id,
            state_token_id=state_token_id,
        )
        hidden, new = self.model(tokens, past, last=True)
        return new, fitted(hidden, self.shape.hidden_size)

    def prompt_tokens(
        self,
        input_ids: Tensor,
        image_embeds: Tensor,
        positions: Tensor,
        mask: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        *,
        past: int,
        image_token_id: int,
        state_token_id: int | None,
    ) -> Tokens:
        """What :meth:`prefix` takes through the decoder behind ``past`` tokens."""
        is_image, causal = input_ids == image_token_id, mask[:, past:]
        x = self.embed(self.model.embed_tokens(input_ids), is_image, image_embeds, causal)
        if state is not None and state_mask is not None and state_token_id is not None:
            state_embed = self.action_preprocessor.embed_state(state, state_mask).to(x.dtype)
            x = torch.where((input_ids == state_token_id).unsqueeze(-1), state_embed, x)
        return self.model.tokens(fitted(x, self.shape.stream_width(TEXT_EXPERT)), positions, additive(mask))

    @staticmethod
    def embed(x: Tensor, is_image: Tensor, image_embeds: Tensor, causal: Tensor) -> Tensor:
        """Token embeddings ``x [T, H]`` with the image pads among them replaced, in their order, if all are
        there.

        ``causal [T, T]`` is true for a token and those before it.
        """
        # Counted in float32, exact to 16 million tokens, and by one sum a token: TensorRT sums no integers,
        # and 10.3 makes a loop over the tokens of a CumSum.
        count = (causal & is_image).float().sum(-1)
        rank = (count - 1).clamp(min=0).to(torch.int64)
        # A pad that the model wrote itself is a word, as in upstream: an observation's come all at once.
        replaced = is_image & (count[-1:] > image_embeds.shape[0] - 0.5)
        return torch.where(replaced.unsqueeze(-1), image_embeds.index_select(0, rank), x)

    def logits(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last token's hidden state ``[1, H]`` → logits ``[vocab]``, the likeliest ``[1]`` and their sum.

        The sum is finite if all of them are: an engine need not give them all to the host.
        """
        # Two rows, one of them for nothing: for a single one TensorRT widens 8-bit weights into memory first.
        rows: Tensor = self.lm_head(hidden.expand(2, -1))[:1].float()
        return rows[0], rows.argmax(dim=-1), rows.sum()  # of [1, vocab]: TensorRT's TopK takes no single axis

    def velocity(
        self,
        noisy: Tensor,
        mask: Tensor,
        time: Tensor,
        positions: Tensor,
        past: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Flow velocity ``[horizon, dof]`` of ``noisy [horizon, dof]`` at ``time []`` after the prefix.

        ``padding [dof]``: where degrees of freedom whose ``mask`` is 0 go in a straight line.
        """
        tokens = self.action_tokens(noisy, mask, time, positions, past=past.shape[0], dtype=past.dtype)
        v = self.action_preprocessor.velocity(self.model(tokens, past)[0], noisy, time)
        return v if padding is None else torch.where(mask > 0, v, (padding - noisy) / (1 - time))

    def action_tokens(
        self, noisy: Tensor, mask: Tensor, time: Tensor, positions: Tensor, *, past: int, dtype: torch.dtype
    ) -> Tokens:
        """What :meth:`velocity` takes through the decoder behind ``past`` tokens, in their ``dtype``."""
        head, width = self.action_preprocessor, self.shape.stream_width(ACTION_EXPERT)
        x = fitted(head.embed_action(noisy, mask, time), width).to(dtype)
        condition = head.condition(time)
        return self.model.tokens(
            x,
            positions,
            self.action_bias(len(x), past),
            expert=ACTION_EXPERT,
            condition=None if condition is None else condition.to(dtype),
        )

    def action_bias(self, tokens: int, past: int) -> Tensor | None:
        """What is added to the scores of a chunk's tokens ``[tokens, past + tokens]``; None: they see all."""
        if not self.shape.causal_actions:
            return None
        # A constant and an expanded zero: TensorRT makes a mask of compared shapes on the host.
        causal = torch.from_numpy(np.where(np.tri(tokens), 0.0, MASKED).astype(np.float32))
        return torch.cat((torch.zeros(tokens, 1).expand(tokens, past), causal), dim=-1)

    def step(
        self,
        noisy: Tensor,
        mask: Tensor,
        time: Tensor,
        step_size: Tensor,
        guidance_weight: Tensor,
        target: Tensor,
        weights: Tensor,
        positions: Tensor,
        past: Tensor,
        padding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One step of explicit Euler in float32: the velocity and the next noisy action, ``[horizon, dof]``.

        Followed is ``v + guidance_weight · weights · (target - x1)`` with the action that the step foresees,
        ``x1 = noisy + (1 - time) · v``: guidance element by element, none with zeros.
        """
        v = self.velocity(noisy, mask, time, positions, past, padding)
        guidance = weights * (target - (noisy + (1 - time) * v))
        return v, noisy + step_size * (v + guidance_weight * guidance)

    def guided_step(
        self,
        noisy: Tensor,
        mask: Tensor,
        time: Tensor,
        step_size: Tensor,
        guidance_weight: Tensor,
        target: Tensor,
        weights: Tensor,
        positions: Tensor,
        past: Tensor,
        padding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`step` by the guidance of real-time chunking (Black et al., arXiv 2506.07339): velocity,
        guidance, next noisy action.

        The guidance is ``(d x1 / d noisy)^T [weights * (target - x1)]``, equation 2 there. Not in inference
        mode, which has no derivatives.
        """
        past = past.float()

        def foreseen(x: Tensor) -> tuple[Tensor, Tensor]:
            v = self.velocity(x, mask, time, positions, past, padding)
            return x + (1 - time) * v, v

        x1, pull, v = torch.func.vjp(foreseen, noisy, has_aux=True)  # type: ignore[misc]
        guidance = pull(weights * (target - x1))[0]
        if padding is not None:  # what has a path of its own is not pulled off it
            guidance = torch.where(mask > 0, guidance, 0.0)
        return v, guidance, noisy + step_size * (v + guidance_weight * guidance)
