"""Feetech's own bytes: what is sent and when, and what must not be."""

from __future__ import annotations

import math
from contextlib import nullcontext, suppress
from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.feetech import FeetechJoint
from wall_edge_bridge.kinds.feetech.codec import Request, build_sync_read, build_write
from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.kinds.feetech.twin.motor import SimulatedServo
from wall_edge_bridge.sim import ByteWire

from tests.drive_cases.feetech import JOINTS
from tests.drive_cases.rig import START
from tests.unit.bridge.feetech.loop import Loop
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, ConfigError, DriveError


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def drive(loop: Loop) -> FeetechDrive:
    drive = loop.open()
    drive.connect()
    loop.take()
    return drive


def test_a_cycle_is_one_sync_write_and_one_sync_read(drive: FeetechDrive, loop: Loop) -> None:
    loop.cycle(drive, np.zeros(6))
    goals = b"".join(bytes((j.id,)) + j.zero_ticks.to_bytes(2, "little") for j in JOINTS)
    assert loop.take() == [
        Request(0xFE, 0x83, b"\x2a\x02" + goals),
        Request(0xFE, 0x82, b"\x38\x02" + bytes(range(1, 7))),
    ]


def test_setpoints_take_effect_before_the_reading_of_their_cycle(drive: FeetechDrive, loop: Loop) -> None:
    drive.enable()
    loop.take()
    drive.start_cycle(Setpoints.hold(START), loop.soon())
    assert [request.instruction for request in loop.take()] == [0x83, 0x82]


def test_enable_sends_the_goal_before_the_torque(drive: FeetechDrive, loop: Loop) -> None:
    drive.enable()
    sent = [(request.instruction, request.params[0]) for request in loop.take()]
    assert sent == [(0x82, 56), (0x82, 40), (0x83, 42), (0x82, 42), (0x83, 40), (0x82, 40)]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_goal_that_was_lost_never_makes_the_arm_jump(
    drive: FeetechDrive, loop: Loop, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost once: nobody acknowledges a sync write, and under torque the arm went to its last goal at once."""
    drive.enable()
    drive.disable()
    loop.twin.set_positions(np.zeros(6))
    left = [lost]

    def lossy(wire: Loop, data: bytes, deadline_ns: int) -> None:
        if b"\x83\x2a\x02" in data and left[0]:
            left[0] -= 1
        else:
            ByteWire.send(wire, data, deadline_ns)

    monkeypatch.setattr(Loop, "send", lossy)
    with nullcontext() if lost < 3 else pytest.raises(DriveError, match="goal_position reads back as"):
        drive.enable()
    loop.clock.now_ns += 100_000_000
    np.testing.assert_allclose(loop.twin.positions(loop.clock()), 0.0, atol=2e-3)
    assert loop.torque() == [int(lost < 3)] * 6


def test_a7_connecting_and_looking_change_no_register(loop: Loop) -> None:
    for servo, torque in zip(loop.twin.servos.values(), (0, 1, 0, 1, 1, 0), strict=True):
        servo.set("torque_enable", torque)
    before = [servo.memory for servo in loop.twin.servos.values()]
    drive = loop.open()
    drive.connect()
    drive.check()
    loop.cycle(drive)
    drive.look(loop.soon())
    drive.close()
    assert {request.instruction for request in loop.take()} == {0x02, 0x82}
    assert [servo.memory for servo in loop.twin.servos.values()] == before


def test_a7_a_refused_enable_leaves_the_torque_as_it_was_found(drive: FeetechDrive, loop: Loop) -> None:
    loop.twin.servos[2].set("torque_enable", 1)  # held since an earlier crash
    write = SimulatedServo.write

    def broken(servo: SimulatedServo, address: int, data: bytes) -> None:
        if servo.id != 5 or address != 40:
            write(servo, address, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "write", broken)
        with pytest.raises(DriveError, match=r"wrist_roll \(id 5\) still has its torque off"):
            drive.enable()
    assert loop.torque() == [0, 1, 0, 0, 0, 0]


def test_a_refused_enable_writes_nothing(drive: FeetechDrive, loop: Loop) -> None:
    """Writing torque_enable again might free a servo that protects itself."""
    loop.twin.servos[3].set("torque_enable", 1)
    loop.twin.set_fault(2, "overload")
    loop.twin.set_fault(1, "voltage")
    before = [servo.memory for servo in loop.twin.servos.values()]
    with pytest.raises(DriveError, match=r"shoulder_lift \(id 2\) reports voltage: .*3.5 V.*4 to 14 V"):
        drive.enable()
    loop.twin.servos[2].set("present_voltage", 120)
    with pytest.raises(DriveError, match=r"elbow_flex \(id 3\) reports overload"):
        drive.enable()
    assert [servo.memory for servo in loop.twin.servos.values()] == before


@pytest.mark.parametrize(
    ("name", "register", "still", "sound", "named"),
    [
        ("voltage", "present_voltage", 39, 120, "its supply is at 3.9 V, its memory allows 4 to 14 V"),
        ("overheat", "present_temperature", 61, 60, "it is at 61 °C, wait until it is at 60 °C"),
    ],
)
def test_a_measured_fault_is_cleared_after_its_cause_was_seen_to_be_gone(
    drive: FeetechDrive, loop: Loop, name: str, register: str, still: int, sound: int, named: str
) -> None:
    loop.twin.set_fault(4, name)
    for value in (None, still):
        if value is not None:
            loop.twin.servos[5].set(register, value)
        with pytest.raises(DriveError, match=rf"wrist_roll \(id 5\) reports {name}: "):
            drive.enable()
        assert loop.torque() == [0] * 6
    with pytest.raises(DriveError, match=named):
        drive.enable()
    loop.twin.servos[5].set(register, sound)
    drive.enable()
    assert loop.torque() == [1] * 6
    assert loop.cycle(drive).faults == ((),) * 6


def test_a_fault_that_does_not_go_keeps_the_torque_off(drive: FeetechDrive, loop: Loop) -> None:
    loop.twin.servos[1].error = 1  # voltage, though it is sound
    loop.twin.servos[1].set("min_voltage", 130)
    loop.twin.servos[1].set("present_voltage", 130)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "_forget_errors", lambda _: None)
        with pytest.raises(DriveError, match="shoulder_pan reports voltage still"):
            drive.enable()
    assert loop.torque() == [0] * 6


def test_bits_that_the_maker_does_not_explain_are_for_a_person(drive: FeetechDrive, loop: Loop) -> None:
    loop.twin.servos[2].error = 0b1001_0000
    assert [fault.name for fault in loop.cycle(drive).faults[1]] == ["error bit 4", "error bit 7"]
    with pytest.raises(DriveError, match="reports error bit 4"):
        drive.enable()


def test_a3_an_arm_under_torque_is_asked_for_it_every_20_ms(drive: FeetechDrive, loop: Loop) -> None:
    """88 bytes a cycle, and 184 every fifth at 250 Hz: 0.88 and 1.84 of 4 ms at 1 Mbaud."""
    drive.enable()
    sizes = []
    for _ in range(50):
        loop.take()
        loop.cycle(drive, START)
        sizes.append(len(loop.sent) + len(loop.received))
    assert sorted(set(sizes)) == [88, 184]
    assert sizes.count(184) == 10


@pytest.mark.parametrize("how", ["lost", "reboot", "foreign"])
def test_a3_lost_torque_is_told_by_name_within_20_ms_and_a_cycle(
    drive: FeetechDrive, loop: Loop, how: str
) -> None:
    drive.enable()
    for _ in range(12):
        assert loop.cycle(drive).limp == ()
    if how == "lost":
        loop.twin.lose_torque(2)
    elif how == "reboot":
        loop.twin.reboot(2, loop.clock())
        loop.clock.now_ns += 151_000_000
    else:
        loop.twin.intrude(build_write(3, 40, b"\0"), loop.clock())
    since, limp = loop.clock(), ()
    while not limp:
        limp = loop.cycle(drive).limp
        assert loop.clock() - since <= 24_000_000
    assert limp == ("elbow_flex",)
    drive.disable()
    assert loop.cycle(drive).limp == ()


def test_a_look_tells_speed_load_voltage_and_temperature(drive: FeetechDrive, loop: Loop) -> None:
    servo = loop.twin.servos[2]
    servo.set("present_load", -250)
    servo.set("present_voltage", 74)
    servo.set("present_temperature", 41)
    feedback = drive.look(loop.soon())
    assert feedback.effort[1] == pytest.approx(0.25 * 2.94)  # this joint counts against its servo
    assert (feedback.voltage[1], feedback.temperature[1]) == (7.4, 41)
    assert np.isnan(loop.cycle(drive).velocity).all()  # a cycle does not ask for it
    assert loop.cycle(drive).temperature[1] == 41


@pytest.mark.parametrize("cycles", [*range(1, 13), 25, 60])
def test_a9_replies_late_by_whole_cycles_from_a_moment_on_are_never_believed(
    drive: FeetechDrive, loop: Loop, cycles: int
) -> None:
    drive.enable()
    for _ in range(10):
        before = loop.cycle(drive)
    loop.twin.replies.latency_ns = cycles * 4_000_000
    for _ in range(3 * cycles + 30):
        loop.twin.set_positions(START + (loop.clock() % 1e9) * 1e-10)
        with pytest.raises(BusTimeout):
            loop.cycle(drive)
    assert drive.counters.late > 0
    loop.twin.replies.latency_ns = 0
    for _ in range(4 * cycles + 30):
        with suppress(BusTimeout):
            after = loop.cycle(drive)
    np.testing.assert_array_equal(after.received_ns, loop.clock())
    assert before.time_ns < after.time_ns
    assert drive.counters.foreign == 0


def test_a3_replies_that_nobody_asked_for_are_counted_as_foreign(drive: FeetechDrive, loop: Loop) -> None:
    loop.twin.intrude(build_sync_read(56, 2, range(1, 7)), loop.clock())
    np.testing.assert_allclose(loop.cycle(drive).position, START, atol=1e-3)
    assert (drive.counters.foreign, drive.counters.late) == (6, 0)


def goal_ticks(requests: list[Request]) -> list[int]:
    request, _ = requests
    assert (request.instruction, request.params[:2]) == (0x83, b"\x2a\x02")
    return [int.from_bytes(request.params[i : i + 2], "little") for i in range(3, len(request.params), 3)]


# Dense around the limits: in ticks beyond (+) or inside (-) of each.
ALLOWED = (-1000.0, -1.0, -0.5, -0.01, 0.0, 0.01, 0.25, 0.499)
REFUSED = (0.501, 0.75, 1.0, 2.0, 100.0, 1e6, math.inf)


@pytest.mark.parametrize("joint", range(6))
@pytest.mark.parametrize("side", ["lower", "upper"])
def test_the_last_gate_is_half_a_tick_wide(drive: FeetechDrive, loop: Loop, joint: int, side: str) -> None:
    limit, outward = (1.0, 1) if side == "upper" else (-1.5, -1)
    servo = JOINTS[joint]
    for beyond in (*ALLOWED, *REFUSED):
        setpoints = np.zeros(6)
        setpoints[joint] = limit + outward * beyond * RADIANS_PER_TICK
        if beyond in REFUSED:
            with pytest.raises(DriveError, match=servo.name):
                loop.cycle(drive, setpoints)
            assert loop.sent == b""
        else:
            loop.cycle(drive, setpoints)
            goal = limit + outward * min(beyond, 0.0) * RADIANS_PER_TICK
            ticks = goal_ticks(loop.take())
            assert ticks[joint] == round(servo.zero_ticks + servo.direction * goal / RADIANS_PER_TICK)
            assert all(ticks[i] == JOINTS[i].zero_ticks for i in range(6) if i != joint)


@pytest.mark.parametrize("outward", [1, -1])
def test_slack_is_sent_as_the_limit_not_rounded_past_it(outward: int) -> None:
    limit = 100.3 * RADIANS_PER_TICK  # the limit rounds to tick 100; 0.4 ticks more would round to 101
    joints = (FeetechJoint("j", 1, -limit, limit, 6.0),)
    loop = Loop(joints)
    loop.cycle(loop.open(joints), np.array([outward * (limit + 0.4 * RADIANS_PER_TICK)]))
    assert goal_ticks(loop.take()) == [2048 + outward * 100]


def test_after_the_deadline_nothing_is_asked(drive: FeetechDrive, loop: Loop) -> None:
    with pytest.raises(BusTimeout):
        drive.cycle(None, loop.clock() - 1)
    assert loop.sent == b""
    assert drive.counters.timeouts == 6


def test_the_twin_closes_sixty_percent_in_a_thirtieth_of_a_second(drive: FeetechDrive, loop: Loop) -> None:
    loop.twin.set_positions(np.zeros(6))
    drive.enable()
    loop.cycle(drive, np.full(6, 0.2))
    begin = loop.clock()
    there = loop.twin.positions(begin + round(1e9 / 30))
    np.testing.assert_allclose(there, 0.12, atol=RADIANS_PER_TICK)
    np.testing.assert_allclose(loop.twin.positions(begin + 10**10), 0.2, atol=RADIANS_PER_TICK)


def test_the_twin_is_no_faster_than_its_motors_and_does_not_care_how_often_it_is_asked() -> None:
    coarse, fine = Loop(), Loop()
    for loop in (coarse, fine):
        loop.twin = loop._twin = loop._motors = FeetechTwin(JOINTS, np.full(6, -1.5), max_speed=2.0)
        drive = loop.open()
        drive.enable()
        loop.cycle(drive, np.full(6, 1.0))
    begin = fine.clock()
    path = np.array([fine.twin.positions(begin + step * 10**7) for step in range(201)])
    assert np.abs(np.diff(path, axis=0)).max() <= 2.0 * 0.01 + 1e-9
    np.testing.assert_allclose(path[50], -0.5, atol=2e-3)
    np.testing.assert_allclose(coarse.twin.positions(begin + 2 * 10**9), path[200], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lower": 1.0, "upper": 1.0}, "less than upper"),
        ({"upper": math.nan}, "upper"),
        ({"max_velocity": 0.0}, "max_velocity"),
        ({"id": 254}, "0 to 253"),
        ({"id": -1}, "0 to 253"),
        ({"zero_ticks": 4096}, "0 to 4095"),
        ({"homing_offset": 2048}, "-2047 to 2047"),
        ({"range_ticks": (0, 4096)}, "0 to 4095"),
        ({"range_ticks": (2, 1)}, "the lower end first"),
        ({"stall_torque": 0.0}, "stall_torque"),
    ],
)
def test_joints_that_cannot_be_meant_are_refused(change: dict[str, float], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        replace(JOINTS[0], **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"upper": 3.2}, {"zero_ticks": 500}])
def test_limits_beyond_a_servos_one_turn_are_refused(loop: Loop, change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"shoulder_pan: limits .*expected 0 to 4095"):
        loop.open((replace(JOINTS[0], **change),))  # type: ignore[arg-type]
