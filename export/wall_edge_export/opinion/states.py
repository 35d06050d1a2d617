"""States whose words are known beforehand: values in the middle of bins that are drawn first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.bundle import Layout, StateText
from wall_edge_export.opinion.reference_rules import bin_middle, bin_number

_DRAWN = 3


def drawn_states(layout: Layout, text: StateText | None) -> Iterator[tuple[str, Floats]]:
    """What stands behind "Proprioception:", and policy values ``[degrees]`` that are to give it.

    A state token where ``text`` is None. Between the ends of each range: what is beyond may be written as
    another value (a rotation).
    """
    if text is None:
        yield "<|propri|>", np.array(layout.offset)
        return
    rng = np.random.default_rng(0)
    degrees, last = len(layout), text.bins - 1
    drawn = [rng.integers(0, text.bins, degrees) for _ in range(_DRAWN)]
    for numbers in (np.zeros(degrees, np.int64), np.full(degrees, last), *drawn):
        numbers_by_slot = _others(layout, text)
        numbers_by_slot |= {slot: int(n) for slot, n in zip(layout.slots, numbers, strict=True)}
        ranges = zip(numbers, layout.offset, layout.scale, strict=True)
        state = [bin_middle(int(n), text.bins, middle - half, 2 * half) for n, middle, half in ranges]
        yield " ".join(str(number) for _, number in sorted(numbers_by_slot.items())), np.array(state)


def _others(layout: Layout, text: StateText) -> dict[int, int]:
    """Numbers of the slots that no degree of freedom takes, where they are said."""
    values = [*layout.masked, *[0.0] * ((text.slots or 0) - len(layout.masked))]
    return {
        slot: bin_number(float(np.float32(value)), text.bins)
        for slot, value in enumerate(values[: text.slots or 0])
    }
