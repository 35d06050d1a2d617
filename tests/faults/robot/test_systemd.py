"""The unit as printed, under the machine's own systemd: where each signal of it leads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import serving_port

from tests.machines.powered_arm import PoweredArm, robot_file, servos_of
from tests.machines.systemd_box import SystemdBox
from wall_edge.cli import app
from wall_edge.config import RobotConfig
from wall_edge.runtime.telemetry.event_log import read_events

NAME = "wall-edge.service"


class Service(PoweredArm):
    def __init__(self, box: SystemdBox, bus: FeetechTwin, robot: Path) -> None:
        super().__init__(bus)
        self.box, self.events = box, robot.parent / "events %n $x.jsonl"
        printed = CliRunner().invoke(app, ["service", str(robot), "--events", str(self.events)])
        assert printed.exit_code == 0, printed.output
        (box.units / NAME).write_text(printed.stdout)
        extra = box.units / f"{NAME}.d"
        extra.mkdir()
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {
            "PYTHONPATH": paths,
            "XDG_STATE_HOME": str(robot.parent / "state"),
            "OMP_NUM_THREADS": "1",
        }
        words = "".join(f'Environment="{name}={value}"\n' for name, value in environment.items())
        (extra / "test.conf").write_text(f"[Service]\n{words}")

    def start(self) -> None:
        started = self.box.systemctl("start", NAME)
        assert started.returncode == 0, started.stderr + self.box.systemctl("status", NAME).stdout

    def follows(self) -> None:
        self.box.wait_until(lambda: any(event["kind"] == "chunkrecord" for event in self._events()))

    def _events(self) -> list[dict[str, object]]:
        return list(read_events(self.events)) if self.events.exists() else []

    def states(self) -> list[object]:
        return [event["after"] for event in self._events() if event["kind"] == "servo_state"]

    def ended(self) -> dict[str, str]:
        self.box.wait_until(lambda: self.box.show(NAME)["ActiveState"] in ("failed", "inactive"), seconds=120)
        return self.box.show(NAME)

    def main(self) -> int:
        """Its process id, as this test's namespace has it."""
        tasks = self.box.cgroup / "system.slice" / NAME / "cgroup.procs"
        return min(map(int, tasks.read_text().split()))


@pytest.fixture
def make(shipped_bundle: Path, robot: RobotConfig, tmp_path: Path) -> Iterator[Callable[[], Service]]:
    bus = servos_of(robot)
    box = SystemdBox(tmp_path)
    try:
        with serving_port(bus) as port:
            yield lambda: Service(box, bus, robot_file(tmp_path, shipped_bundle, port.path))
    finally:
        box.close()


def test_started_once_the_arm_holds_and_stopped_at_rest(make: Callable[[], Service]) -> None:
    service = make()
    service.start()
    assert service.powered()
    shown = service.box.show(NAME)
    assert (shown["ActiveState"], shown["SubState"], shown["WatchdogUSec"]) == ("active", "running", "10s")
    service.follows()
    fed = shown["WatchdogTimestampMonotonic"]
    service.box.wait_until(lambda: service.box.show(NAME)["WatchdogTimestampMonotonic"] != fed)
    assert service.box.systemctl("stop", NAME).returncode == 0
    shown = service.ended()
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
    assert service.limp()
    assert service.at_rest()
    assert service.states()[-2:] == ["STOPPING", "RELEASED"]


def test_the_watchdog_brings_the_arm_to_rest(make: Callable[[], Service]) -> None:
    """The whole supervisor is suspended, so that only the servo process and systemd can do anything."""
    service = make()
    service.start()
    service.follows()
    os.kill(service.main(), signal.SIGSTOP)
    shown = service.ended()
    assert (shown["ActiveState"], shown["Result"]) == ("failed", "watchdog")
    assert shown["ExecMainCode"] == "1"  # CLD_EXITED: nobody had to be killed
    assert service.limp()
    assert service.at_rest()
    assert service.box.show(NAME)["NRestarts"] == "0"


def test_a_killed_supervisor_leaves_an_arm_at_rest(make: Callable[[], Service]) -> None:
    """What is left of the unit gets SIGTERM and its time; then ``wall-edge release`` looks behind it."""
    service = make()
    service.start()
    service.follows()
    os.kill(service.main(), signal.SIGKILL)
    shown = service.ended()
    assert (shown["ActiveState"], shown["Result"]) == ("failed", "signal")
    assert service.limp()
    assert service.at_rest()
    assert "RELEASED" in service.states()
    assert "status=0 }" in shown["ExecStopPost"]


def test_an_emergency_stop_by_systemctl_stays_until_a_person_has_looked(make: Callable[[], Service]) -> None:
    """To all processes; then a start that the latch refuses, which leaves the torque as it finds it."""
    service = make()
    service.start()
    service.follows()
    assert service.box.systemctl("kill", "-s", "USR1", NAME).returncode == 0
    shown = service.ended()
    assert (shown["ActiveState"], shown["Result"]) == ("failed", "exit-code")
    assert "emergency stop" in shown["StatusText"]
    assert service.limp()
    for servo in service.bus.servos.values():
        servo.set("torque_enable", 1)
    assert service.box.systemctl("start", NAME).returncode != 0
    assert service.ended()["Result"] == "exit-code"
    assert service.powered()
