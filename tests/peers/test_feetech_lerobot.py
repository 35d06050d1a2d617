"""B: LeRobot 0.4.4's FeetechMotorsBus on simulated STS3215 servos, through a pseudo-terminal, unmodified."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import scservo_sdk as scs
from lerobot.motors import Motor, MotorCalibration, MotorNormMode, motors_bus
from lerobot.motors.feetech import FeetechMotorsBus, OperatingMode
from lerobot.motors.feetech.tables import STS_SMS_SERIES_CONTROL_TABLE
from wall_edge_bridge.kinds.feetech import FeetechJoint
from wall_edge_bridge.kinds.feetech.registers import STS3215
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import PtyPort, serving_port

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(FeetechJoint(name, i + 1, -1.5, 1.5, 6.0) for i, name in enumerate(NAMES))
START = np.linspace(-0.6, 0.6, 6)
TICKS = [round(2048 + radians * 2048 / np.pi) for radians in START]
MOTORS = {name: Motor(i + 1, "sts3215", MotorNormMode.DEGREES) for i, name in enumerate(NAMES)}


@pytest.fixture
def twin() -> FeetechTwin:
    return FeetechTwin(JOINTS, START)


@pytest.fixture
def port(twin: FeetechTwin) -> Iterator[PtyPort]:
    with serving_port(twin) as port:
        yield port


@pytest.fixture
def bus(port: PtyPort) -> Iterator[FeetechMotorsBus]:
    bus = FeetechMotorsBus(port.path, dict(MOTORS))
    bus.connect()
    yield bus
    if bus.is_connected:
        bus.disconnect()


def raw(bus: FeetechMotorsBus, name: str) -> dict[str, int]:
    return bus.sync_read(name, normalize=False)


def test_the_handshake_finds_six_sts3215(bus: FeetechMotorsBus) -> None:
    assert bus.is_connected
    assert bus.broadcast_ping() == dict.fromkeys(range(1, 7), 777)
    assert bus.ping("elbow_flex") == 777
    assert bus._read_firmware_version(bus.ids) == dict.fromkeys(range(1, 7), "3.10")


def test_every_register_of_lerobots_table_can_be_read(bus: FeetechMotorsBus) -> None:
    ours = {register.address: register for register in STS3215.values()}
    for name, (address, length) in STS_SMS_SERIES_CONTROL_TABLE.items():
        value = bus.read(name, "gripper", normalize=False)
        if address in ours and ours[address].length == length and ours[address].access == "write":
            expected = {5: 6, 42: TICKS[5]}.get(address, ours[address].default)
            assert value == expected, name


def test_positions_are_where_the_joints_are(bus: FeetechMotorsBus) -> None:
    assert list(raw(bus, "Present_Position").values()) == TICKS


def test_calibration_by_half_turns_ranges_and_a_file(bus: FeetechMotorsBus, twin: FeetechTwin) -> None:
    bus.disable_torque()
    offsets = bus.set_half_turn_homings()
    assert list(offsets.values()) == [ticks - 2047 for ticks in TICKS]
    assert set(raw(bus, "Present_Position").values()) == {2047}
    mins, maxes = swept(bus, twin)
    assert all(maxes[name] - mins[name] == pytest.approx(1304, abs=4) for name in NAMES)
    calibration = {
        name: MotorCalibration(motor.id, 0, offsets[name], mins[name], maxes[name])
        for name, motor in MOTORS.items()
    }
    bus.write_calibration(calibration)
    assert bus.is_calibrated
    assert bus.read_calibration() == calibration
    bus.calibration = {**calibration, "gripper": MotorCalibration(6, 0, 1, 0, 4095)}
    assert not bus.is_calibrated
    bus.calibration = calibration
    twin.set_positions(START)
    assert all(abs(degrees) < 0.2 for degrees in bus.sync_read("Present_Position").values())


def swept(bus: FeetechMotorsBus, twin: FeetechTwin) -> tuple[dict[str, int], dict[str, int]]:
    """Joints moved by hand, 1 rad to either side, until "Enter"."""
    hand = iter([START - 1.0, START + 1.0, START])

    def enter_pressed() -> bool:
        position = next(hand, None)
        if position is None:
            return True
        twin.set_positions(position)
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motors_bus, "enter_pressed", enter_pressed)
        return bus.record_ranges_of_motion(display_values=False)


def test_configure_and_motion_under_torque(bus: FeetechMotorsBus, twin: FeetechTwin) -> None:
    with bus.torque_disabled():
        bus.configure_motors()
        for name in NAMES:
            bus.write("Operating_Mode", name, OperatingMode.POSITION.value)
            bus.write("P_Coefficient", name, 16)
    assert set(raw(bus, "Torque_Enable").values()) == {1}
    assert set(raw(bus, "Lock").values()) == {1}
    assert set(raw(bus, "Maximum_Acceleration").values()) == {254}
    assert set(raw(bus, "P_Coefficient").values()) == {16}
    bus.sync_write("Goal_Position", dict.fromkeys(NAMES, 2300), normalize=False)
    until(lambda: all(abs(at - 2300) <= 2 for at in raw(bus, "Present_Position").values()))
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), 252 * np.pi / 2048, atol=0.004)
    bus.write("Torque_Enable", "gripper", 0)
    bus.sync_write("Goal_Position", dict.fromkeys(NAMES, 2048), normalize=False)
    until(lambda: abs(raw(bus, "Present_Position")["wrist_roll"] - 2048) <= 2)
    assert abs(raw(bus, "Present_Position")["gripper"] - 2300) <= 2


def until(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline


def test_memory_is_protected_while_locked(bus: FeetechMotorsBus) -> None:
    bus.enable_torque()
    bus.write("P_Coefficient", "gripper", 16)
    assert bus.read("P_Coefficient", "gripper") == 32
    bus.disable_torque()
    bus.write("P_Coefficient", "gripper", 16)
    assert bus.read("P_Coefficient", "gripper") == 16


@pytest.mark.parametrize("code", [0, 1, 4])
def test_setup_motor_gives_a_new_servo_its_id_and_speed(code: int) -> None:
    twin = FeetechTwin([FeetechJoint("new", 1, -1.0, 1.0, 6.0)])
    twin.servos[1].set("baud_code", code)
    with serving_port(twin) as port:
        bus = FeetechMotorsBus(port.path, dict(MOTORS))
        bus.setup_motor("gripper")
        assert bus.broadcast_ping() == {6: 777}
        assert bus.ping(1) is None
        bus.set_baudrate(500_000)
        assert bus.broadcast_ping() is None
        bus.port_handler.closePort()


def test_feetechs_own_sdk_moves_by_reg_write_and_action(port: PtyPort, twin: FeetechTwin) -> None:
    handler, packets = scs.PortHandler(port.path), scs.PacketHandler(0)
    handler.openPort()
    assert packets.ping(handler, 1)[:2] == (777, scs.COMM_SUCCESS)
    assert packets.write1ByteTxRx(handler, 1, 40, 128) == (scs.COMM_SUCCESS, 0)
    assert packets.read2ByteTxRx(handler, 1, 56)[0] == 2048
    assert packets.read2ByteTxRx(handler, 1, 31)[0] == (2048 - TICKS[0]) | 1 << 11
    packets.write1ByteTxRx(handler, 1, 40, 1)
    packets.regWriteTxRx(handler, 1, 42, 2, [0x00, 0x09])
    assert packets.read2ByteTxRx(handler, 1, 42)[0] == 2048
    packets.action(handler, scs.BROADCAST_ID)
    assert packets.read2ByteTxRx(handler, 1, 42)[0] == 0x900
    assert twin.servos[1].get("goal_position") == 0x900
    handler.closePort()
