"""The tokenizer of a small trained policy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from examples.training.policy_files import END_OF_TEXT, PolicyKind
from wall_edge.policies.prompt_text import SPECIAL_TOKENS, action_text, observation_text, subgoal_text


def build_tokenizer(kind: PolicyKind, tasks: Iterable[tuple[str, str]]) -> Tokenizer:
    """A byte-level BPE with WALL-OSS's special tokens, trained on the policy's own sentences.

    ``tasks`` are instructions, each with one of its subgoals. Qwen's BPE stops at word boundaries; this one
    merges across them, so that a sentence of the prompt template costs one token, and stops only at the words
    that a task chooses from and at the state's numbers, each of which is one token: every prompt is of the
    same length. Any other text still has an encoding, byte by byte.
    """
    tokenizer = Tokenizer(models.BPE())
    words = kind.choices if kind.state_bins is None else (*kind.choices, r"\d{1,3}")
    choices = Regex(f" (?:{'|'.join(words)})")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(choices, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=2,
        special_tokens=[END_OF_TEXT, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(kind, tasks), trainer)
    return tokenizer


def number_word(number: int) -> str:
    """A bin's number as it stands in the prompt, behind a colon or another number."""
    return f" {number}"


def _corpus(kind: PolicyKind, tasks: Iterable[tuple[str, str]]) -> list[str]:
    """The text between special tokens of every prompt and answer."""
    texts = []
    for instruction, subgoal in tasks:
        observation = observation_text(kind.image_tokens, kind.wording)
        question, request = subgoal_text(instruction, kind.wording), action_text(subgoal, kind.wording)
        texts += [observation, question, request, subgoal]
    texts += 2 * [number_word(number) for number in range(kind.state_bins or 0)]
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    return [part for text in texts for part in special.split(text) if part]
