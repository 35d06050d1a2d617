"""From what motors said while a person moved the arm to what ROBOT.yaml needs to know of each joint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from wall_edge_bridge.drives import Drive, Joint

from wall_edge.array_types import Floats
from wall_edge.errors import ConfigError

LEAST_TURN = 0.05
"""rad: what a joint must be moved by to count as moved."""
MARGIN = 0.02
"""rad, that limits stay away from the ends of the swept range."""


@dataclass(frozen=True)
class Sweep:
    """What the joints said, [dof] rad by the ROBOT.yaml that was there before."""

    zero: Floats
    """In the zero pose."""
    positive: Floats
    """After every joint was moved a little in its positive direction from there."""
    lowest: Floats
    highest: Floats
    """The ends of what was swept, whichever way each joint counts."""


def calibrated(drive: Drive, sweep: Sweep) -> tuple[dict[str, Any], ...]:
    """[dof] keys of each joint: name, its zero, direction, limits [rad].

    Raises ConfigError naming joints that were not moved.
    """
    _require_motion(drive.joints, np.abs(sweep.positive - sweep.zero), "in its positive direction")
    _require_motion(drive.joints, sweep.highest - sweep.lowest, "through its range")
    ticks = drive.ticks(sweep.zero)
    return tuple(_joint(joint, ticks[i], i, sweep) for i, joint in enumerate(drive.joints))


def _require_motion(joints: Sequence[Joint], turn: Floats, how: str) -> None:
    if still := [joint.name for joint, moved in zip(joints, turn, strict=True) if not moved >= LEAST_TURN]:
        raise ConfigError(
            f"{', '.join(still)} was not moved {how}",
            expected=f"at least {LEAST_TURN:g} rad, or an answer from it",
            fix="start again; nothing was written",
        )


def _joint(joint: Joint, ticks: int | None, i: int, sweep: Sweep) -> dict[str, Any]:
    turned = 1 if sweep.positive[i] > sweep.zero[i] else -1
    ends = sorted(turned * (end - sweep.zero[i]) for end in (sweep.lowest[i], sweep.highest[i]))
    lower, upper = ends[0] + MARGIN, ends[1] - MARGIN
    keys: dict[str, Any] = {"name": joint.name, **_zero(joint, ticks, float(sweep.zero[i]))}
    keys |= {"direction": joint.direction * turned}
    keys |= {"lower": round(float(lower), 4), "upper": round(float(upper), 4)}
    replace(joint, **keys)  # raises Invalid for what the joint's kind cannot be
    return keys


def _zero(joint: Joint, ticks: int | None, zero: float) -> dict[str, Any]:
    """The key by which the joint's kind says where its motor is at 0 rad."""
    names = {field.name for field in fields(joint)}
    if "zero_ticks" in names and ticks is not None:
        return {"zero_ticks": ticks}
    if "zero_rad" in names:
        return {"zero_rad": round(getattr(joint, "zero_rad") + joint.direction * zero, 5)}  # noqa: B009
    raise ConfigError(
        f"joint {joint.name}",
        expected="a kind of motor whose zero is in ROBOT.yaml",
        fix="use its maker's tool",
    )
