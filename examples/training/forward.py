"""One pass of the model over a batch of packed sequences (:mod:`examples.training.packing`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap
from wall_edge_export.model.inventory import inventory
from wall_edge_export.model.layers import fitted
from wall_edge_export.model.shapes import ACTION_EXPERT
from wall_edge_export.model.vision import VisionLayout
from wall_edge_export.model.wall import WallModel

from examples.training.packing import Layout


class Passed(NamedTuple):
    """Image tokens ``[B, N, H]``, the prefix's hidden states ``[B, T, H]``, velocities
    ``[B, noises, horizon, slots]``."""

    images: Tensor
    hidden: Tensor
    velocity: Tensor


class PackedForward:
    """``mask [slots]`` is 1 in slots that live. Dead ones are zero wherever the model looks at them."""

    def __init__(self, model: WallModel, layout: Layout, mask: Tensor) -> None:
        self._model, self._layout, self._mask = model, layout, mask
        grids = [geometry.grid for geometry in layout.cameras.values()]
        self._vision = VisionLayout(grids, model.shape.vision)

    def __call__(self, ids: Tensor, patches: Tensor, state: Tensor, noisy: Tensor, time: Tensor) -> Passed:
        """``ids [B, T]``, ``patches [B, n, patch_dim]``, ``state [B, slots]``, ``noisy [B, noises, horizon,
        slots]`` at ``time [B, noises]``."""
        images = self.images(patches)
        hidden, cache = self.prefix(ids, images, state)
        return Passed(images, hidden, self.velocity(cache, noisy, time))

    def images(self, patches: Tensor) -> Tensor:
        """Image tokens ``[B, N, H]`` of all cameras."""
        tokens: Tensor = vmap(self._images)(patches)
        return tokens

    def prefix(self, ids: Tensor, images: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states ``[B, T, H]`` and keys/values of both prompts."""
        model, layout, mask = self._model, self._layout, self._mask
        x = model.model.embed_tokens(ids)
        x = torch.cat((x[:, : layout.first_image], self._views(x, images)), dim=1)
        if model.shape.state_token:
            embedded = model.action_preprocessor.embed_state(state * mask, mask.expand_as(state))
            is_state = (ids == layout.tokenizer.ids.state).unsqueeze(-1)
            x = torch.where(is_state, embedded[:, None], x)
        hidden, cache = vmap(self._run)(x)
        return hidden, cache

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        decoder, layout = self._model.model, self._layout
        hidden, cache = decoder(decoder.tokens(x, layout.positions, layout.bias))
        return hidden, cache

    def velocity(self, cache: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """``[B, noises, horizon, slots]`` behind the action prompt's keys/values."""
        head, mask = self._model.action_preprocessor, self._mask
        chunks = head.embed_action(noisy * mask, mask.expand_as(noisy), time)
        behind = cache.index_select(1, self._layout.action_branch)
        hidden = vmap(self._chunks)(fitted(chunks, self._model.shape.stream_width(ACTION_EXPERT)), behind)
        velocity: Tensor = head.velocity(hidden, noisy, time)
        return velocity

    def _images(self, patches: Tensor) -> Tensor:
        tower = self._model.visual
        x = tower.patch_embed(patches)
        for number in range(tower.shape.depth):
            x = tower.block(number, x, self._vision)
        out: Tensor = tower.merger(x)
        return out

    def _chunks(self, chunks: Tensor, past: Tensor) -> Tensor:
        """Hidden states ``[noises, horizon, H]`` of one observation's noisy chunks behind its keys/values."""
        positions = self._layout.chunk_positions
        bias = self._model.action_bias(self._layout.horizon, past.shape[0])

        decoder = self._model.model

        def chunk(x: Tensor) -> Tensor:
            out: Tensor = decoder(decoder.tokens(x, positions, bias, expert=ACTION_EXPERT), past)[0]
            return out

        hidden: Tensor = vmap(chunk)(chunks)
        return hidden

    def _views(self, x: Tensor, images: Tensor) -> Tensor:
        """Embeddings from the first image token on, with the pads replaced by image tokens."""
        rest = x[:, self._layout.first_image :]
        place = self._layout.image_places.view(1, -1, 1).expand(len(x), -1, x.shape[-1])
        return rest.scatter(1, place, images.to(rest.dtype))


def initialise(model: WallModel, live: Tensor) -> None:
    """Small normal matrices; what writes to the residual stream smaller still, by depth.

    What reads or writes a slot that is not ``live [slots]`` is zero, and stays so.
    """
    weights = inventory(model)
    for name, parameter in model.named_parameters():
        weight = weights[name]
        if not weight.matrix:
            if weight.layer is not None:  # a bias, and no norm
                nn.init.zeros_(parameter)
            continue
        scale = min(0.06, parameter[0].numel() ** -0.5)
        if weight.residual:
            scale /= (2 * model.shape.num_layers) ** 0.5
        nn.init.normal_(parameter, std=0.02 if weight.family in ("embedding", "lm_head") else scale)
    if model.shape.tied_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    head = model.action_preprocessor
    with torch.no_grad():
        head.w1.weight.mul_(live.repeat(2))
        if model.shape.state_token:
            head.propri_proj.weight.mul_(live.repeat(2))
        head.action_proj_back.weight.mul_(live[:, None])
