"""Whether an instruction can be carried out at all: to be known before anything starts."""

from __future__ import annotations

import unicodedata

from wall_edge.bundle import Bundle
from wall_edge.errors import ConfigError
from wall_edge.policies.prompt_text import action_text
from wall_edge.policies.prompts import Prompts

_MOST_BYTES = 8192
"""No prompt has room for more; what is longer is a file that was given for words."""
_SHORT_BYTES = 100
"""A token is a byte at least, and a prompt has room for 256 tokens: no need to load a tokenizer of 10 MB."""


def require_words(text: str, where: str) -> None:
    """Raises ConfigError for an instruction that no prompt takes; ``where`` it was given begins the line."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where} is not text ({error.reason})", expected="UTF-8") from None
    if size > _MOST_BYTES:
        raise ConfigError(f"{where} has {size} bytes", expected=f"at most {_MOST_BYTES}")
    if not any(character.isalnum() for character in text):
        fix = "leave the option out to take ROBOT.yaml's" if where.startswith("--") else ""
        raise ConfigError(
            f"{where} {text[:40]!r} holds no words", expected="words such as 'touch the red block.'", fix=fix
        )
    for character in text.strip():
        if unicodedata.category(character) == "Cc":
            raise ConfigError(
                f"{where} holds the control character {character!r}", expected="one line of words"
            )
    try:
        action_text(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def require_fitting(text: str, bundle: Bundle) -> None:
    """Raises ConfigError for an instruction that is longer than the prompts a bundle was made for."""
    if len(text.encode()) <= _SHORT_BYTES:
        return
    prompts = Prompts.of(bundle)
    longest = max(prompts.most_action_tokens(text), len(prompts.subgoal(text).ids))
    if longest > bundle.manifest.max_prompt_tokens:
        raise ConfigError(
            f"the instruction makes a prompt of {longest} tokens",
            expected=f"at most {bundle.manifest.max_prompt_tokens}",
            fix="say it in fewer words",
        )
