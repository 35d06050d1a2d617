"""Six simulated X-series motors behind a pseudo-terminal, for the programs of others."""

from __future__ import annotations

from typing import Any

import numpy as np
from wall_edge_bridge.kinds.dynamixel import KIND, DynamixelJoint, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.twin import DynamixelTwin

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
START = np.linspace(-0.6, 0.6, 6)
TICKS = [round(2048 + radians * 2048 / np.pi) for radians in START]


def make_twin(**keys: Any) -> DynamixelTwin:
    """Standing at START; ``keys`` are those of every joint."""
    joints = [DynamixelJoint(name, i + 1, -1.5, 1.5, 6.0, **keys) for i, name in enumerate(NAMES)]
    twin = KIND.make_twin(DynamixelSettings(kind="dynamixel"), joints, START, timed=False)
    assert isinstance(twin, DynamixelTwin)
    return twin
