"""The last words of each drive: its state, its position, its error, and what they make of the feedback."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.objects import State, fault_of, quick_state_of
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint

_FAULTS = (State.FAULT, State.FAULT_REACTION)


class DriveReadings:
    """``values`` of the feedback; ``states``, ``counts`` and ``codes`` of each drive."""

    def __init__(self, joints: Sequence[Cia402Joint]) -> None:
        self.values = JointReadings(tuple(joint.name for joint in joints))
        self.states: list[State | None] = [None] * len(joints)
        self.counts = [0] * len(joints)
        self.codes: list[int | None] = [None] * len(joints)
        """Of the fault at hand; None while it is not known."""
        self._scales = [
            (joint.direction / joint.counts_per_rad, joint.direction * joint.zero_rad) for joint in joints
        ]

    def take(self, index: int, status: int, counts: int, received_ns: int) -> bool:
        """Whether that says all: of a fault without a known code it does not."""
        state = self.states[index] = quick_state_of(status)
        self.counts[index] = counts
        scale, zero = self._scales[index]
        self.values.position[index] = counts * scale - zero
        self.values.received_ns[index] = received_ns
        if state not in _FAULTS:
            if self.values.faults[index]:
                self.values.faults[index] = ()
            self.codes[index] = None
            return True
        if (code := self.codes[index]) is None:
            return False
        self.values.faults[index] = (fault_of(code),)
        return True

    def know(self, index: int, code: int) -> None:
        """The code of a drive's fault; 0 of one that says none."""
        self.codes[index] = code
        self.values.faults[index] = (fault_of(code),)

    def hear(self, index: int, code: int) -> None:
        """An emergency message: the statusword will say whether it is a fault."""
        if code:
            self.know(index, code)
        else:
            self.codes[index] = None

    def powered(self, index: int) -> bool:
        """By the last statusword."""
        return self.states[index] in obj.POWERED
