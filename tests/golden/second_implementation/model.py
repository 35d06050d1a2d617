"""All outputs of a golden case, computed the naive way: the whole sequence again at every step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation.decoder import Decoder
from tests.golden.second_implementation.head import Head, time_grid
from tests.golden.second_implementation.layers import Allowed
from tests.golden.second_implementation.vision import Vision
from tests.golden.second_implementation.weights import Floats, read

Ids = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]
_GREEDY_TOKENS = 12


class Model:
    """A checkpoint's folder; ``later`` says how its family places times and dead degrees of freedom."""

    def __init__(self, folder: Path, later: bool) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self._tensors = read(folder / "model.safetensors")
        self._later = later
        self._vision = Vision(self._tensors, self.config)
        self._decoder = Decoder(self._tensors, self.config)
        self._head = Head(self._tensors, self.config)
        self._image_token: int = self.config["image_token_id"]
        self._state_token: int = self.config["special_token_ids"]["<|propri|>"]
        self._action_token: int = self.config["special_token_ids"]["<|action|>"]

    def outputs(self, case: Arrays, steps: tuple[int, ...] = (1, 9, 10)) -> dict[str, NDArray[Any]]:
        """Every expected array of ``case.npz`` from its observation."""
        images = self._vision.embeds(case["pixel_values"].astype(np.float64), case["image_grid_thw"])
        ids, live = case["input_ids"][0], case["attention_mask"][0] != 0
        grids = case["image_grid_thw"]
        positions = self.positions(ids, live, grids)
        x = self._embeddings(ids, images, case)
        logits, greedy = self._text(case, images)
        out: dict[str, NDArray[Any]] = {
            "image_embeds": images,
            "position_ids": positions[:, None],
            "text_logits": logits,
            "greedy_text_ids": greedy,
        }
        for count in steps:
            out[f"action_{count}_steps"] = self._actions(count, case, x, positions)[None]
        return out

    def positions(self, ids: Ids, live: Allowed, grids: Ids) -> Ids:
        """[3, tokens]: text moves all three axes by one; an image's cells spread over height and width."""
        positions = np.ones((3, len(ids)), dtype=np.int64)
        following, image, at = 0, 0, int(np.argmax(live))
        while at < len(ids):
            if ids[at] != self._image_token:
                positions[:, at] = following
                following, at = following + 1, at + 1
                continue
            height, width = grids[image, 1] // 2, grids[image, 2] // 2
            cells = np.indices((1, height, width)).reshape(3, -1)
            positions[:, at : at + height * width] = following + cells
            following, image, at = following + max(height, width), image + 1, at + height * width
        return positions

    def _embeddings(self, ids: Ids, images: Floats, case: Arrays) -> Floats:
        x = self._tensors["model.embed_tokens.weight"][ids]
        x[ids == self._image_token] = images
        if (ids == self._state_token).any():
            x[ids == self._state_token] = self._head.state(
                case["proprioception"][0].astype(np.float64), case["agent_pos_mask"][0].astype(np.float64)
            )
        return x

    def _allowed(self, live: Allowed, action: Allowed) -> Allowed:
        count = len(live)
        allowed = np.tri(count, dtype=np.bool_)
        if not self.config.get("causal_action_attention_mask", False):
            allowed |= action[:, None] & action[None]
        return (allowed & live[None]) | np.eye(count, dtype=np.bool_)

    def _actions(self, steps: int, case: Arrays, x: Floats, positions: Ids) -> Floats:
        action = case["input_ids"][0] == self._action_token
        allowed = self._allowed(case["attention_mask"][0] != 0, action)
        mask = case["dof_mask"][0].astype(np.float64)
        noise = case["noise"][0].astype(np.float64)
        chunk = noise.copy()
        times = time_grid(steps, self.config, self._later)
        for now, then in pairwise(times):
            x[action] = self._head.embedding(chunk, mask, now)
            hidden = self._decoder.run(
                x, positions, action.astype(np.int64), allowed, self._head.condition(now)
            )
            velocity = self._head.velocity(hidden[action], chunk, now)
            if self._later:
                velocity = np.where(mask != 0, velocity, case["padding_action"][0] - noise)
            chunk = chunk + (then - now) * velocity
        return chunk

    def _text(self, case: Arrays, images: Floats) -> tuple[Floats, Ids]:
        """Logits behind ``text_input_ids``, and twelve greedy tokens, each from the whole text again."""
        ids = case["text_input_ids"][0]
        positions = self.positions(ids, np.ones(len(ids), dtype=np.bool_), case["image_grid_thw"])
        x = self._embeddings(ids, images, case)
        first: Floats | None = None
        greedy: list[int] = []
        while len(greedy) < _GREEDY_TOKENS:
            none = np.zeros(len(x), dtype=np.bool_)
            hidden = self._decoder.run(x, positions, none.astype(np.int64), self._allowed(~none, none), None)
            logits = self._vocabulary() @ hidden[-1]
            first = logits if first is None else first
            greedy.append(int(logits.argmax()))
            x = np.concatenate([x, self._tensors["model.embed_tokens.weight"][greedy[-1:]]])
            positions = np.concatenate([positions, np.full((3, 1), positions.max() + 1)], axis=1)
        assert first is not None
        return first, np.array(greedy, dtype=np.int64)

    def _vocabulary(self) -> Floats:
        if "lm_head.weight" in self._tensors:
            return self._tensors["lm_head.weight"]
        assert self.config["tie_word_embeddings"]
        return self._tensors["model.embed_tokens.weight"]
