"""From what motors said while a person moved the arm to what ROBOT.yaml needs to know of each joint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from wall_edge_bridge.drives import Drive, Joint

from wall_edge.array_types import Floats
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError

LEAST_TURN = 0.05
"""rad: what a joint must be moved by to count as moved."""
MARGIN = 0.02
"""rad, that limits stay away from the ends of the swept range."""
TICKS_A_TURN = 4096
"""Of every motor whose memory has a range in ticks."""


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


def calibrated(
    drive: Drive, sweep: Sweep, memory: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """[dof] keys of each joint: name, its zero, direction, limits [rad]; and what a person should know.

    ``memory`` [dof] is what the motors hold (``Drive.memory``): it goes into the keys, and bounds the limits.
    Raises ConfigError naming joints that were not moved.
    """
    _require_motion(drive.joints, np.abs(sweep.positive - sweep.zero), "in its positive direction")
    _require_motion(drive.joints, sweep.highest - sweep.lowest, "through its range")
    ticks = drive.ticks(sweep.zero)
    results = [_joint(joint, ticks[i], i, sweep, memory[i]) for i, joint in enumerate(drive.joints)]
    return [keys for keys, _ in results], [note for _, note in results if note]


def require_unwrapped(joints: Sequence[Joint], before: Floats, now: Floats) -> None:
    """That no joint was seen to jump by half a turn from one look [dof] to the next. Raises ConfigError."""
    if jumped := [j.name for j, turn in zip(joints, np.abs(now - before), strict=True) if turn > math.pi]:
        raise ConfigError(
            f"{', '.join(jumped)} jumped by more than half a turn: its count wraps inside of its range",
            expected="a count that rises or falls all the way",
            fix="put its middle where the count has its own (lerobot-calibrate does, or the maker's tool)",
        )


def _require_motion(joints: Sequence[Joint], turn: Floats, how: str) -> None:
    if still := [joint.name for joint, moved in zip(joints, turn, strict=True) if not moved >= LEAST_TURN]:
        raise ConfigError(
            f"{', '.join(still)} was not moved {how}",
            expected=f"at least {LEAST_TURN:g} rad, or an answer from it",
            fix="start again; nothing was written",
        )


def _joint(
    joint: Joint, ticks: int | None, i: int, sweep: Sweep, memory: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    turned = 1 if sweep.positive[i] > sweep.zero[i] else -1
    ends = sorted(turned * (end - sweep.zero[i]) for end in (sweep.lowest[i], sweep.highest[i]))
    lower, upper = ends[0] + MARGIN, ends[1] - MARGIN
    keys: dict[str, Any] = {"name": joint.name, **_zero(joint, ticks, float(sweep.zero[i]))}
    keys |= {"direction": joint.direction * turned}
    keys |= {"lower": round(float(lower), 4), "upper": round(float(upper), 4)}
    note = _bound(joint, keys, memory)
    try:
        replace(joint, **keys | memory)
    except Invalid as problem:
        key = f"joint {joint.name}: {problem.key}"
        raise Invalid(key, problem.value, expected=problem.expected, fix=problem.fix) from None
    return keys | memory, note


def _bound(joint: Joint, keys: dict[str, Any], memory: dict[str, Any]) -> str:
    """Limits no farther than the motor goes by its own memory; says so."""
    first, last = memory.get("range_ticks", (0, 0))
    if first == last or getattr(joint, "extended", False):  # it goes any number of turns
        return ""
    turns = [keys["direction"] * (tick - keys["zero_ticks"]) / TICKS_A_TURN for tick in (first, last)]
    lower, upper = sorted(2 * math.pi * turn for turn in turns)
    if lower <= keys["lower"] and keys["upper"] <= upper:
        return ""
    keys["lower"] = max(keys["lower"], round(lower, 4))
    keys["upper"] = min(keys["upper"], round(upper, 4))
    return f"{joint.name} was moved beyond {first} to {last} ticks, where its own memory ends: so do limits"


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
