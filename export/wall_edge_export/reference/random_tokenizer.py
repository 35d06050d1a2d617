"""The tokenizer of a random checkpoint: prompts as long as the published one's, of a few hundred words."""

from __future__ import annotations

import re

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wall_edge.policies.prompt_text import SPECIAL_TOKENS, action_text, observation_text, subgoal_text
from wall_edge_export.reference.random_shapes import CAMERAS, NamedShape

END_OF_TEXT = "<|endoftext|>"
_MAX_WORDS = 768


def build_tokenizer(shape: NamedShape) -> Tokenizer:
    """A byte-level BPE in which the words of the prompt templates are one token each.

    As with Qwen's vocabulary, a prompt is about as long as its words: a measurement of the prefix sees the
    length that the published model would. Any other text is spelt in bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MAX_WORDS,
        min_frequency=1,
        special_tokens=[END_OF_TEXT, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_template_texts(), trainer)
    tokenizer.add_tokens([f"<|action_token_{number}|>" for number in range(shape.fast_tokens)])
    return tokenizer


def _template_texts() -> list[str]:
    """What stands between the special tokens of both prompts."""
    observation = observation_text(dict.fromkeys(CAMERAS, 1))
    texts = (observation, subgoal_text("do the task."), action_text("do the task."))
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    return [part for text in texts for part in special.split(text) if part]
