"""The state as words of the prompt, in bundles whose policies read it so."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle.embodiment import Layout
from wall_edge.checks import MAX_SLOTS, between

MAX_BINS = 1 << 16


@dataclass(frozen=True)
class StateText:
    """Normalised values in [-1, 1] become numbers of ``bins`` equal bins, which stand where the state token
    would; ``policies.state_text`` writes them.

    ``slots``: the model's slots, where all are said (LeRobot), those that no degree of freedom takes as the
    layout's ``masked`` has them; none where only degrees of freedom are (upstream).
    """

    bins: int
    slots: int | None = None

    def __post_init__(self) -> None:
        between("bins", self.bins, 2, MAX_BINS)
        between("slots", self.slots, 1, MAX_SLOTS)

    def model_slots(self, layout: Layout) -> int | None:
        """Slots of the model's state, as far as a manifest tells: all are said, or all stand ``masked`` (the
        exporter writes each or none)."""
        return self.slots or len(layout.masked) or None

    def width(self, layout: Layout) -> int:
        """Slots of a state of this layout: all of the model's, or as many as are taken."""
        return self.slots or max(1 + max(layout.slots), len(layout.masked))

    def longest_words(self, degrees: int) -> str:
        """Of the states of so many degrees of freedom, one that takes the most words."""
        return " ".join([str(self.bins - 1)] * (self.slots or degrees))

    def most_tokens(self, degrees: int) -> int:
        """Tokens that the longest words of a state of so many degrees of freedom may take.

        A token is a byte at least, and Qwen's tokenizer has one for each digit and each space between
        numbers: a bound for every byte-level tokenizer, and what Qwen's needs.
        """
        return len(self.longest_words(degrees))
