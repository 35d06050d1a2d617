"""The next sub-task in words, decoded greedily by the same model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from wall_edge_engines.session import ModelSession

from wall_edge.array_types import Floats32
from wall_edge.bundle import Manifest
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.policies.encoder import MAX_SUBGOAL_TOKENS, observe
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import (
    action_text,
)
from wall_edge.policies.prompts import Prompt, Prompts


class SubgoalPlanner:
    """The next sub-task in words, decoded greedily by the same model. One thread at a time."""

    def __init__(self, manifest: Manifest, prompts: Prompts, session: ModelSession) -> None:
        self._manifest, self._prompts, self._session = manifest, prompts, session
        self._nothing = np.zeros(manifest.state_slots, dtype=np.float32)

    def subgoal(self, observation: Observation, instruction: str) -> str:
        """Words of the next sub-task; raises :class:`PolicyError` when the sentence does not end."""
        observe(self._manifest, self._prompts, self._session, observation)
        return self.words(instruction)

    def words(self, instruction: str) -> str:
        """As :meth:`subgoal`, of an observation that the session has seen (:func:`observe`)."""
        ids = self.decode(instruction, keep=self._prompts.observation_tokens)
        tokenizer = self._prompts.tokenizer
        if ids[-1] != tokenizer.ids.turn_end:
            raise PolicyError(
                f"the subgoal {tokenizer.decode(ids)!r} did not end",
                expected=f"<|im_end|> within {MAX_SUBGOAL_TOKENS} tokens",
            )
        words = tokenizer.decode(ids)
        try:
            action_text(words)
        except ConfigError as error:  # to be told and asked for again, not the end of the task
            raise PolicyError(f"the subgoal {words!r} cannot be acted on: {error}") from None
        return words

    def decode(self, instruction: str, limit: int = MAX_SUBGOAL_TOKENS, *, keep: int = 0) -> list[int]:
        """Greedy token ids after the prompt, up to and with ``<|im_end|>``, at most ``limit``.

        The first ``keep`` tokens of the prompt are cached already.
        """
        prompt = self._prompts.subgoal(instruction)
        self._prefill(prompt, keep)
        ids: list[int] = []
        for token in greedy_tokens(self._prompts, self._session, prompt):
            ids.append(token)
            if token == self._prompts.tokenizer.ids.turn_end or len(ids) == limit:
                break
        return ids

    def first_logits(self, instruction: str) -> Floats32:
        """Logits of the first generated token, one for each row of the vocabulary head."""
        self._prefill(self._prompts.subgoal(instruction), 0)
        return self._session.logits()

    def _prefill(self, prompt: Prompt, keep: int) -> None:
        ids, placed = prompt.ids[keep:], prompt.positions[:, keep:]
        self._session.prefill(ids, placed, self._nothing, self._nothing, keep=keep)


def greedy_tokens(prompts: Prompts, session: ModelSession, prompt: Prompt) -> Iterator[int]:
    """The likeliest token ids behind ``prompt``, whose keys/values are cached; it never ends by itself.

    A token is put behind the cached ones when the next is asked for. Raises :class:`PolicyError` on logits
    that are not finite.
    """
    for position in itertools.count(prompt.following):
        logits = session.logits()
        row = int(logits.argmax())
        if not np.isfinite(logits[row]):
            raise PolicyError("the logits hold values that are not finite", expected="finite logits")
        token = prompts.head_token(row)
        yield token
        session.append(token, position)
