"""The next sub-task in words, decoded greedily by the same model."""

from __future__ import annotations

from wall_edge.array_types import Floats32
from wall_edge.bundle import MAX_SUBGOAL_TOKENS
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import action_text


class SubgoalPlanner:
    """The next sub-task in words, decoded greedily by the same model. One thread at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def subgoal(self, observation: Observation, instruction: str) -> str:
        """Words of the next sub-task; raises :class:`PolicyError` when the sentence does not end."""
        self._encoder.observe(observation)
        return self.words(instruction)

    def words(self, instruction: str) -> str:
        """As :meth:`subgoal`, of an observation that the session has (:meth:`Encoder.observe`)."""
        ids = self.decode(instruction, observed=True)
        tokenizer = self._encoder.prompts.tokenizer
        if ids[-1] != tokenizer.ids.turn_end:
            raise PolicyError(
                f"the subgoal {tokenizer.decode(ids)!r} did not end",
                expected=f"<|im_end|> within {MAX_SUBGOAL_TOKENS} tokens",
            )
        words = tokenizer.decode(ids)
        try:
            action_text(words)
        except ConfigError as error:  # to be reported and decoded again, not the end of the task
            raise PolicyError(f"the subgoal {words!r} cannot be acted on: {error}") from None
        return words

    def decode(
        self, instruction: str, limit: int = MAX_SUBGOAL_TOKENS, *, observed: bool = False
    ) -> list[int]:
        """Greedy token ids after the prompt, up to and with ``<|im_end|>``, at most ``limit``.

        ``observed``: as of :meth:`Encoder.prefill_action`.
        """
        prompt = self._encoder.prefill_subgoal(instruction, observed=observed)
        ids: list[int] = []
        for token in self._encoder.greedy_tokens(prompt):
            ids.append(token)
            if token == self._encoder.prompts.tokenizer.ids.turn_end or len(ids) == limit:
                break
        return ids

    def first_logits(self, instruction: str) -> Floats32:
        """Logits of the first generated token, one for each row of the vocabulary head."""
        self._encoder.prefill_subgoal(instruction)
        return self._encoder.session.logits()
