"""Prompts as token ids and positions; a text that was used lately is not tokenised again, but for states."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wall_edge.bundle import TOKENIZER, ActionSpace, Bundle, ImageGeometry, Wording
from wall_edge.errors import BundleError
from wall_edge.files import read_array
from wall_edge.policies.prompt_text import (
    Ids,
    PromptTokenizer,
    TokenIds,
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
    """Prompts of some cameras' images.

    ``head_tokens``: the token id of each row of a trimmed vocabulary head, None for a whole one; ``wording``,
    ``action_space``: what the policy was trained on (:func:`observation_text`); ``state_tokens``: the most
    tokens of a state's words, 0 where a token carries it.
    """

    def __init__(
        self,
        cameras: Mapping[str, ImageGeometry],
        tokenizer: PromptTokenizer,
        head_tokens: Ids | None = None,
        wording: Wording = "lerobot",
        *,
        action_space: ActionSpace | None = None,
        state_tokens: int = 0,
    ) -> None:
        self._cameras, self.tokenizer, self._head_tokens = cameras, tokenizer, head_tokens
        self._wording: Wording = wording
        self._state_tokens = state_tokens
        images = {name: geometry.tokens for name, geometry in cameras.items()}
        self._observation = observation_text(images, wording, action_space)
        self._plain = observation_text(images, wording)
        self._cache: OrderedDict[str, Prompt] = OrderedDict()
        self._first = self._new(self._observation)

    @property
    def observation_tokens(self) -> int:
        """Tokens at the front of action prompts: the cameras' images and what frames them."""
        return len(self.observation().ids)

    @classmethod
    def of(cls, bundle: Bundle) -> Prompts:
        """Those of a bundle."""
        manifest = bundle.manifest
        tokenizer = PromptTokenizer(bundle.path(TOKENIZER), state_token=manifest.state_text is None)
        bundle.require_unchanged(TOKENIZER)
        head_tokens = _head_tokens(bundle, tokenizer.largest_id)
        text = manifest.state_text
        return cls(
            manifest.cameras,
            tokenizer,
            head_tokens,
            manifest.prompt_wording,
            action_space=manifest.prompt_action_space,
            state_tokens=0 if text is None else text.most_tokens(manifest.state_dof),
        )

    def head_token(self, row: int) -> int:
        """The token id of a row of the vocabulary head."""
        return row if self._head_tokens is None else int(self._head_tokens[row])

    def observation(self) -> Prompt:
        """What action prompts begin with, and subgoal prompts behind the same system turn."""
        return self._first

    def action(self, words: str, state: str | None = None) -> Prompt:
        """The prompt that ends where the action tokens begin; None has the state's token in it.

        One that spells a ``state`` (:func:`said_state`) is of no further use, and is not kept.
        """
        if state is None:
            return self._kept(self._observation + action_text(words, self._wording))
        return self._new(self._observation + action_text(words, self._wording, state))

    def most_action_tokens(self, words: str) -> int:
        """Tokens of the action prompt, whatever the state."""
        return len(self.action(words).ids) + self._state_tokens

    def subgoal(self, instruction: str) -> Prompt:
        """The prompt that asks for the next sub-task in words.

        Its system turn is the plain one, as upstream's in all policies (``get_text_for_subtask_generation``).
        """
        return self._kept(self._plain + subgoal_text(instruction, self._wording))

    def _kept(self, text: str) -> Prompt:
        if text not in self._cache:
            self._cache[text] = self._new(text)
            if len(self._cache) > _PROMPTS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(text)
        return self._cache[text]

    def _new(self, text: str) -> Prompt:
        # Always as a whole: a tokenizer may merge across the border of what is said before.
        ids = self.tokenizer.encode(text)
        cells = [geometry.cells for geometry in self._cameras.values()]
        axes = positions(ids, cells, self.tokenizer.ids.image)
        return Prompt(ids, axes, next_position(axes))


def common_front(cached: Ids, ids: Ids, tokens: TokenIds) -> int:
    """How many tokens of a prompt ``ids [T]`` need not run behind an observation's ``cached [C]`` ones.

    Equal ids in front, up to a state token (whose keys/values are its state's); all images or none, as those
    that run are counted from the first; and the last token always runs, as what comes next reads its output.
    """
    most = min(len(cached), len(ids) - 1)
    other = (cached[:most] != ids[:most]) | (ids[:most] == tokens.state)
    front = int(other.argmax()) if other.any() else most
    if (ids[front:] == tokens.image).any():
        return min(front, int((ids == tokens.image).argmax()))
    return front


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
