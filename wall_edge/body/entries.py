"""What ROBOT.yaml says of one degree of freedom: the entry that covers its name."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle import Layout
from wall_edge.config import Entry, HeldEntry, JointEntry, SinkEntry


def entry_of(entries: Mapping[str, Entry], name: str) -> tuple[Entry | None, int]:
    """The entry of a degree's own name, or of its group, and which of the group it is; None without one."""
    if name in entries:
        return entries[name], 0
    group, _, index = name.rpartition("_")
    return (entries[group], int(index)) if group in entries and index.isdecimal() else (None, 0)


def joint_ends(
    entries: Mapping[str, Entry], name: str
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """A mapped joint's two points: policy values, joint positions; None for a joint in a unit of its own."""
    entry, _ = entry_of(entries, name)
    return entry.ends if isinstance(entry, JointEntry) else None


def still_values(entries: Mapping[str, Entry], layout: Layout) -> list[float]:
    """What the policy sees of each degree that no joint moves: that of ROBOT.yaml; 0 for all others."""
    return [_still(*entry_of(entries, degree.name)) for degree in layout.degrees]


def _still(entry: Entry | None, index: int) -> float:
    if isinstance(entry, HeldEntry):
        values = entry.value
    elif isinstance(entry, SinkEntry):
        values = entry.state
    else:
        return 0.0
    return values[index] if len(values) > 1 else values[0]
