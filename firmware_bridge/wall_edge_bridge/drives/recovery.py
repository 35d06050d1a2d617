"""What is done about motors' faults before they are powered: each by the reaction that it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wall_edge.errors import DriveError
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.drives.values import Fault, Reaction


class FaultRecovery:
    """Of one drive's joints, over its life: what clears by itself does so once, then a person must."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self._joints = tuple(joints)
        self._cleared: set[tuple[int, str]] = set()

    def prepare(
        self,
        faults: Sequence[Sequence[Fault]],
        remaining_cause: Callable[[int, Fault], str],
        clear: Callable[[Sequence[int]], None],
    ) -> None:
        """Clears what may be cleared, by ``clear`` (called with joint indices), or raises DriveError.

        ``remaining_cause(index, fault)`` says why a fault that needs a check must stay ("bus at 19.1 V, it
        needs 24"), or nothing. Nothing is cleared unless all can be.
        """
        faults = tuple(map(tuple, faults))  # ``clear`` reads feedback again, perhaps into the same lists
        for index, joint_faults in enumerate(faults):
            for fault in joint_faults:
                if reason := self._refusal(index, fault, remaining_cause):
                    joint = self._joints[index]
                    raise DriveError(
                        f"joint {joint} reports {fault.name}{reason}",
                        expected="no fault before torque goes on",
                        fix="remove the cause, then power-cycle the motor",
                    )
        if indices := [index for index, joint_faults in enumerate(faults) if joint_faults]:
            clear(indices)
            self._cleared |= {(index, fault.name) for index in indices for fault in faults[index]}

    def _refusal(self, index: int, fault: Fault, remaining_cause: Callable[[int, Fault], str]) -> str:
        if fault.reaction is Reaction.PERSON:
            return " "
        if fault.reaction is Reaction.CHECK:
            reason = remaining_cause(index, fault)
            return f": {reason}" if reason else ""
        return " again" if (index, fault.name) in self._cleared else ""
