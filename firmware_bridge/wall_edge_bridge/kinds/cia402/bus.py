"""One cycle's frames of a CANopen bus: sorted by function and node, some answered by a further question."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.readings import DriveReadings
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint
from wall_edge_bridge.transport import Frame, FrameTransport

_MISSES = 2
"""Cycles without its PDO after which a drive is asked by SDO."""
_HEARTBEAT_LOST = 0x8130


class CycleBus:
    """Which joints still owe an answer, and what they said.

    ``synchronous``: they answer SYNC with a PDO. Others, and those that fell out of step (a restart, a lost
    heartbeat, PDOs that stay away), are asked by SDO: position, statusword, and a fault's code.
    """

    def __init__(
        self,
        wire: FrameTransport,
        joints: Sequence[Cia402Joint],
        readings: DriveReadings,
        counters: BusCounters,
        clock: Callable[[], int],
    ) -> None:
        self.wire, self._clock = wire, clock
        self._ids = [joint.id for joint in joints]
        self._index = {joint.id: index for index, joint in enumerate(joints)}
        self._readings, self._counters = readings, counters
        self.synchronous = False
        self.restarted: set[int] = set()
        """Joints whose drives said that they have just started."""
        self.out_of_step: set[int] = set()
        self._misses = [0] * len(joints)
        self._questions: list[int | None] = [None] * len(joints)
        self._positions: list[tuple[int, int]] = [(0, 0)] * len(joints)
        self.missing: set[int] = set()

    def set_synchronous(self, on: bool) -> None:
        """From the next cycle on."""
        self.synchronous = on
        self.out_of_step.clear()
        self.restarted.clear()
        self._misses = [0] * len(self._ids)

    def begin(self) -> list[Frame]:
        """Everybody owes an answer; what to send for it, beyond commands."""
        self.missing = set(range(len(self._ids)))
        self._questions = [None] * len(self._ids)
        asked = sorted(self.out_of_step) if self.synchronous else range(len(self._ids))
        frames = [self._ask(index, obj.POSITION) for index in asked]
        return [codec.SYNC, *frames] if self.synchronous else frames

    def end(self) -> None:
        """Count who owes still."""
        self._counters.timeouts += len(self.missing)
        for index in range(len(self._ids)):
            self._misses[index] = self._misses[index] + 1 if index in self.missing else 0
            if self._misses[index] >= _MISSES:
                self.out_of_step.add(index)

    def _ask(self, index: int, what: int) -> Frame:
        self._questions[index] = what
        return codec.read(self._ids[index], what)

    def collect(self, deadline_ns: int) -> None:
        """Until nobody owes an answer, or the deadline. Raises BusTimeout, BusError."""
        while self.missing and (frames := self.wire.receive(deadline_ns)):
            questions = [question for frame in frames if (question := self.take(frame))]
            if self._clock() >= deadline_ns:  # else a device that never stops talking keeps us here
                break
            if questions:
                self.wire.send(questions, deadline_ns)

    def drop_late(self) -> None:
        """What arrived between cycles is older than the next; emergencies and restarts count all the same."""
        for frame in self.wire.receive(0):
            self.observe(frame)

    def observe(self, frame: Frame) -> None:
        """A frame that answers nothing."""
        self.missing = set()
        self.take(frame)

    def take(self, frame: Frame) -> Frame | None:
        """What it asks for in turn."""
        if frame.extended or frame.fd or frame.remote:
            self._counters.foreign += 1
            return None
        index = self._index.get(frame.id & codec.NODE)
        function = frame.id & codec.FUNCTION
        if index is None:
            self._counters.foreign += function != codec.HEARTBEAT
        elif function == codec.TPDO1 and self.synchronous and len(frame.data) == codec.FEEDBACK.size:
            return self._take_pdo(index, frame)
        elif function == codec.SDO_REPLY:
            return self._take_sdo(index, frame)
        elif function == codec.EMERGENCY:
            self._take_emergency(index, frame.data)
        elif function == codec.HEARTBEAT:
            self._take_heartbeat(index, frame.data)
        else:
            self._counters.foreign += 1
        return None

    def _take_pdo(self, index: int, frame: Frame) -> Frame | None:
        if index not in self.missing or self._questions[index] == obj.ERROR_CODE:
            self._counters.late += 1
            return None
        self.out_of_step.discard(index)
        status, counts = codec.FEEDBACK.unpack(frame.data)
        return self._complete(index, status, counts, frame.received_ns)

    def _complete(self, index: int, status: int, counts: int, received_ns: int) -> Frame | None:
        if not self._readings.take(index, status, counts, received_ns):
            return self._ask(index, obj.ERROR_CODE)
        self.missing.discard(index)
        return None

    def _take_sdo(self, index: int, frame: Frame) -> Frame | None:
        question, upload = self._questions[index], codec.upload_of(frame.data)
        if question is None or index not in self.missing:
            self._counters.late += 1
            return None
        if upload is None and question == obj.ERROR_CODE and len(frame.data) == 8:
            self._learn(index, 0)  # it has no such object
        if upload is None or (upload.object, upload.sub) != (question, 0):
            return None
        if question == obj.POSITION:
            self._positions[index] = int.from_bytes(upload.data, "little", signed=True), frame.received_ns
            return self._ask(index, obj.STATUS)
        value = int.from_bytes(upload.data[:2], "little")
        if question == obj.STATUS:
            return self._complete(index, value, *self._positions[index])
        self._learn(index, value)
        return None

    def _learn(self, index: int, code: int) -> None:
        self._readings.know(index, code)
        self.missing.discard(index)

    def _take_emergency(self, index: int, data: bytes) -> None:
        code = codec.emergency_code(data)
        if code is None:
            self._counters.foreign += 1
            return
        self._readings.hear(index, code)
        if code == _HEARTBEAT_LOST:
            self.out_of_step.add(index)

    def _take_heartbeat(self, index: int, data: bytes) -> None:
        if data == b"\0":
            self.restarted.add(index)
            self.out_of_step.add(index)
