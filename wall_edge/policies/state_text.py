"""The state as words of the prompt: what later WALL-OSS checkpoints read instead of a state token.

Source: github.com/X-Square-Robot/wall-x 1.1 and LeRobot's ``wall_oss_05``, which agree.
"""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import Layout, StateText
from wall_edge.policies.transforms import slot_values


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


def said_state(layout: Layout, text: StateText | None, state: Floats) -> str | None:
    """The words of policy values ``[degrees]``; None where a token carries the state.

    In float32, as the references have it. They round before, too: of a value within a few of float32's steps
    of an edge, about one in 100 000, theirs may be the bin beside. Raises :class:`PolicyError`.
    """
    if text is None:
        return None
    values, mask = slot_values(layout, text.width(layout), state)
    return state_words(values if text.slots is not None else values[mask > 0], text.bins)
