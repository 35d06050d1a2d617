"""Rows A6, A7, A12: torque off from outside of the servo loop, and ``wall-edge release``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds.damiao.registers import PMAX
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import PtyPort, PtyStation, serve, serving_port
from wall_edge_bridge.transport import SerialTransport

from tests.machines.powered_arm import real_file, servos_of
from tests.servo_rig import Rig
from tests.unit.bridge.damiao.damiao_rig import JOINTS, DamiaoRig
from wall_edge.cli.robot.release import release
from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, WallEdgeError
from wall_edge.runtime.daemon import release as released
from wall_edge.runtime.daemon.readiness import check_buses
from wall_edge.runtime.daemon.release import read_torque, release_arm
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.servo.drives import open_drives
from wall_edge.sim.tabletop import arm

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"


class Arm:
    """A powered arm on a port."""

    def __init__(self, config: RobotConfig, bus: FeetechTwin, port: PtyPort) -> None:
        self.bus, self.port = bus, port
        drives = {"arm": replace(config.drives["arm"].at(port.path), timeout_ms=1000)}
        cameras = {n: replace(c, kind="opencv", device=n) for n, c in config.cameras.items()}
        control = replace(config.control, feedback_timeout_ms=3000)
        real = {"simulated": False, "simulation": None, "cameras": cameras}
        self.config = replace(config, drives=drives, control=control, **real)
        with open_drives(self.config, {}) as powered:
            powered.enable()

    def torque(self) -> list[int]:
        return [servo.get("torque_enable") for servo in self.bus.servos.values()]

    def file(self, folder: Path) -> Path:
        data: dict[str, Any] = yaml.safe_load(ROBOT.read_text())
        real_file(data, self.port.path)
        data["drives"]["arm"]["timeout_ms"] = 1000
        data["control"]["feedback_timeout_ms"] = 3000
        for name in data["cameras"]:
            data["cameras"][name].update(kind="opencv", device=name)
        path = folder / "robot.yaml"
        path.write_text(yaml.safe_dump(data))
        return path


@pytest.fixture
def powered(robot: RobotConfig) -> Iterator[Arm]:
    bus = servos_of(robot)
    with serving_port(bus) as port:
        yield Arm(robot, bus, port)


def command(path: Path) -> Any:
    app = typer.Typer()
    app.command()(release)
    return CliRunner().invoke(app, [str(path)])


class TestCommand:
    """``wall-edge release``."""

    def test_it_switches_off_and_tells_each_joint(self, powered: Arm, tmp_path: Path) -> None:
        assert powered.torque() == [1] * 6
        done = command(powered.file(tmp_path))
        assert done.exit_code == 0, done.exception
        assert powered.torque() == [0] * 6
        lines = done.output.splitlines()
        assert [line.split()[0] for line in lines] == list(arm.JOINTS)
        assert all("torque on -> off" in line for line in lines)
        ticks = [servo.get("present_position") for servo in powered.bus.servos.values()]
        assert [int(line.split()[5]) for line in lines] == ticks  # for zero_ticks
        assert [float(line.split()[7]) for line in lines] == pytest.approx(arm.REST, abs=0.002)
        again = command(tmp_path / "robot.yaml").output.splitlines()
        assert all("torque off -> off" in line for line in again)

    def test_a_joint_that_does_not_confirm(
        self, powered: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(release.__globals__, "_PATIENCE_S", 0.1)
        powered.bus.silence(2)
        done = command(powered.file(tmp_path))
        assert done.exit_code == 1
        assert "torque may still be on at elbow_flex" in str(done.exception)
        assert "elbow_flex     torque no answer -> no answer" in done.output
        assert powered.torque() == [0, 0, 1, 0, 0, 0]

    def test_a_port_that_a_daemon_holds(self, powered: Arm, tmp_path: Path) -> None:
        held = SerialTransport(powered.port.path)
        try:
            done = command(powered.file(tmp_path))
        finally:
            held.close()
        assert isinstance(done.exception, WallEdgeError)
        assert powered.torque() == [1] * 6

    def test_the_simulated_arm_has_no_port(self) -> None:
        assert "is simulated" in str(command(ROBOT).exception)


def test_looking_at_the_bus_leaves_torque_as_it_is(powered: Arm) -> None:
    """A7"""
    assert check_buses(powered.config) == arm.JOINTS
    assert read_torque(powered.config) == dict.fromkeys(arm.JOINTS, True)
    assert powered.torque() == [1] * 6


def test_a_port_that_vanishes_and_comes_back(robot: RobotConfig, tmp_path: Path) -> None:
    """A6: torque goes off on the port that came back under the same name."""
    bus = servos_of(robot)
    name, stop = tmp_path / "ttyUSB0", threading.Event()
    with serving_port(bus) as port:
        made = Arm(robot, bus, port)
    assert made.torque() == [1] * 6

    def come_back() -> None:
        time.sleep(0.4)
        name.symlink_to(again.path)

    with PtyPort() as again:
        threads = [
            threading.Thread(target=come_back),
            threading.Thread(target=serve, args=([PtyStation(bus, again)], stop)),
        ]
        for thread in threads:
            thread.start()
        assert release_arm(made.config, {"arm": str(name)}) == ""
        stop.set()
        for thread in threads:
            thread.join()
    assert made.torque() == [0] * 6


def test_a_port_that_stays_away_is_said(robot: RobotConfig) -> None:
    """A6"""
    assert "/nowhere/tty does not exist" in release_arm(robot, {"arm": "/nowhere/tty"}, patience_s=0.2)


def test_no_error_of_a_release_gets_out(robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """H1: what follows, the latch above all, must follow."""

    def broken(*_: object) -> None:
        raise ValueError("embedded null byte")

    monkeypatch.setattr("wall_edge.runtime.servo.drives.open_drives", broken)
    assert "embedded null byte" in release_arm(robot, {"arm": "x"}, patience_s=0)


class TestServoLoop:
    """The servo process's own release, in virtual time."""

    @staticmethod
    def away(rig: Rig, seconds: float) -> None:
        """The port is gone, and comes back so much later under its name."""
        gone = BusError("vanished")
        rig.drive.broken = dict.fromkeys(("read", "write", "disable"), gone)
        begun, sleep = rig.now, rig.loop._torque_off._sleep

        def passing(until_ns: int) -> None:
            sleep(until_ns)
            if rig.now - begun > seconds * 1e9:
                rig.drive.broken = {}

        rig.loop._torque_off._sleep = passing

    def test_a_port_that_comes_back(self) -> None:
        """A6: closed, opened anew by its name, torque off; and the words in the end are true."""
        rig = Rig()
        loop = rig.run(t10=lambda: self.away(rig, 1.0))
        assert loop.state is ServoState.FAULT
        assert rig.drive.calls[-4:] == ["close", "open", "disable", "close"]
        assert "may still be on" not in str(loop.machine.fault)
        assert "torque went off at the" in str(loop.machine.fault)

    def test_one_that_does_not(self) -> None:
        """A6"""
        rig = Rig()
        loop = rig.run(t10=lambda: self.away(rig, 60.0))
        assert "torque may still be on: vanished" in str(loop.machine.fault)
        assert rig.drive.calls.count("disable") > 40

    def test_a_stop_before_the_start_leaves_torque_as_it_was(self) -> None:
        """A7"""
        rig = Rig()
        rig.signalled = True
        assert rig.run().state is ServoState.RELEASED
        assert "disable" not in rig.drive.calls
        assert not rig.loop.touched

    def test_an_emergency_stop_before_the_start_leaves_it_limp(self) -> None:
        rig = Rig()
        rig.loop.command._emergency_requested = lambda: True
        assert rig.run().state is ServoState.FAULT
        assert "enable" not in rig.drive.calls
        assert "disable" in rig.drive.calls

    def test_a_signal_to_the_servo_process_alone(self) -> None:
        """A2"""
        rig = Rig()
        pressed: list[bool] = []
        rig.loop.command._emergency_requested = lambda: bool(pressed)
        loop = rig.run(t20=lambda: pressed.append(True))
        assert loop.machine.fault == "emergency stop"
        assert ServoState.STOPPING not in rig.order()

    def test_telemetry_that_raises_keeps_no_torque_on(self) -> None:
        """A review: with a broken ring, torque-off was tried once, and the fault was latched by nobody."""
        rig = Rig()

        def broken(*_: object, **__: object) -> None:
            raise ValueError("telemetry")

        def breaks() -> None:
            telemetry = rig.loop._publication._telemetry
            assert telemetry is not None
            telemetry.event = telemetry.status = broken  # type: ignore[method-assign]
            self.away(rig, 1.0)

        loop = rig.run(t10=breaks)
        assert "torque went off at the" in str(loop.machine.fault)
        assert rig.drive.calls[-2:] == ["disable", "close"]

    def test_a_chunk_taken_once_is_counted_once(self) -> None:
        """A review: its pickup was told again at every tick of the braking."""
        rig = Rig()

        def both() -> None:
            rig.tell(ServoCommand.EMERGENCY_STOP)
            rig.send([[0.2, 0.2]] * 8)

        rig.run(t20=both)
        assert rig.summary()["pickup_us"]["count"] == rig.summary()["chunks"]["taken"] == 1


def test_places_are_told_in_the_motors_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost once: a motor whose ranges nobody had read was said to stand at half its angle."""
    rig = DamiaoRig(joints=[replace(joint, model="custom") for joint in JOINTS], start=0.5)
    for motor in rig.twin.motors:
        motor.registers[PMAX] = 25.0
    drives = DriveGroup(rig.joints, {"arm": rig.another_drive()}, {"arm": 20.0}, rig.clock)
    monkeypatch.setattr(released, "open_drives", lambda *_: drives)
    places = released.read_places(None)  # type: ignore[arg-type]
    assert [angle for angle, _ in places.values()] == pytest.approx([0.5] * 3, abs=1e-3)
