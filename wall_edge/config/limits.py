"""What no value of ROBOT.yaml may exceed, whatever it is for."""

from __future__ import annotations

MAX_MS = 3_600_000.0
"""An hour: nothing that the daemon waits for takes longer."""
MAX_VELOCITY = 1000.0
MAX_ANGLE = 100.0
"""A servo in multi-turn mode counts a few turns."""
MAX_PATH = 1024
