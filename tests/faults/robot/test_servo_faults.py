"""The servo process as it runs on a robot: spawned, on a port, with simulated motors at the other end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.feetech.codec import build_write
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import PtyPort, serving_port

from tests.machines.powered_arm import servos_of
from tests.machines.servo_process import ServoProcess
from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import (
    ServoCommand,
    ServoState,
)
from wall_edge.runtime.latch import require_unlatched
from wall_edge.runtime.telemetry.servo.types import EventKind

JOINTS: list[Any] = [
    {"name": f"joint{n}", "id": n, "lower": -1.5, "upper": 1.5, "max_velocity": 4.0} for n in range(1, 7)
]
START = [0.3] * 6
# The timeouts are wide: on a busy machine any process may stall for two seconds.
CONFIG = robot_from_mapping(
    {
        "name": "test",
        "bundle": "none",
        "control": {
            "rate_hz": 25,
            "fifo_priority": None,
            "lock_memory": False,
            "rest": [0.0] * 6,
            "rest_velocity": 2.0,
            "blend_ms": 80,
            "feedback_timeout_ms": 3000,
            "heartbeat_timeout_ms": 5000,
            "starved_fault_ms": 20_000,
        },
        "policy": {"max_chunk_age_ms": 10_000},
        "drives": {"arm": {"kind": "feetech", "port": "/dev/null", "timeout_ms": 1000}},
        "joints": JOINTS,
        "cameras": {},
    },
    "test",
)


class Robot(ServoProcess):
    """On servos of its own, whose port has a name of its own too."""

    def __init__(
        self, bus: FeetechTwin, port: PtyPort, name: Path | None = None, config: RobotConfig = CONFIG
    ) -> None:
        self.bus, self.port, self.name = bus, port, name or Path(port.path)
        super().__init__(config, {"arm": str(self.name)})

    def torque(self) -> list[bool]:
        return [bool(servo.get("torque_enable")) for servo in self.bus.servos.values()]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the servo process, which inherits the environment, latches its faults."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def latched() -> str:
    """The fault that waits for a person; empty for none."""
    try:
        require_unlatched(CONFIG)
    except RuntimeFault as fault:
        return str(fault)
    return ""


@contextmanager
def powered(folder: Path, config: RobotConfig = CONFIG) -> Iterator[Robot]:
    """On a port with a name of its own in ``folder``."""
    bus = servos_of(config, START)
    with serving_port(bus) as port:
        name = folder / "port"
        name.symlink_to(port.path)
        made = Robot(bus, port, name, config)
        try:
            yield made
        finally:
            made.end()


@pytest.fixture
def robot(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    """Of CONFIG, or of what the test's parameter says."""
    with powered(tmp_path, getattr(request, "param", CONFIG)) as made:
        yield made


def rest_error(robot: Robot) -> float:
    return float(np.abs(robot.bus.positions(time.monotonic_ns())).max())


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (lambda robot: setattr(robot, "wanted", ServoCommand.STOP), "command"),
        (lambda robot: os.kill(robot.process.pid, signal.SIGTERM), "signal"),
        (lambda robot: setattr(robot, "alive", False), "supervisor silent"),
    ],
)
def test_every_way_to_stop_ends_at_rest_without_torque(
    robot: Robot, stop: Callable[[Robot], object], reason: str
) -> None:
    robot.follow()
    os.kill(robot.process.pid or 0, signal.SIGINT)  # a Ctrl-C is for the supervisor
    assert robot.torque() == [True] * 6
    stop(robot)
    result = robot.result()
    assert (result["state"], result["fault"]) == ("RELEASED", None)
    assert latched() == ""
    assert robot.torque() == [False] * 6
    assert rest_error(robot) < 0.1
    events = list(robot.rings.reader().events())
    assert [event.text for event in events if event.after == ServoState.STOPPING] == [reason]
    assert events[-1].kind is EventKind.ENDED
    assert result["ticks"] > 10
    assert len(result["trace"]["time_ns"]) > 10


def test_an_unplugged_bus_is_a_fault(robot: Robot) -> None:
    robot.follow()
    # By a name of its own, as udev's: the next test's arm gets the kernel's, and would answer.
    robot.name.unlink()
    robot.port.close()
    result = robot.result()
    assert result["state"] == "FAULT"
    assert "feedback" in result["fault"] or "no setpoint" in result["fault"]
    assert "torque may still be on" in result["fault"]
    assert ServoState(robot.state()) is ServoState.FAULT


def test_a_silent_motor_is_a_fault_and_the_others_let_go(robot: Robot) -> None:
    robot.follow()
    robot.bus.silence(2)
    result = robot.result()
    assert "feedback of joint joint3 is" in result["fault"]  # A8: the one that fell silent
    assert "3000 ms" in result["fault"]
    robot.bus.silence(2, silent=False)
    assert robot.torque() == [False, False, True, False, False, False]


def disable_by_another_program(bus: FeetechTwin) -> None:
    bus.intrude(build_write(3, 40, b"\0"), time.monotonic_ns())


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda bus: bus.servos[3].set("torque_enable", 0), "joint joint3 lost its torque"),
        (lambda bus: bus.servos[3].reboot(time.monotonic_ns()), "joint joint3 lost its torque"),
        (disable_by_another_program, "joint joint3 lost its torque"),
    ],
)
def test_a3_a4_a_servo_that_fails_is_named_and_the_arm_let_go(
    robot: Robot, happens: Callable[[FeetechTwin], object], words: str
) -> None:
    """A reboot of 150 ms is shorter than the feedback timeout here: it is the torque that tells."""
    robot.follow()
    happens(robot.bus)
    result = robot.result()
    assert result["state"] == "FAULT"
    assert words in result["fault"]
    assert words in latched()
    assert robot.torque() == [False] * 6


# A jump is explained by motion once it is old enough: here the timeout is short, and a stall may hide it.
QUICK = replace(
    CONFIG,
    control=replace(CONFIG.control, rate_hz=50, feedback_timeout_ms=400),
    drives={"arm": replace(CONFIG.drives["arm"], timeout_ms=100)},
)
TRIES = 3


def test_a4_a_servo_that_forgets_its_zero_is_named_and_the_arm_let_go(tmp_path: Path) -> None:
    faults: list[str] = []
    while len(faults) < TRIES and "since then joint3 said" not in "".join(faults[-1:]):
        (folder := tmp_path / f"{len(faults)}").mkdir()
        with powered(folder, QUICK) as robot:
            robot.follow()
            robot.bus.servos[3].set("homing_offset", -652)
            result = robot.result()
            assert result["state"] == "FAULT"
            assert robot.torque() == [False] * 6
        faults.append(result["fault"])
    assert "since then joint3 said" in faults[-1], faults
    assert "since then joint3 said" in latched()


def test_a3_limits_of_a_servo_that_are_narrower_forbid_power() -> None:
    bus = servos_of(CONFIG, START)
    bus.servos[2].set("max_angle", 2500)
    with serving_port(bus) as port:
        made = Robot(bus, port)
        try:
            result = made.result()
        finally:
            made.end()
    assert (
        "joint joint2 (id 2): max_angle (register 11) is 2500 tick; expected at least 3026" in result["fault"]
    )
    assert result["ticks"] == 0
    assert latched() == ""


def test_a_motor_that_reports_a_fault(robot: Robot) -> None:
    robot.follow()
    robot.bus.set_fault(1, "overload")
    result = robot.result()
    assert result["state"] == "FAULT"
    assert "joint2 reports" in result["fault"]
    assert "joint2 reports" in latched()


@pytest.mark.parametrize(
    "robot", [replace(CONFIG, control=replace(CONFIG.control, fault_hold_ms=5000))], indirect=True
)
def test_an_emergency_stop_holds_lets_go_and_latches(robot: Robot) -> None:
    robot.follow()
    robot.wanted = ServoCommand.EMERGENCY_STOP
    robot.until(ServoState.FAULT)
    assert robot.torque() == [True] * 6  # it is held for control.fault_hold_ms
    result = robot.result()
    assert (result["state"], result["fault"]) == ("FAULT", "emergency stop")
    assert robot.torque() == [False] * 6
    assert "emergency stop" in latched()


def damaged(reply: bytes) -> bytes:
    return reply[:-1] + bytes([reply[-1] ^ 0xFF])


def test_lost_and_damaged_answers_are_survived(robot: Robot) -> None:
    robot.follow()
    for nth in (5, 16, 27):
        robot.bus.replies.drop(nth)
        robot.bus.replies.change(damaged, nth + 3)
    deadline = time.monotonic() + 60
    while robot.told()["bus"]["errors"] < 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert robot.state() is ServoState.FOLLOWING
    robot.wanted = ServoCommand.STOP
    result = robot.result()
    assert result["fault"] is None
    assert result["bus"]["errors"] >= 6


def test_a_killed_servo_process_leaves_the_mailboxes_whole(robot: Robot) -> None:
    robot.follow()
    robot.process.kill()
    robot.process.join()
    told = robot.told()
    assert (told["ended"], told["state"]) == (False, "FOLLOWING")
    assert told["ticks"] > 0
    record = robot.feedback.read()
    assert record is not None
    assert ServoState(int(record["state"])) is ServoState.FOLLOWING
    assert np.isfinite(record["position"]).all()


def test_a_missing_port_is_one_line(tmp_path: Path) -> None:
    bus = servos_of(CONFIG, START)
    with PtyPort() as port:
        port.path = str(tmp_path / "no_such_port")
        made = Robot(bus, port)
    try:
        result = made.result()
    finally:
        made.end()
    assert result["state"] == "FAULT"
    assert "\n" not in result["fault"]
    assert "no_such_port" in result["fault"]
    assert result["ticks"] == 0
    assert latched() == ""  # torque was never on
