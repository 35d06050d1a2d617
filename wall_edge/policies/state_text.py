"""The state as words of the prompt: what later WALL-OSS checkpoints read instead of a state token.

Source: github.com/X-Square-Robot/wall-x 1.1 and LeRobot's ``wall_oss_05``, which agree.
"""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import Manifest


def state_words(normalised: Floats | Floats32, bins: int) -> str:
    """Normalised values ``[degrees]`` in the model's order → the numbers of their bins, a space between.

    [-1, 1] is cut into ``bins`` equal bins from 0; a value on an edge is of the bin above, what lies beyond
    counts as the end. Raises ValueError for values that are no numbers.
    """
    if np.isnan(normalised).any():
        raise ValueError(f"state {normalised.tolist()}")
    edges = np.linspace(-1.0, 1.0, bins + 1)[:-1]
    numbers = np.digitize(np.clip(normalised, -1.0, 1.0), edges) - 1
    return " ".join(map(str, numbers.tolist()))


def said_state(manifest: Manifest, values: Floats32, mask: Floats32) -> str | None:
    """The words of a state, ``[slots]`` as of :func:`transforms.model_state`; None where a token carries it.

    In float32, as the references have it: a value beside an edge is of the same bin as theirs.
    """
    text = manifest.state_text
    if text is None:
        return None
    return state_words(values if text.slots is not None else values[mask > 0], text.bins)


def most_state_tokens(manifest: Manifest) -> int:
    """Tokens that the longest words of a state may take; 0 where a token carries it.

    A token is a byte at least, and Qwen's tokenizer has one for each digit and each space between numbers:
    so it is a bound for every byte-level tokenizer, and what Qwen's needs.
    """
    text = manifest.state_text
    if text is None:
        return 0
    return longest_words(text.slots or len(manifest.embodiment.state), text.bins)


def longest_words(numbers: int, bins: int) -> int:
    """Bytes of the longest words of ``numbers`` bins."""
    return numbers * (len(str(bins - 1)) + 1) - 1
