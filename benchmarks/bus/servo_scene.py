"""The real servo loop on several buses of timed twins, by a clock on which only what is ours takes time.

See :mod:`wall_edge.bench.bus.alone`: lines take their time, the loop and its drives their thread's processor
time; twins, supervisor and policy take none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.drives.settings import SerialSettings
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import ByteTwin, FrameTwin, wire_to

from wall_edge.bench.bus.clock import DriveClock, WireApart, no_collection
from wall_edge.bench.rig import FEED_S, Feeder
from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.servo.drives import line_times_ns
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry

Part = tuple[str, int, dict[str, Any]]
"""Kind, joints, keys of its drive."""


def robot(parts: Sequence[Part], rate_hz: float) -> RobotConfig:
    """One drive for each part. Raises ConfigError."""
    drives, joints = {}, []
    for number, (kind, count, keys) in enumerate(parts):
        name = f"bus{number}"
        drives[name] = {"kind": kind, "timeout_ms": 1.5, **keys}
        drives[name]["port" if issubclass(kind_named(kind).settings, SerialSettings) else "channel"] = name
        for motor in range(1, count + 1):
            joint = {"name": f"{name}-{motor}", "id": motor, "drive": name}
            joints.append({**joint, "lower": -1.5, "upper": 1.5, "max_velocity": 3.0})
    control = {"rate_hz": rate_hz, "rest": [0.0] * len(joints), "feedback_timeout_ms": 100}
    text = {"name": "twenty", "bundle": "none", "control": control, "drives": drives, "joints": joints}
    return robot_from_mapping({**text, "cameras": {}}, "twenty")


class ServoScene:
    """``loop`` follows chunks. ``durations_ns``: of each tick, from its begin to its end."""

    def __init__(self, config: RobotConfig) -> None:
        self.config, self.clock = config, DriveClock()
        self.twins: dict[str, ByteTwin | FrameTwin] = {}
        self._feeder = Feeder(config.dof, self.clock)
        period_ns = round(1e9 / config.control.rate_hz)
        rings = ServoRings.of(
            config.dof, config.control.rate_hz, kinds={name: s.kind for name, s in config.drives.items()}
        )
        self.loop = ServoLoop(
            config,
            self._open,
            self._feeder.chunks,
            self._feeder.command,
            self._feeder.feedback,
            telemetry=ServoTelemetry(rings, period_ns, self.clock),
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        self.durations_ns: list[int] = []
        self.cpu_ns: list[int] = []
        self.begin_ns = 0
        """Of the last tick."""
        self.line_ns = line_times_ns(config)
        self._fed_ns = 0

    def _open(self) -> DriveGroup:
        drives = {}
        for name, settings in self.config.drives.items():
            kind, joints = kind_named(settings.kind), self.config.joints_of(name)
            twin = kind.make_twin(settings, joints, np.zeros(len(joints)), timed=True)
            self.twins[name] = twin
            wire = WireApart(wire_to(twin, self.clock, self.clock.sleep), self.clock)
            drives[name] = kind.open_drive(settings, joints, wire, clock=self.clock, start_slack_rad=0.1)
        timeouts_ms = {name: settings.timeout_ms for name, settings in self.config.drives.items()}
        return DriveGroup(self.config.joints, drives, timeouts_ms, self.clock, self.line_ns)

    @property
    def group(self) -> DriveGroup:
        assert self.loop.joints.drive is not None
        return self.loop.joints.drive

    def start(self) -> None:
        """Until it follows. Raises RuntimeFault."""
        self._feed()
        with no_collection():
            self.loop.start()
            if self.loop.machine.fault:
                raise RuntimeFault(self.loop.machine.fault)
            for _ in range(200):
                if self.loop.state is ServoState.FOLLOWING:
                    return
                self.tick()
        raise RuntimeFault(f"the loop does not follow: {self.loop.state.name} {self.loop.machine.fault}")

    def run(self, ticks: int) -> None:
        """So many more. Raises RuntimeFault when it stops following."""
        self.durations_ns, self.cpu_ns = [], []
        with no_collection():
            for _ in range(ticks):
                self.tick()
                if self.loop.state is not ServoState.FOLLOWING:
                    raise RuntimeFault(f"{self.loop.state.name}: {self.loop.machine.fault}")

    def tick(self) -> None:
        """One, by the real loop."""
        self._feed()
        self.begin_ns = self.loop.ticker.wait()
        cpu_ns = self.clock.cpu_ns
        self.loop.tick(self.begin_ns)
        self.durations_ns.append(self.clock() - self.begin_ns)
        self.cpu_ns.append(self.clock.cpu_ns - cpu_ns)

    def tick_whole(self) -> bool:
        """One; whether every joint was fresh in it."""
        self.tick()
        return bool(self.loop.joints.readings.oldest_ns >= self.begin_ns)

    def _feed(self) -> None:
        self.clock.stop()
        now_ns = self.clock()
        if now_ns - self._fed_ns > FEED_S * 1e9:
            self._fed_ns = now_ns
            self._feeder.feed(now_ns)
        self.clock.go_on()
