"""Normalisation statistics as a checkpoint's files have them, before anyone says what they are of."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.array_types import Floats

Range = tuple[Floats, Floats]
"""Smallest and largest values seen in training, ``[slots]`` both."""


@dataclass(frozen=True)
class Scaling:
    """``normalised = (value - offset) / scale`` by the model's slot, ``[slots]``: the first of them, or all.

    ``clip`` bounds the normalised values.
    """

    offset: Floats
    scale: Floats
    clip: float | None = None
