"""What ODrives said last: from messages, asked for or not, to the joints' values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.drives.values import JointReadings
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import FLOATS, Command
from wall_edge_bridge.kinds.odrive.errors import State
from wall_edge_bridge.kinds.odrive.scale import ODriveScale
from wall_edge_bridge.kinds.odrive.settings import ODriveJoint
from wall_edge_bridge.transport import Frame

_OURS = frozenset(Command) | {0x14, 0x1D}
_ONLY_06 = (Command.TEMPERATURE, Command.TORQUES)
"""Numbers that firmware 0.5 uses for other messages."""


class ODriveReadings(JointReadings):
    """Of one drive's joints. ``enabled``: the drive gave them torque, so one without has lost it."""

    def __init__(
        self, joints: Sequence[ODriveJoint], scale: ODriveScale, counters: BusCounters, *, old: bool
    ) -> None:
        super().__init__(tuple(joint.name for joint in joints))
        self._scale, self._counters, self._old = scale, counters, old
        self._index = {joint.id: index for index, joint in enumerate(joints)}
        self.enabled = False
        self.states = [0] * len(joints)
        """Of each axis, by its last heartbeat; 0 before one."""
        self.heard_ns = [0] * len(joints)
        """When that came."""
        self.fresh: set[int] = set()
        """Joints whose estimates came since it was emptied."""

    def take(self, frame: Frame) -> int | None:
        """Any frame; the index of the joint whose estimates it has."""
        index = None if frame.extended or frame.remote else self._index.get(frame.id >> 5)
        if index is None or frame.id & 0x1F not in _OURS:
            self._counters.foreign += codec.parse_address(frame) is None
            return None
        if len(frame.data) != 8:
            return None
        command = frame.id & 0x1F
        if command == Command.ESTIMATES:
            return self._estimates(index, frame)
        if command == Command.HEARTBEAT:
            self._heartbeat(index, frame)
        elif command == Command.BUS or (command in _ONLY_06 and not self._old):
            self._pair(index, command, *FLOATS.unpack(frame.data))
        return None

    def _estimates(self, index: int, frame: Frame) -> int | None:
        turns, velocity = FLOATS.unpack(frame.data)
        if not math.isfinite(turns) or not math.isfinite(velocity):
            return None  # an encoder without an estimate
        self.position[index] = self._scale.position(index, turns)
        self.velocity[index] = self._scale.velocity(index, velocity)
        self.received_ns[index] = frame.received_ns
        self.fresh.add(index)
        return index

    def _heartbeat(self, index: int, frame: Frame) -> None:
        said = codec.parse_heartbeat(frame.data, old=self._old)
        self.faults[index], self.states[index] = said.faults, said.state
        self.heard_ns[index] = frame.received_ns
        if self.enabled:
            # Lost torque shows in the state alone: an error of 0 with IDLE was seen on real ones.
            (self.limp.discard if said.state == State.CLOSED_LOOP else self.limp.add)(index)

    def _pair(self, index: int, command: int, first: float, second: float) -> None:
        if command == Command.TEMPERATURE:
            self.temperature[index] = max((x for x in (first, second) if math.isfinite(x)), default=math.nan)
        elif command == Command.BUS:
            self.voltage[index] = first if math.isfinite(first) else math.nan
        elif math.isfinite(second):
            self.effort[index] = self._scale.effort(index, second)
