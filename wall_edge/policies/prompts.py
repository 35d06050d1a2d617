"""Prompts as token ids and positions; a text that was used lately is not tokenised again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wall_edge.bundle import TOKENIZER, Bundle, ImageGeometry, Wording
from wall_edge.errors import BundleError
from wall_edge.files import read_array
from wall_edge.policies.prompt_text import (
    Ids,
    PromptTokenizer,
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)

_PROMPTS = 64
"""How many texts' prompts are kept: a model that words something new all day must not fill the memory."""


@dataclass(frozen=True)
class Prompt:
    """Token ids ``[T]``, their positions ``[3, T]`` and the position of what follows."""

    ids: Ids
    positions: Ids
    following: int


class Prompts:
    """Prompts of some cameras' images; a text that was used lately is not tokenised again.

    ``head_tokens``: the token id of each row of a trimmed vocabulary head, None for a whole one; ``wording``:
    whose words the policy was trained on.
    """

    def __init__(
        self,
        cameras: Mapping[str, ImageGeometry],
        tokenizer: PromptTokenizer,
        head_tokens: Ids | None = None,
        wording: Wording = "lerobot",
    ) -> None:
        self._cameras, self.tokenizer, self._head_tokens = cameras, tokenizer, head_tokens
        self._wording: Wording = wording
        self._observation = observation_text({name: g.tokens for name, g in self._cameras.items()}, wording)
        self._cache: OrderedDict[str, Prompt] = OrderedDict()
        self._first = self._new("")

    @property
    def observation_tokens(self) -> int:
        """Tokens at the front that both prompts share: the cameras' images and what frames them."""
        return len(self.observation().ids)

    @classmethod
    def of(cls, bundle: Bundle) -> Prompts:
        """Those of a bundle."""
        manifest, tokenizer = bundle.manifest, PromptTokenizer(bundle.path(TOKENIZER))
        bundle.require_unchanged(TOKENIZER)
        head_tokens = _head_tokens(bundle, tokenizer.largest_id)
        return cls(manifest.cameras, tokenizer, head_tokens, manifest.prompt_wording)

    def head_token(self, row: int) -> int:
        """The token id of a row of the vocabulary head."""
        return row if self._head_tokens is None else int(self._head_tokens[row])

    def observation(self) -> Prompt:
        """What both prompts begin with: the cameras' images and what frames them."""
        return self._first

    def action(self, words: str) -> Prompt:
        """The prompt that ends where the action tokens begin."""
        return self._prompt(action_text(words, self._wording))

    def subgoal(self, instruction: str) -> Prompt:
        """The prompt that asks for the next sub-task in words."""
        return self._prompt(subgoal_text(instruction, self._wording))

    def _prompt(self, request: str) -> Prompt:
        if request not in self._cache:
            self._cache[request] = self._new(request)
            if len(self._cache) > _PROMPTS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(request)
        return self._cache[request]

    def _new(self, request: str) -> Prompt:
        ids = self.tokenizer.encode(self._observation + request)
        cells = [geometry.cells for geometry in self._cameras.values()]
        axes = positions(ids, cells, self.tokenizer.ids.image)
        return Prompt(ids, axes, next_position(axes))


def _head_tokens(bundle: Bundle, largest: int) -> Ids | None:
    """Token ids of a trimmed vocabulary head ``[rows]``, at most ``largest``; None for a whole one."""
    name = bundle.manifest.head_tokens
    if name is None:
        return None
    rows = bundle.manifest.graphs["lm_head"].outputs["logits"].shape
    ids = read_array(bundle.path(name), BundleError)
    bundle.require_unchanged(name)
    if ids.shape != rows or ids.dtype != np.int64:
        raise BundleError(f"{name}: {ids.dtype} of shape {list(ids.shape)}", expected=f"int64 {list(rows)}")
    if ids.min() < 0 or ids.max() > largest or len(np.unique(ids)) < len(ids):
        raise BundleError(f"{name}: ids {ids.min()} to {ids.max()}", expected=f"different ids to {largest}")
    tokens: Ids = ids
    return tokens
