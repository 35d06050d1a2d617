"""LeRobot 0.4.4's DynamixelMotorsBus on simulated X-series motors, through a pseudo-terminal, unmodified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.dynamixel import KIND, DynamixelJoint, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.kinds.dynamixel.twin import DynamixelTwin
from wall_edge_bridge.sim import PtyPort, serving_port

from tests.peers.dynamixel_twin import NAMES, START, TICKS, make_twin

pytest.importorskip("dynamixel_sdk", reason="LeRobot's Dynamixel bus needs dynamixel-sdk")
motors = pytest.importorskip("lerobot.motors", reason="LeRobot is not installed")
dynamixel = pytest.importorskip("lerobot.motors.dynamixel")
tables = pytest.importorskip("lerobot.motors.dynamixel.tables")

MOTORS = {
    name: motors.Motor(i + 1, "xl330-m288", motors.MotorNormMode.DEGREES) for i, name in enumerate(NAMES)
}


@pytest.fixture
def twin() -> DynamixelTwin:
    return make_twin()


@pytest.fixture
def port(twin: DynamixelTwin) -> Iterator[PtyPort]:
    with serving_port(twin) as port:
        yield port


@pytest.fixture
def bus(port: PtyPort) -> Iterator[Any]:
    bus = dynamixel.DynamixelMotorsBus(port.path, dict(MOTORS))
    bus.connect()
    yield bus
    if bus.is_connected:
        bus.disconnect()


def raw(bus: Any, name: str) -> dict[str, int]:
    values: dict[str, int] = bus.sync_read(name, normalize=False)
    return values


def test_the_handshake_finds_six_xl330(bus: Any) -> None:
    assert bus.is_connected
    assert bus.broadcast_ping() == dict.fromkeys(range(1, 7), 1200)
    assert bus.ping("elbow_flex") == 1200


def test_its_table_is_ours(bus: Any) -> None:
    ours = {register.address: register for register in TABLE.values()}
    for name, (address, length) in tables.X_SERIES_CONTROL_TABLE.items():
        assert ours[address].length == length, name
        bus.read(name, "gripper", normalize=False)
    assert list(raw(bus, "Present_Position").values()) == TICKS


def test_calibration_by_half_turns_in_extended_mode(bus: Any, twin: DynamixelTwin) -> None:
    bus.disable_torque()
    for name in NAMES:
        bus.write("Operating_Mode", name, dynamixel.OperatingMode.EXTENDED_POSITION.value)
    offsets = bus.set_half_turn_homings()
    assert list(offsets.values()) == [2047 - ticks for ticks in TICKS]
    assert set(raw(bus, "Present_Position").values()) == {2047}
    calibration = {
        name: motors.MotorCalibration(motor.id, 0, offsets[name], 1000, 3000)
        for name, motor in MOTORS.items()
    }
    bus.write_calibration(calibration)
    assert bus.is_calibrated
    assert bus.read_calibration() == calibration
    assert [motor.get("min_position") for motor in twin.motors] == [1000] * 6


def test_configure_and_motion_under_torque(bus: Any, twin: DynamixelTwin) -> None:
    for motor in twin.motors:
        motor.set("return_delay", 250)
    with bus.torque_disabled():
        bus.configure_motors()
        for name in NAMES:
            bus.write("Operating_Mode", name, dynamixel.OperatingMode.POSITION.value)
    assert set(raw(bus, "Return_Delay_Time").values()) == {0}
    assert set(raw(bus, "Torque_Enable").values()) == {1}
    bus.sync_write("Goal_Position", dict.fromkeys(NAMES, 2300), normalize=False)
    until(lambda: all(abs(at - 2300) <= 2 for at in raw(bus, "Present_Position").values()))
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), 252 * np.pi / 2048, atol=0.004)
    with pytest.raises(RuntimeError, match="not available to target"):
        bus.write("Operating_Mode", "gripper", 4)
    bus.write("Torque_Enable", "gripper", 0)
    bus.sync_write("Goal_Position", dict.fromkeys(NAMES, 2048), normalize=False)
    until(lambda: abs(raw(bus, "Present_Position")["wrist_roll"] - 2048) <= 2)
    assert abs(raw(bus, "Present_Position")["gripper"] - 2300) <= 2


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


def test_setup_motor_gives_a_factory_new_motor_its_id_and_speed() -> None:
    joint = DynamixelJoint("new", 1, -1.0, 1.0, 6.0)
    twin = KIND.make_twin(DynamixelSettings(kind="dynamixel"), [joint], START[:1], timed=False)
    assert isinstance(twin, DynamixelTwin)
    twin.motors[0].set("baud_code", 1)
    with serving_port(twin) as port:
        bus = dynamixel.DynamixelMotorsBus(port.path, dict(MOTORS))
        bus.setup_motor("gripper")
        assert bus.broadcast_ping() == {6: 1200}
        assert bus.ping(1) is None
        bus.set_baudrate(57_600)
        assert not bus.broadcast_ping()
        bus.port_handler.closePort()
