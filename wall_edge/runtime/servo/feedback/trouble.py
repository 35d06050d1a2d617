"""What is said of motors that failed: each names its joint, and what a person is to do."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.drives import Fault, Reaction

from wall_edge.errors import DriveError

_FIXES = {
    Reaction.PERSON: "remove the cause, then power-cycle the motor",
    Reaction.CHECK: "remove the cause (let it cool, mend its supply): it clears at the next start after that",
    Reaction.ONCE: "it clears by itself at the next start, once",
}
"""The gravest first: that is what a person has to do."""


def motor_fault(names: Sequence[str], faults: Sequence[Sequence[Fault]]) -> DriveError:
    """Of joints ``names`` [dof] that report ``faults`` [dof]."""
    words = [
        f"{name} reports {', '.join(fault.name for fault in joint)}"
        for name, joint in zip(names, faults, strict=True)
        if joint
    ]
    reactions = {fault.reaction for joint in faults for fault in joint}
    return DriveError(f"joint {'; '.join(words)}", fix=next(_FIXES[r] for r in _FIXES if r in reactions))


def lost_torque(limp: Sequence[str]) -> DriveError:
    """Of joints by name."""
    return DriveError(
        f"joint {', '.join(limp)} lost its torque",
        expected="torque on until the arm is released",
        fix="check the motor's supply (it may have rebooted) and that no other program is on the bus",
    )
