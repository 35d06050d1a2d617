"""Two arms of six joints with a finger each, as ROBOT.yaml has them: what the tests of a body share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wall_edge.config import RobotConfig
from wall_edge.config.robot import robot_from_mapping

URDF = Path(__file__).parents[2] / "data" / "urdf" / "two_arms.urdf"
ARM = ("pan", "lift", "elbow", "roll", "flex", "turn")
LIMITS = {"pan": 2.6, "lift": 1.9, "elbow": 2.8, "roll": 2.8, "flex": 2.0, "turn": 3.1}
READY = {"pan": 0.0, "lift": 0.3, "elbow": 1.3, "roll": 0.0, "flex": 1.5, "turn": 0.0, "slide": 0.01}
"""The tip points down, 24 cm before its base."""


def document(**changes: Any) -> dict[str, Any]:
    """ROBOT.yaml as plain data; ``changes`` replace whole sections."""
    return {
        "name": "two arms",
        "bundle": "bundle",
        "control": {"rate_hz": 250, "rest": [READY[n] for _ in "lr" for n in (*ARM, "slide")]},
        "policy": {},
        "simulated": True,
        "simulation": {"world": "tabletop", "seed": 0},
        "drives": {"bus": {"kind": "feetech", "baudrate": 1000000, "timeout_ms": 20}},
        "joints": [_joint(side, name) for side in ("left", "right") for name in (*ARM, "slide")],
        "cameras": {},
        "kinematics": kinematics(),
        **changes,
    }


def kinematics(**changes: Any) -> dict[str, Any]:
    """Its section; the right arm's numbers are in the axes of the table."""
    return {
        "urdf": str(URDF),
        "cap_ms": 1000.0,  # a busy machine changes no result
        "poses": {
            "left": {"base": "left_base", "tip": "left_tip", "frame": "left_base"},
            "right": {"base": "right_base", "tip": "right_tip", "frame": "table"},
        },
        **changes,
    }


def robot(**changes: Any) -> RobotConfig:
    """The robot of :func:`document`."""
    return robot_from_mapping(document(**changes), "ROBOT.yaml")


def _joint(side: str, name: str) -> dict[str, Any]:
    number = (*ARM, "slide").index(name) + (1 if side == "left" else 11)
    upper = LIMITS.get(name, 0.04)
    lower = {"elbow": -0.2, "slide": 0.0}.get(name, -upper)
    speed = 0.1 if name == "slide" else 4.0
    return {"name": f"{side}_{name}", "id": number, "lower": lower, "upper": upper, "max_velocity": speed}
