"""The motors' side is strict: what a real motor would not take, it does not take either."""

from __future__ import annotations

import numpy as np
import pytest
from wall_edge_bridge.kinds.dynamixel import codec
from wall_edge_bridge.kinds.dynamixel.codec import BROADCAST_ID, Status
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser
from wall_edge_bridge.kinds.dynamixel.registers import TABLE, TABLE_SIZE
from wall_edge_bridge.kinds.dynamixel.twin.motor import REBOOT_NS

from tests.unit.bridge.dynamixel.dynamixel_arm import Arm

_RESULT, _INSTRUCTION, _RANGE, _LENGTH, _LIMIT, _ACCESS = 1, 2, 4, 5, 6, 7


def say(arm: Arm, packet: bytes) -> list[Status]:
    arm.clock.now_ns += 1_000_000
    data = arm.twin.handle(packet, arm.clock()) + arm.twin.collect(arm.clock())
    return [Status(each.id, each.params[0], each.params[1:]) for each in PacketParser().feed(data)]


def write(arm: Arm, name: str, value: int, motor_id: int = 1) -> int:
    register = TABLE[name]
    [status] = say(arm, codec.build_write(motor_id, register.address, register.encode(value)))
    return status.error


def read(arm: Arm, name: str, motor_id: int = 1) -> int:
    register = TABLE[name]
    [status] = say(arm, codec.build_read(motor_id, register.address, register.length))
    return register.decode(status.data)


@pytest.fixture
def arm() -> Arm:
    return Arm(connect=False)


def test_every_register_answers_with_its_default(arm: Arm) -> None:
    own = {"id", "baud_code", "return_delay", "goal_position", "present_position", "realtime_tick"}
    own.add("position_trajectory")
    for name, register in TABLE.items():
        if name not in own:
            assert read(arm, name) == register.default, name
    assert read(arm, "id") == 1
    assert read(arm, "baud_code") == 3
    assert read(arm, "return_delay") == 0
    assert read(arm, "present_position") == read(arm, "goal_position") == 2048 + round(0.1 * 2048 / np.pi)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("present_position", 5, _ACCESS),
        ("model", 5, _ACCESS),
        ("id", 253, _RANGE),
        ("torque_enable", 2, _RANGE),
        ("goal_position", 4096, _LIMIT),
        ("goal_position", -1, _LIMIT),
        ("status_return_level", 3, _RANGE),
        ("bus_watchdog", 5, _ACCESS),
        ("profile_velocity", 40_000, _RANGE),
    ],
)
def test_a_write_that_a_motor_would_refuse_changes_nothing(
    arm: Arm, name: str, value: int, error: int
) -> None:
    before = arm.memory()
    assert write(arm, name, value) == error
    assert arm.memory() == before


def test_parts_of_registers_and_gaps_cannot_be_written(arm: Arm) -> None:
    for address, data in ((116, b"\0\1"), (117, b"\0"), (66, b"\0"), (116, b""), (700, b"\0")):
        assert [status.error for status in say(arm, codec.build_write(1, address, data))] == [_LENGTH]
    assert [status.error for status in say(arm, codec.build_read(1, TABLE_SIZE - 1, 2))] == [_RANGE]
    assert say(arm, codec.build_packet(1, 0x7F))[0].error == _INSTRUCTION


def test_eeprom_is_written_without_torque_only(arm: Arm) -> None:
    assert write(arm, "torque_enable", 1) == 0
    assert write(arm, "return_delay", 7) == _ACCESS
    assert write(arm, "operating_mode", 4) == _ACCESS
    assert write(arm, "torque_enable", 0) == 0
    assert write(arm, "return_delay", 7) == 0
    assert read(arm, "return_delay") == 7


def test_broadcasts_are_answered_by_pings_only_in_the_order_of_ids(arm: Arm) -> None:
    arm.motors[0].set("id", 9)
    pings = say(arm, codec.build_ping(BROADCAST_ID))
    assert [each.id for each in pings] == [2, 3, 4, 5, 6, 9]
    assert {each.data for each in pings} == {b"\xb0\x04\x2e"}
    assert say(arm, codec.build_read(BROADCAST_ID, 132, 4)) == []
    assert say(arm, codec.build_write(BROADCAST_ID, 65, b"\1")) == []
    assert {motor.get("led") for motor in arm.motors} == {1}


def test_a_registered_write_waits_for_its_action(arm: Arm) -> None:
    say(arm, codec.build_reg_write(1, 116, b"\0\2\0\0"))
    assert read(arm, "registered_instruction") == 1
    assert read(arm, "goal_position") != 512
    assert say(arm, codec.build_action()) == []
    assert read(arm, "goal_position") == 512
    assert read(arm, "registered_instruction") == 0


def test_turns_are_cleared_by_the_five_bytes_only(arm: Arm) -> None:
    arm.motors[0].set("operating_mode", 4)
    arm.motors[0].angle = 3 * 4096 + 7
    assert say(arm, codec.build_packet(1, 0x10, b"\1\2\3\4\5"))[0].error == _RANGE
    assert read(arm, "present_position") == 3 * 4096 + 7
    say(arm, codec.build_clear(1))
    assert read(arm, "present_position") == 7


def test_a_reboot_takes_a_while_and_forgets_the_ram(arm: Arm) -> None:
    write(arm, "torque_enable", 1)
    write(arm, "led", 1)
    arm.twin.set_fault(0, "overload")
    assert say(arm, codec.build_ping(1))[0].error == 0x80
    assert write(arm, "torque_enable", 1) == 0x80 | _RESULT
    assert say(arm, codec.build_reboot(1)) == [Status(1, 0, b"")]
    assert say(arm, codec.build_ping(1)) == []
    arm.clock.now_ns += REBOOT_NS
    assert say(arm, codec.build_ping(1))[0].error == 0
    assert read(arm, "torque_enable") == read(arm, "led") == 0


@pytest.mark.parametrize(("option", "kept"), [(0xFF, (1, 1)), (0x01, (1, 1)), (0x02, (1, 3))])
def test_a_factory_reset_keeps_what_it_is_told_to(arm: Arm, option: int, kept: tuple[int, int]) -> None:
    write(arm, "return_delay", 9)
    say(arm, codec.build_packet(1, codec.Instruction.FACTORY_RESET, bytes([option])))
    motor = arm.motors[0]
    assert motor.get("return_delay") == 250
    assert (motor.get("id"), motor.get("baud_code")) == kept
    assert motor.get("model") == 1200


def test_only_motors_that_listen_at_the_baud_rate_hear(arm: Arm) -> None:
    now = arm.clock()
    assert arm.twin.handle(codec.build_ping(1), now, 57_600) == b""
    assert arm.twin.handle(codec.build_ping(1), now, 1_000_000) != b""
    arm.motors[0].set("baud_code", 1)
    assert arm.twin.handle(codec.build_ping(1), now, 57_600) != b""


def test_a_status_return_level_says_what_is_answered(arm: Arm) -> None:
    assert write(arm, "status_return_level", 1) == 0
    assert say(arm, codec.build_write(1, 65, b"\1")) == []
    assert read(arm, "led") == 1
    say(arm, codec.build_write(1, 68, b"\0"))
    assert say(arm, codec.build_read(1, 65, 1)) == []
    assert len(say(arm, codec.build_ping(1))) == 1


def test_profiles_and_limits_bound_the_shaft(arm: Arm) -> None:
    write(arm, "torque_enable", 1)
    write(arm, "profile_velocity", 20)
    write(arm, "goal_position", 3000)
    start, begin = read(arm, "present_position"), arm.clock()
    arm.clock.now_ns += 500_000_000
    assert read(arm, "present_velocity") == pytest.approx(20, abs=1)
    seconds = (arm.clock() - begin) * 1e-9
    moved = read(arm, "present_position") - start
    assert moved == pytest.approx(20 * 0.229 / 60 * 4096 * seconds, rel=0.03)


def test_a_large_homing_offset_counts_in_extended_position_mode_only(arm: Arm) -> None:
    before = read(arm, "present_position")
    write(arm, "homing_offset", 1500)
    assert read(arm, "present_position") == before
    write(arm, "homing_offset", 700)
    assert read(arm, "present_position") == before + 700
    write(arm, "operating_mode", 4)
    write(arm, "homing_offset", 1500)
    assert read(arm, "present_position") == before + 1500


def test_the_watchdog_is_fed_by_instructions_to_its_motor_and_expiry_makes_goals_read_only(arm: Arm) -> None:
    write(arm, "torque_enable", 1)
    assert write(arm, "bus_watchdog", 2) == 0
    for _ in range(10):
        arm.clock.now_ns += 30_000_000
        read(arm, "torque_enable")
    assert read(arm, "bus_watchdog") == 2
    for _ in range(3):
        arm.clock.now_ns += 30_000_000
        read(arm, "torque_enable", 2)
    assert read(arm, "bus_watchdog") == -1
    assert write(arm, "goal_position", 2000) == _RANGE
    assert write(arm, "bus_watchdog", 0) == 0
    assert write(arm, "goal_position", 2000) == 0


def test_without_stuffing_a_packet_is_no_packet_to_the_motors(arm: Arm) -> None:
    body = b"\x03\x74\x00" + b"\xff\xff\xfd\x00"
    packet = codec.HEADER + b"\x01" + (len(body) + 2).to_bytes(2, "little") + body
    assert say(arm, packet + codec.crc16(packet).to_bytes(2, "little")) == []
