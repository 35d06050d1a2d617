"""The motors of one channel, asked at leisure: with repeats, and an error that names who stayed silent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from wall_edge.errors import BusError, BusTimeout
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.moteus.bus import ATTEMPTS, MoteusBus
from wall_edge_bridge.kinds.moteus.frames import JointFrames
from wall_edge_bridge.kinds.moteus.readings import MoteusReadings
from wall_edge_bridge.kinds.moteus.scan import values
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint, MoteusSettings
from wall_edge_bridge.transport import FrameTransport

_MS = 1_000_000
Answer = Mapping[int, float]
"""Registers' values, in their units."""


class Motors:
    """Joints are named by their index. Every answer is taken into ``readings``."""

    def __init__(
        self,
        settings: MoteusSettings,
        joints: Sequence[MoteusJoint],
        wire: FrameTransport,
        counters: BusCounters,
        clock: Callable[[], int],
    ) -> None:
        self.joints, self.clock = tuple(joints), clock
        self.timeout_ns = round(settings.timeout_ms * _MS)
        self.bus = MoteusBus(wire, joints, counters, clock)
        self.readings = MoteusReadings(joints)
        self.watchdog_s = 0.0
        self.frames: list[JointFrames] = []
        self.queries: dict[int, bytes] = {}
        self.set_watchdog(0.0)

    def set_watchdog(self, timeout_s: float) -> None:
        """What every command says of it; 0 is a motor's own default."""
        self.watchdog_s = timeout_s
        self.frames = [JointFrames(joint, timeout_s) for joint in self.joints]
        self.queries = dict(enumerate(each.query for each in self.frames))

    def ask_some(self, data: Mapping[int, bytes], attempts: int = ATTEMPTS) -> dict[int, Answer]:
        """Of those that answer. Raises BusError."""
        answers = {}
        for index, frame in self.bus.ask_patiently(data, self.timeout_ns, attempts).items():
            answers[index] = values(frame.data)
            self.readings.take(index, frame)
        return answers

    def ask_all(self, data: Mapping[int, bytes]) -> list[Answer]:
        """Raises BusTimeout naming the silent ones, BusError."""
        answers = self.ask_some(data)
        self.require_none(data.keys() - answers.keys())
        return [answers[index] for index in data]

    def read_all(self) -> None:
        """The status of each. Raises BusTimeout, BusError."""
        self.ask_all(self.queries)

    def stop_quietly(self, indices: Sequence[int]) -> None:
        """Again until all of them have heard it, or enough."""
        for _ in range(ATTEMPTS):
            with suppress(BusError):
                rest = {index: self.frames[index].stop for index in indices}
                if len(self.bus.ask(rest, self.timeout_ns)) == len(rest):
                    return

    def name(self, index: int) -> str:
        """For error messages."""
        return f"joint {self.joints[index]}"

    def require_none(self, silent: Collection[int]) -> None:
        """Raises BusTimeout naming ``silent`` ones."""
        if silent:
            raise self.no_answer(silent)

    def no_answer(self, silent: Collection[int]) -> BusTimeout:
        """From those."""
        names = ", ".join(f"{self.joints[i]}" for i in sorted(silent))
        return BusTimeout(
            f"no answer from {names} on {self.bus.wire.description}",
            fix="check the motor's power, cable, termination and id, and both bit rates",
        )
