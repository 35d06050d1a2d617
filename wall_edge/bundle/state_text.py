"""The state as words of the prompt, in bundles whose policies read it so."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.checks import between

MAX_BINS = 1 << 16


@dataclass(frozen=True)
class StateText:
    """Normalised values in [-1, 1] become numbers of ``bins`` equal bins, which stand where the state token
    would; ``policies.state_text`` writes them.
    """

    bins: int

    def __post_init__(self) -> None:
        between("bins", self.bins, 2, MAX_BINS)
