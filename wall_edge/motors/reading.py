"""One look at the motors as plain data: a row a joint."""

from __future__ import annotations

import math

from wall_edge_bridge.drives import Drive, Feedback

COLUMNS = {
    "joint": "",
    "position": "rad",
    "velocity": "rad/s",
    "effort": "Nm",
    "temperature": "°C",
    "voltage": "V",
    "age": "ms",
    "faults": "",
}
"""Name and unit."""


def rows(drives: Drive, feedback: Feedback | None, now_ns: int) -> list[dict[str, object]]:
    """[dof] values by column; None for what is not known. ``feedback`` None: nobody answered."""
    if feedback is None:
        return [{**dict.fromkeys(COLUMNS), "joint": j.name, "faults": "no answer"} for j in drives.joints]
    return [_row(joint.name, feedback, i, now_ns) for i, joint in enumerate(drives.joints)]


def _row(name: str, feedback: Feedback, i: int, now_ns: int) -> dict[str, object]:
    received_ns = int(feedback.received_ns[i])
    words = [*(fault.name for fault in feedback.faults[i]), *feedback.limiters[i]]
    if name in feedback.limp:
        words.append("lost its torque")
    return {
        "joint": name,
        "position": _number(feedback.position[i]),
        "velocity": _number(feedback.velocity[i]),
        "effort": _number(feedback.effort[i]),
        "temperature": _number(feedback.temperature[i]),
        "voltage": _number(feedback.voltage[i]),
        "age": (now_ns - received_ns) / 1e6 if received_ns else None,
        "faults": ", ".join(words) if received_ns else "no answer",
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
