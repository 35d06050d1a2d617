"""What this kind does beyond the contract: missing motors, fast sync reads, stuffing, watchdog, faults."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.dynamixel import DynamixelJoint
from wall_edge_bridge.kinds.dynamixel.codec import build_read, build_status, build_sync_read
from wall_edge_bridge.kinds.dynamixel.replies import Answer
from wall_edge_bridge.kinds.dynamixel.timing import POSITION, STATUS

from tests.drive_cases.rig import MS, START
from tests.unit.bridge.dynamixel.dynamixel_arm import Arm, with_
from wall_edge.errors import BusTimeout, DriveError


def stale(arm: Arm, position: Any = None) -> list[int]:
    since = arm.clock() + 1
    try:
        return arm.stale(arm.cycle(position), since)
    except BusTimeout:
        return list(range(len(arm.joints)))


# --- a missing id silences those after it -----------------------------------------------------------------


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("missing", range(6))
def test_a_missing_motor_silences_those_after_it_for_one_cycle_only(missing: int, fast: bool) -> None:
    arm = Arm(fast=fast)
    assert stale(arm) == []
    arm.twin.silence(missing)
    assert stale(arm) == list(range(missing, 6))
    for _ in range(5):
        assert stale(arm) == [missing]
    arm.twin.silence(missing, silent=False)
    assert stale(arm) == []


def test_motors_that_wait_for_nobody_are_not_silenced() -> None:
    arm = Arm()
    arm.twin.missing_silences = False
    arm.twin.silence(1)
    assert [stale(arm) for _ in range(3)] == [[1]] * 3


def test_of_two_missing_motors_one_that_comes_back_is_heard_though_the_other_does_not() -> None:
    arm = Arm()
    arm.twin.silence(1)
    arm.twin.silence(3)
    for _ in range(3):
        stale(arm)
    assert stale(arm) == [1, 3]
    arm.twin.silence(3, silent=False)
    for _ in range(2):
        still = stale(arm)
    assert still == [1]


def test_what_the_others_lose_is_told_although_one_is_missing() -> None:
    arm = Arm()
    arm.drive.enable()
    arm.twin.silence(1)
    arm.cycle(START)
    arm.twin.lose_torque(4)
    assert arm.until(lambda feedback: feedback.limp, 0.05, START).limp == (arm.joints[4].name,)


# --- fast sync read ---------------------------------------------------------------------------------------


def test_a_fast_arm_is_operated_in_one_packet_a_cycle() -> None:
    arm = Arm(fast=True)
    arm.drive.check()
    assert arm.drive.arm_watchdog(0.1) == pytest.approx(0.1)
    arm.drive.enable()
    before = arm.twin.replies.count
    np.testing.assert_allclose(arm.follow(np.zeros(6)).position, 0, atol=arm.near)
    cycles = arm.drive.counters.cycles
    assert arm.twin.replies.count - before < 1.6 * cycles
    assert arm.drive.counters.errors == 0
    arm.twin.lose_torque(3)
    assert arm.until(lambda feedback: feedback.limp, 0.03, np.zeros(6)).limp == (arm.joints[3].name,)


@pytest.mark.parametrize("at", [8, 20, 29, 40])
def test_a_damaged_byte_of_a_fast_status_costs_one_joint(at: int) -> None:
    arm = Arm(fast=True)
    arm.cycle()
    arm.twin.replies.change(lambda data: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
    assert stale(arm) == [(at - 8) // 8]
    assert stale(arm) == []
    assert arm.drive.counters.checksum_errors == 1


def test_a_lost_fast_status_costs_its_cycle() -> None:
    arm = Arm(fast=True)
    arm.cycle()
    arm.twin.replies.drop()
    assert stale(arm) == list(range(6))
    assert stale(arm) == []


@pytest.mark.parametrize("late", [0.05, 1.05, 2.4])
def test_late_fast_statuses_are_not_believed(late: float) -> None:
    arm = Arm(fast=True)
    arm.twin.replies.latency_ns = arm.timeout_ns + round(late * arm.timeout_ns)
    for step in range(20):
        arm.twin.set_positions(START + 0.02 * (step % 7))
        with suppress(BusTimeout):
            stale(arm)
    arm.twin.replies.latency_ns = 0
    arm.wait(0.2)
    for step in range(8):
        arm.twin.set_positions(START + 0.02 * step)
        silent = stale(arm)
    assert silent == []
    assert arm.drive.counters.late > 0
    assert arm.drive.counters.foreign == 0


# --- stuffing ---------------------------------------------------------------------------------------------

_TRICKY = -131_073
"""ff ff fd ff"""


def tricky_arm() -> Arm:
    joints: list[DynamixelJoint] = [
        DynamixelJoint(f"j{i}", i + 1, -300.0, 300.0, 3.0, extended=True, zero_ticks=0) for i in range(3)
    ]
    arm = Arm(joints)
    arm.motors[1].angle = _TRICKY
    return arm


def test_data_that_look_like_a_header_are_read_and_written() -> None:
    arm = tricky_arm()
    assert stale(arm) == []
    arm.drive.enable()
    assert arm.motors[1].get("goal_position") == _TRICKY
    assert any(b"\xff\xff\xfd\xfd" in packet for packet in arm.sent)
    arm.motors[1].angle = _TRICKY - 50
    arm.follow(np.array([0.0, _TRICKY * 2 * np.pi / 4096, 0.0]), 0.1)
    assert arm.motors[1].angle == pytest.approx(_TRICKY, abs=2)


def test_a_motor_that_does_not_stuff_loses_those_reads_and_no_others() -> None:
    arm = tricky_arm()
    arm.twin.stuffing = False
    assert [stale(arm) for _ in range(3)] == [[1]] * 3
    arm.motors[1].angle = 5
    assert stale(arm) == []


# --- watchdog ---------------------------------------------------------------------------------------------


def test_the_watchdog_is_armed_under_torque_and_disarmed_with_it() -> None:
    arm = Arm()
    assert arm.drive.arm_watchdog(0.25) == pytest.approx(0.26)
    assert {motor.get("bus_watchdog") for motor in arm.motors} == {0}
    arm.drive.enable()
    assert {motor.get("bus_watchdog") for motor in arm.motors} == {13}
    assert arm.drive.arm_watchdog(0.1) == pytest.approx(0.1)
    assert {motor.get("bus_watchdog") for motor in arm.motors} == {5}
    arm.drive.disable()
    assert {motor.get("bus_watchdog") for motor in arm.motors} == {0}


@pytest.mark.parametrize("seconds", [0.0, 2.55, 60.0])
def test_a_time_beyond_127_units_of_20_ms_is_refused(seconds: float) -> None:
    with pytest.raises(DriveError, match=r"0\.02 to 2\.54 s"):
        Arm().drive.arm_watchdog(seconds)


def test_a_watchdog_that_does_not_read_back_leaves_the_torque_off() -> None:
    arm = Arm()
    motor, write = arm.motors[2], arm.motors[2].write
    motor.write = lambda address, data: 7 if address == 98 else write(address, data)  # type: ignore[method-assign]
    arm.drive.arm_watchdog(0.1)
    with pytest.raises(DriveError, match=r"elbow_flex \(id 3\): bus_watchdog reads back as 0; expected 5"):
        arm.drive.enable()
    assert not any(arm.powered())


def test_an_expired_watchdog_is_a_fault_that_clears_itself_once() -> None:
    arm = Arm()
    arm.drive.arm_watchdog(0.1)
    for attempt in range(2):
        arm.drive.enable()
        arm.cycle(START)
        arm.wait(0.15)
        assert {motor.get("bus_watchdog") for motor in arm.motors} == {5}
        feedback = arm.until(lambda feedback: all(feedback.faults), 0.1, START + 0.2)
        assert {fault.name for faults in feedback.faults for fault in faults} == {"bus watchdog"}
        np.testing.assert_allclose(arm.standing(), START, atol=arm.near)  # goals are read-only now
        if attempt:
            break
        # Another drive clears it, as after a restart of the servo process; this one once.
        arm.drive.enable()
        assert arm.cycle(START).faults == ((),) * 6
    with pytest.raises(DriveError, match="bus watchdog again"):
        arm.drive.enable()
    with arm.another_drive() as other:
        other.enable()


def extended(**keys: Any) -> list[DynamixelJoint]:
    return with_(1, extended=True, homing_offset=500, **keys)


def test_a_watchdog_that_may_turn_a_motor_is_refused_before_anything_is_powered() -> None:
    """DynamixelSDK issue 584."""
    arm = Arm(extended())
    arm.drive.check()
    with pytest.raises(DriveError, match=r"shoulder_lift \(id 2\).*offset 500.*issue 584.*zero_ticks"):
        arm.drive.arm_watchdog(0.1)
    assert arm.drive.arm_watchdog is not None
    arm.drive.enable()  # without a watchdog


@pytest.mark.parametrize("old_firmware", [False, True])
def test_what_an_extended_motor_with_an_offset_does_when_its_watchdog_expires(old_firmware: bool) -> None:
    arm = Arm(extended(), extended_watchdog=True)
    arm.motors[1].turns_on_expiry = old_firmware
    arm.drive.arm_watchdog(0.1)
    arm.drive.enable()
    arm.cycle(START)
    arm.wait(1.0)
    moved = np.abs(arm.standing() - START) > 0.1
    assert moved.tolist() == [False, old_firmware, False, False, False, False]


# --- faults -----------------------------------------------------------------------------------------------


def test_a_hardware_error_is_named_in_the_cycle_that_reports_it() -> None:
    arm = Arm()
    arm.drive.enable()
    arm.cycle(START)
    arm.twin.set_fault(1, "encoder")  # no part of the shutdown mask: it goes on
    feedback = arm.cycle(START)
    assert [fault.name for fault in feedback.faults[1]] == ["encoder"]
    assert arm.powered()[1]


@pytest.mark.parametrize(
    ("fault", "register", "bad", "good", "message"),
    [
        ("overheating", "present_temperature", 75, 45, "at 75 °C, it must cool to 60"),
        ("input voltage", "present_voltage", 75, 50, "supply at 7.5 V, it needs 3.5 to 7"),
    ],
)
def test_a_fault_with_a_cause_that_can_be_measured_is_cleared_by_a_reboot_when_that_is_gone(
    fault: str, register: str, bad: int, good: int, message: str
) -> None:
    arm = Arm()
    motor = arm.motors[3]
    motor.set(register, bad)
    arm.twin.set_fault(3, fault)
    with pytest.raises(DriveError, match=f"wrist_flex.*{fault}: {message}"):
        arm.drive.enable()
    motor.set(register, good)
    arm.drive.enable()
    assert motor.get("hardware_error") == 0
    assert all(arm.powered())
    assert arm.cycle(START).faults == ((),) * 6


@pytest.mark.parametrize("fault", ["overload", "electrical shock", "hall sensor", "encoder"])
def test_other_faults_need_a_person_and_nothing_is_rebooted(fault: str) -> None:
    arm = Arm()
    arm.twin.set_fault(3, "overheating")
    arm.twin.set_fault(0, fault)
    before = arm.memory()
    with pytest.raises(DriveError, match=f"shoulder_pan.*{fault}"):
        arm.drive.enable()
    assert arm.memory() == before
    assert arm.motors[3].get("hardware_error")


def test_a_goal_that_a_motor_refuses_keeps_the_torque_off() -> None:
    arm = Arm()
    arm.motors[2].set("max_position", 2000)
    arm.motors[2].set("goal_position", 100)
    with pytest.raises(DriveError, match=r"elbow_flex \(id 3\): goal_position reads back as 100"):
        arm.drive.enable()
    assert not any(arm.powered())


@pytest.mark.parametrize("address", [116, 64, 98])
def test_a_lost_sync_write_on_the_way_to_power_is_written_again(address: int) -> None:
    arm = Arm()
    arm.motors[0].set("goal_position", 100)
    arm.drive.arm_watchdog(0.1)
    send, lost = arm.wire.send, []

    def lossy(data: bytes, deadline_ns: int) -> None:
        if data[7] == 0x83 and data[8] == address and not lost:
            lost.append(data)
        else:
            send(data, deadline_ns)

    arm.wire.send = lossy
    arm.drive.enable()
    assert len(lost) == 1
    arm.wait(0.05)
    np.testing.assert_allclose(arm.standing(), START, atol=arm.near)
    assert {motor.get("bus_watchdog") for motor in arm.motors} == {5}


# --- others on the bus ------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [build_read(2, 132, 2), build_sync_read(132, 2, [1, 2])])
def test_replies_to_another_program_are_counted_and_not_believed(request_: bytes) -> None:
    arm = Arm()
    arm.cycle()
    arm.twin.intrude(request_, arm.clock())
    arm.twin.set_positions(START + 0.1)
    assert stale(arm) == []
    assert arm.drive.counters.foreign >= 1


def test_echoes_of_requests_are_no_replies() -> None:
    """As adapters give them that hear themselves."""
    arm = Arm()
    handle = arm.twin.handle
    arm.twin.handle = lambda data, *rest: data + handle(data, *rest)  # type: ignore[method-assign]
    arm.drive.enable()
    assert stale(arm, START) == []
    assert arm.drive.counters.errors == arm.drive.counters.foreign == 0


def test_a_scan_tells_model_firmware_supply_and_temperature() -> None:
    arm = Arm(with_(2, model="XM430-W350"), connect=False)
    found = arm.scan(range(1, 5))
    assert [each.model for each in found] == ["XL330-M288", "XL330-M288", "XM430-W350", "XL330-M288"]
    assert found[0].detail == "firmware 46, 5.2 V, 30 °C"


def test_an_id_is_not_changed_under_torque() -> None:
    arm = Arm()
    arm.drive.enable()
    with pytest.raises(DriveError, match="torque on"):
        arm.set_id(1, 9)
    assert arm.motors[0].id == 1


def test_a_bus_that_stalls_is_left_at_its_deadline_although_a_read_was_on_its_way() -> None:
    arm = Arm()
    arm.drive.enable()
    arm.cycle(START)
    arm.twin.replies.latency_ns = 500 * MS
    for _ in range(5):
        begin = arm.clock()
        with pytest.raises(BusTimeout):
            arm.drive.cycle(None, begin + 3 * MS)
        assert arm.clock() - begin <= 3 * MS


def test_lost_torque_is_told_although_every_look_between_cycles_comes_too_late() -> None:
    """As on a machine whose adapter is slower than its idle time."""
    arm = Arm()
    arm.drive.enable()
    collect = arm.wire.receive

    def starved(at_most: int, deadline_ns: int) -> bytes:
        """What is asked for behind a cycle arrives when the next one has begun."""
        data: bytes = collect(at_most, deadline_ns)
        return b"" if len(data) > 100 and deadline_ns <= arm.clock() + 10 * MS else data

    arm.wire.receive = starved
    for _ in range(5):
        arm.cycle(START)
    arm.twin.lose_torque(2)
    told = arm.until(lambda feedback: feedback.limp, 0.25, START)
    assert told.limp == (arm.joints[2].name,)


def test_a_position_that_is_late_into_a_look_at_the_torque_is_none_of_it() -> None:
    """Lost once: its low byte was taken for torque_enable, and a motor that held was said to be limp."""
    arm = Arm()
    bus, last = arm.drive._bus, arm.motors[-1].id
    arm.twin.replies.drop(6)
    bus.ask(POSITION, arm.clock() + 20_000_000)
    assert last not in bus.collect(arm.clock() + 20_000_000)
    looks: list[Mapping[int, Answer]] = []
    bus.ask_in_background(STATUS, 2_000_000, looks.append)
    arm.twin.replies.say(build_status(last, 0, bytes((0, 8, 0, 0))), arm.clock())
    late = bus.counters.late
    bus.ask(POSITION, arm.clock() + 20_000_000)
    assert looks[0].keys() == set(bus.ids) - {last}
    assert bus.counters.late == late + 1
