"""Figures of two sides, compared one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LEFT_OUT = frozenset({"times", "tools"})
"""Keys that are not compared, with all that is below them."""
MISSING = "(missing)"

Figures = dict[str, Any]
"""As JSON has it: mappings and lists of numbers, texts, truth values and nulls."""


@dataclass(frozen=True)
class Difference:
    """A figure that is not the same on both sides, or is on one side only (``MISSING``)."""

    name: str
    before: Any
    after: Any


def compare(before: Figures, after: Figures) -> tuple[int, list[Difference]]:
    """How many figures there are on either side, and those that are not the same on both."""
    left, right = dict(flat(before)), dict(flat(after))
    names = list(dict.fromkeys([*left, *right]))
    pairs = [Difference(name, left.get(name, MISSING), right.get(name, MISSING)) for name in names]
    # By their texts: NaN is not equal to itself, and 1 is equal to True.
    return len(names), [pair for pair in pairs if repr(pair.before) != repr(pair.after)]


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure with its dotted name, without those of ``LEFT_OUT``; an empty list or mapping is one."""
    if isinstance(value, (list, tuple)) and value:
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, item in value.items():
        if key not in LEFT_OUT:
            yield from flat(item, f"{name}.{key}" if name else str(key))
