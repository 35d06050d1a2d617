"""The state as words of the prompt: what later WALL-OSS checkpoints read instead of a state token.

Source: github.com/X-Square-Robot/wall-x 1.1 and LeRobot's ``wall_oss_05``, which agree.
"""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats


def state_words(normalised: Floats, bins: int) -> str:
    """Normalised values ``[degrees]`` in the model's order → the numbers of their bins, a space between.

    [-1, 1] is cut into ``bins`` equal bins from 0; a value on an edge is of the bin above, what lies beyond
    counts as the end.
    """
    edges = np.linspace(-1.0, 1.0, bins + 1)[:-1]
    numbers = np.digitize(np.clip(normalised, -1.0, 1.0), edges) - 1
    return " ".join(map(str, numbers.tolist()))
