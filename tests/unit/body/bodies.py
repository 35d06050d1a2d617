"""Bodies of the two-armed robot: entries, manifests without a model, motions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from tests.unit.body.two_arms import ARM, READY, robot
from wall_edge.array_types import Floats
from wall_edge.body.body import Body
from wall_edge.bundle import Embodiment, FlowActions, Layout, Manifest
from wall_edge.config import RobotConfig, entry_size, expand

RATE_HZ, HORIZON = 30.0, 32
START = np.array([READY[name] for _ in "lr" for name in (*ARM, "slide")])
FORMS = ("rpy", "euler_zyx", "rotvec", "quaternion", "6d", "6d_rows")


def two_poses(form: str = "rpy", **rest: Any) -> dict[str, Any]:
    """Entries of two arms by their poses; grippers in percent; and ``rest``."""
    entries: dict[str, Any] = {}
    for side in ("left", "right"):
        entries[f"{side}_xyz"] = {"kind": "position", "pose": side}
        entries[f"{side}_turn"] = {"kind": "rotation", "pose": side, "form": form}
        entries[f"{side}_grip"] = {
            "kind": "joint", "joint": f"{side}_slide", "unit": "percent", "range": [0.0, 0.04]}  # fmt: skip
    return {**entries, **rest}


def body_of(action: dict[str, Any], state: dict[str, Any] | None = None, **changes: Any) -> Body:
    config = robot(embodiment={"action": action, "state": state}, sinks={"base": {}}, **changes)
    return Body.of(config, manifest_of(config))


def manifest_of(config: RobotConfig) -> Manifest:
    assert config.embodiment is not None
    state, action = layout_of(config.embodiment.observed), layout_of(config.embodiment.action)
    poses = {} if config.kinematics is None else config.kinematics.poses
    embodiment = Embodiment("two arms", state, action, poses)
    given = SimpleNamespace(
        embodiment=embodiment, action_rate_hz=RATE_HZ, horizon=HORIZON, actions=FlowActions((0.0, 1.0))
    )
    return cast(Manifest, given)


def layout_of(entries: Any) -> Layout:
    names = []
    for group, entry in entries.items():
        size = entry_size(entry) or 1
        names += [group] if size == 1 else [f"{group}_{i}" for i in range(size)]
    degrees, rotations = expand(entries, list(zip(names, range(len(names)), strict=True)))
    return Layout(tuple(degrees), (0.0,) * len(names), (1.0,) * len(names), None, dict(rotations))


def wave(steps: int = HORIZON, first: int = 0) -> Floats:
    """A smooth motion of both arms ``[steps, dof]`` through ``START``, at 30 Hz within every limit."""
    time = (first + np.arange(steps))[:, None] / RATE_HZ
    positions: Floats = START + 0.25 * np.sin(1.5 * time + np.arange(14)) * (np.arange(14) % 7 != 6)
    return positions


def rotation_columns(form: str) -> slice:
    """The left arm's rotation in policy values of :func:`two_poses`."""
    return slice(3, 3 + {"quaternion": 4, "6d": 6, "6d_rows": 6}.get(form, 3))
