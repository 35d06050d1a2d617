"""The ``embodiment`` section of ROBOT.yaml: its entries, and what they make of a checkpoint's names."""

from wall_edge.config.embodiment.entries import (
    EmbodimentConfig,
    Entry,
    HeldEntry,
    JointEntry,
    PaddingEntry,
    PositionEntry,
    RotationEntry,
    SinkConfig,
    SinkEntry,
    entry_size,
)
from wall_edge.config.embodiment.expansion import expand

__all__ = [
    "EmbodimentConfig",
    "Entry",
    "HeldEntry",
    "JointEntry",
    "PaddingEntry",
    "PositionEntry",
    "RotationEntry",
    "SinkConfig",
    "SinkEntry",
    "entry_size",
    "expand",
]
