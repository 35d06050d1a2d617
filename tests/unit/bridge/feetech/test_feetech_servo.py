"""B: the simulated servo against the maker's table and manual; constants copied, not from our own table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from wall_edge_bridge.kinds.feetech import FeetechJoint
from wall_edge_bridge.kinds.feetech.codec import (
    build_packet,
    build_read,
    build_sync_read,
    build_write,
)
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin

from tests.feetech_packets import build_action, build_ping, build_reg_write, parse_status

MS = 1_000_000
FACTORY = {
    # Feetech, "STS3215 memory table" V3.6: address, bytes, initial value
    (2, 1): 0, (3, 2): 777, (5, 1): 1, (6, 1): 0, (7, 1): 0, (8, 1): 1, (9, 2): 0, (11, 2): 4095, (13, 1): 70,
    (15, 1): 40, (16, 2): 1000, (18, 1): 12, (19, 1): 44, (20, 1): 47, (21, 1): 32, (22, 1): 32, (23, 1): 0,
    (24, 2): 16, (26, 1): 1, (27, 1): 1, (28, 2): 500, (30, 1): 1, (31, 2): 0, (33, 1): 0, (34, 1): 20,
    (35, 1): 200, (36, 1): 80, (37, 1): 10, (38, 1): 200, (39, 1): 10, (40, 1): 0, (41, 1): 0, (44, 2): 0,
    (46, 2): 0, (48, 2): 1000, (55, 1): 1, (64, 1): 0, (65, 1): 0, (66, 1): 0,
}  # fmt: skip
READ_ONLY = [*range(5), *range(56, 71)]
JOINTS = [FeetechJoint(f"joint{n}", n, -1.5, 1.5, 6.0) for n in (1, 2)]


class Servo:
    """One servo of a bus, by bytes."""

    def __init__(self, radians: float = 0.0) -> None:
        self.bus, self.now = FeetechTwin(JOINTS, [radians, 0.0]), 0

    def tell(self, request: bytes, baud: int | None = None) -> list[tuple[int, int, bytes]]:
        data = self.bus.handle(request, self.now, baud)
        while self.bus.due_ns is not None:
            self.now = self.bus.due_ns
            data += self.bus.collect(self.now)
        packets, skipped = parse_status(data)
        assert skipped == 0
        return [tuple(packet) for packet in packets]  # type: ignore[misc]

    def write(self, address: int, data: Sequence[int], servo_id: int = 1) -> None:
        assert self.tell(build_write(servo_id, address, bytes(data))) == [(servo_id, 0, b"")]

    def read(self, address: int, count: int, servo_id: int = 1) -> int:
        [(_, _, data)] = self.tell(build_read(servo_id, address, count))
        return int.from_bytes(data, "little")

    def power(self) -> None:
        self.write(40, [1])

    def after(self, ms: float) -> int:
        self.now += round(ms * MS)
        return self.read(56, 2)


@pytest.mark.parametrize(("place", "value"), FACTORY.items())
def test_it_leaves_the_factory_as_the_table_says(place: tuple[int, int], value: int) -> None:
    assert Servo().read(*place) == value


def test_read_only_registers_keep_their_values() -> None:
    servo = Servo(0.3)
    servo.write(55, [0])
    before = [servo.read(address, 1) for address in READ_ONLY]
    for address in READ_ONLY:
        servo.write(address, [before[READ_ONLY.index(address)] ^ 0x55])
    assert [servo.read(address, 1) for address in READ_ONLY] == before


@pytest.mark.parametrize("address", [7, 9, 16, 21, 31, 33, 36])
def test_memory_is_written_only_while_unlocked(address: int) -> None:
    servo = Servo()
    before = servo.read(address, 1)
    servo.write(address, [before ^ 3])
    assert servo.read(address, 1) == before
    servo.write(55, [0])
    servo.write(address, [before ^ 3])
    assert servo.read(address, 1) == before ^ 3


@pytest.mark.parametrize("address", range(80, 87))
def test_factory_parameters_are_kept_locked_or_not(address: int) -> None:
    servo = Servo()
    servo.write(address, [77])
    assert servo.read(address, 1) == 77


@pytest.mark.parametrize("offset", [0, 300, -300, 2047, -2047])
def test_the_homing_offset_shifts_what_is_reported_and_what_is_a_goal(offset: int) -> None:
    servo = Servo()
    servo.write(55, [0])
    servo.write(31, (abs(offset) | (offset < 0) << 11).to_bytes(2, "little"))
    assert servo.read(56, 2) == 2048 - offset
    servo.power()
    goal = min(max(2048 - offset + 100, 0), 4000)
    servo.write(42, goal.to_bytes(2, "little"))
    assert servo.after(2000) == goal
    shaft = (goal + offset - 2048) * math.pi / 2048
    assert servo.bus.positions(servo.now)[0] == pytest.approx(shaft, abs=2e-3)


@pytest.mark.parametrize("radians", [0.0, 1.2, -1.2])
def test_128_makes_this_position_2048(radians: float) -> None:
    servo = Servo(radians)
    servo.write(40, [128])
    turned = round(radians * 2048 / math.pi)
    assert servo.read(56, 2) == 2048
    assert servo.read(31, 2) == abs(turned) | (turned < 0) << 11
    assert servo.read(40, 1) == 0
    np.testing.assert_allclose(servo.bus.positions(servo.now)[0], radians, atol=1e-9)


def test_an_id_change_answers_under_the_old_id_once_and_then_under_the_new() -> None:
    servo = Servo()
    servo.write(5, [9])
    assert servo.tell(build_ping(1)) == [(1, 0, b"")]  # locked
    servo.write(55, [0])
    servo.write(5, [9])
    assert servo.tell(build_ping(1)) == []
    assert servo.tell(build_ping(9)) == [(9, 0, b"")]
    assert servo.tell(build_sync_read(5, 1, [1, 9, 2])) == [(9, 0, b"\x09"), (2, 0, b"\x02")]
    assert servo.tell(build_ping(0xFE)) == [(9, 0, b""), (2, 0, b"")]
    servo.write(5, [254], 9)
    assert servo.tell(build_ping(9)) == [(9, 0, b"")]


@pytest.mark.parametrize(("code", "baud"), [(0, 1_000_000), (1, 500_000), (4, 115_200), (7, 38_400)])
def test_it_hears_its_own_speed_only(code: int, baud: int) -> None:
    servo = Servo()
    servo.write(55, [0])
    servo.write(6, [code])
    assert servo.tell(build_ping(1), baud) == [(1, 0, b"")]
    for other in {1_000_000, 500_000, 115_200, 38_400, 9_600} - {baud}:
        assert servo.tell(build_ping(1), other) == []
    servo.write(6, [8])
    assert servo.read(6, 1) == code


def test_two_servos_with_one_id_talk_over_each_other() -> None:
    servo = Servo(0.5)
    servo.write(55, [0], 2)
    servo.write(5, [1], 2)
    apart = servo.bus.handle(build_read(1, 56, 2), servo.now)
    assert len(apart) == 8
    assert parse_status(apart)[0] == []
    assert parse_status(servo.bus.handle(build_ping(1), servo.now))[0] == [(1, 0, b"")]  # the same bits


def test_a_reboot_is_silent_for_150_ms_and_forgets_what_is_not_in_memory() -> None:
    servo = Servo(0.4)
    servo.write(55, [0])
    servo.write(21, [16])
    servo.write(85, [50])
    servo.power()
    servo.write(41, [9])
    servo.bus.servos[1].reboot(servo.now)
    for _ in range(3):
        assert servo.tell(build_ping(1)) == []
        servo.now += 49 * MS
    servo.now += 4 * MS
    assert [servo.read(address, 1) for address in (40, 41, 55, 21, 85)] == [0, 0, 1, 16, 50]
    assert servo.read(42, 2) == servo.read(56, 2) == round(2048 + 0.4 * 2048 / math.pi)


def test_goal_speed_bounds_the_motion() -> None:
    servo = Servo()
    servo.power()
    servo.write(42, [*(2048 + 1000).to_bytes(2, "little"), 0, 0, *(500).to_bytes(2, "little")])
    assert [servo.after(500) - 2048 for _ in range(3)] == [250, 500, 750]
    assert servo.read(58, 2) == pytest.approx(500, abs=1)
    assert servo.after(3000) == 3048


def test_goal_time_spreads_the_motion() -> None:
    servo = Servo()
    servo.power()
    servo.write(42, [*(2048 + 1000).to_bytes(2, "little"), *(1000).to_bytes(2, "little"), 0, 0])
    assert [servo.after(250) - 2048 for _ in range(3)] == [250, 500, 750]


@pytest.mark.parametrize("limit", [254, 10])
def test_acceleration_shapes_the_motion_up_to_the_maximum_acceleration(limit: int) -> None:
    servo = Servo()
    servo.write(85, [limit])
    servo.write(41, [20])
    servo.power()
    servo.write(42, (4000).to_bytes(2, "little"))
    moved = np.array([servo.after(10) for _ in range(30)]) - 2048
    acceleration = 100 * min(20, limit)
    times = 0.01 * np.arange(1, 31)
    np.testing.assert_allclose(moved, acceleration * times**2 / 2, atol=3 + acceleration * times.max() * 2e-3)
    assert servo.after(5000) == 4000


def test_motion_under_an_acceleration_does_not_depend_on_how_often_it_is_looked_at() -> None:
    coarse, fine = Servo(), Servo()
    for servo in (coarse, fine):
        servo.write(41, [30])
        servo.power()
        servo.write(42, (3000).to_bytes(2, "little"))
    ends = [fine.after(1.7) for _ in range(200)][-1]
    assert coarse.after(340) == ends


def test_limits_mode_and_torque_limit_act() -> None:
    servo = Servo()
    servo.write(55, [0])
    servo.write(11, (2100).to_bytes(2, "little"))
    servo.power()
    servo.write(42, (3000).to_bytes(2, "little"))
    assert servo.after(2000) == 2100
    servo.write(48, [0, 0])
    servo.write(42, (2000).to_bytes(2, "little"))
    assert servo.after(2000) == 2100
    servo.write(48, (1000).to_bytes(2, "little"))
    assert servo.after(2000) == 2000
    servo.write(33, [1])
    servo.write(46, (100 | 1 << 15).to_bytes(2, "little"))
    assert servo.after(1000) == 1900


def test_with_response_level_0_only_ping_and_read_are_answered() -> None:
    servo = Servo()
    servo.write(55, [0])
    servo.write(8, [0])
    assert servo.tell(build_write(1, 41, b"\x05")) == []
    assert servo.read(41, 1) == 5
    assert servo.tell(build_ping(1)) == [(1, 0, b"")]


@pytest.mark.parametrize("delay", [0, 1, 250])
def test_it_answers_after_its_return_delay(delay: int) -> None:
    servo = Servo()
    servo.write(55, [0])
    servo.write(7, [delay])
    begin = servo.now
    servo.tell(build_ping(1))
    assert servo.now - begin == delay * 2000
    servo.tell(build_sync_read(56, 2, [1, 2]))
    assert servo.now - begin == delay * 4000


def test_bytes_take_their_time_on_a_timed_line() -> None:
    bus = FeetechTwin(JOINTS, timed_baudrate=1_000_000)
    assert bus.handle(build_sync_read(56, 2, [1, 2]), 0) == b""
    assert bus.due_ns == 100_000  # ten bytes have arrived at the servos
    assert bus.collect(100_000) == b""
    assert bus.due_ns == 180_000
    assert parse_status(bus.collect(180_000))[0] == [(1, 0, b"\x00\x08")]
    assert parse_status(bus.collect(260_000))[0] == [(2, 0, b"\x00\x08")]
    assert bus.due_ns is None


def test_a_position_is_that_of_the_moment_in_which_the_request_arrives() -> None:
    bus = FeetechTwin(JOINTS, timed_baudrate=1_000_000)
    bus.handle(build_read(1, 56, 2), 0)
    bus.set_positions([0.5, 0.0])
    assert parse_status(bus.collect(MS))[0] == [(1, 0, (2048 + 326).to_bytes(2, "little"))]


@pytest.mark.parametrize(
    ("name", "bit", "register", "sound"),
    [("voltage", 0, "present_voltage", 121), ("overheat", 2, "present_temperature", 40)],
)
def test_a_fault_that_is_measured_goes_with_its_cause_and_the_torque(
    name: str, bit: int, register: str, sound: int
) -> None:
    servo = Servo()
    servo.power()
    servo.bus.set_fault(0, name)
    assert servo.tell(build_ping(1)) == [(1, 1 << bit, b"")]
    assert servo.tell(build_write(1, 40, b"\0")) == [(1, 1 << bit, b"")]
    servo.bus.servos[1].set(register, sound)
    assert servo.tell(build_ping(1)) == [(1, 1 << bit, b"")]
    assert servo.tell(build_write(1, 40, b"\0")) == [(1, 0, b"")]


@pytest.mark.parametrize(("name", "bit"), [("overload", 5), ("overcurrent", 3), ("angle sensor", 1)])
def test_other_faults_stay_until_power_off(name: str, bit: int) -> None:
    servo = Servo()
    servo.bus.set_fault(0, name)
    assert servo.tell(build_write(1, 40, b"\0")) == [(1, 1 << bit, b"")]
    servo.bus.reboot(0, servo.now)
    servo.now += 151 * MS
    assert servo.tell(build_ping(1)) == [(1, 0, b"")]


def test_an_adapter_that_echoes_returns_what_is_sent_first() -> None:
    servo = Servo()
    servo.bus.echo = True
    request = build_read(1, 5, 1)
    assert servo.bus.handle(request, 0) == request + bytes.fromhex("ffff01030001fa")


def test_reg_write_waits_for_its_action() -> None:
    servo = Servo()
    assert servo.tell(build_reg_write(1, 42, b"\x00\x09")) == [(1, 0, b"")]
    assert (servo.read(64, 1), servo.read(42, 2)) == (1, 2048)
    assert servo.tell(build_action()) == []
    assert (servo.read(64, 1), servo.read(42, 2), servo.read(67, 2)) == (0, 0x900, 0x900)


def test_recovery_restores_the_factory_values_and_calibrate_recentres() -> None:
    servo = Servo(0.5)
    servo.write(55, [0])
    servo.write(21, [1])
    assert servo.tell(build_packet(1, 0x0B)) == [(1, 0, b"")]
    assert servo.read(56, 2) == 2048
    assert servo.tell(build_packet(1, 0x06)) == [(1, 0, b"")]
    assert (servo.read(21, 1), servo.read(31, 2), servo.read(5, 1)) == (32, 0, 1)
    assert servo.tell(build_packet(1, 0x0A)) == [(1, 0, b"")]


def test_late_replies_leave_late_and_in_order() -> None:
    servo = Servo()
    servo.bus.replies.latency_ns = 5 * MS
    assert servo.bus.handle(build_ping(1) + build_ping(2), 0) == b""
    assert servo.bus.due_ns == 5 * MS
    servo.bus.replies.latency_ns = 0
    assert servo.bus.handle(build_read(1, 5, 1), 1 * MS) == b""
    packets, _ = parse_status(servo.bus.collect(5 * MS))
    assert packets == [(1, 0, b""), (2, 0, b""), (1, 0, b"\x01")]
    assert servo.bus.due_ns is None
