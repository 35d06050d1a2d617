"""What every drive must do: one suite that each of ``KINDS`` runs over its twin; then Feetech's own bytes."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive, Feedback, FeetechDrive, JointSpec
from wall_edge_bridge.kinds.feetech.protocol import Request, build_status, build_sync_read, build_write
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK
from wall_edge_bridge.sim import SimulatedBus, SimulatedServo, SimulatedServoBus, serving
from wall_edge_bridge.transport import SerialTransport

from tests.feetech_packets import parse_request
from wall_edge.config import DriveConfig
from wall_edge.errors import BusTimeout, ConfigError, DriveError
from wall_edge.runtime.servo.drives import DRIVES
from wall_edge.sim.motors import TWINS

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = tuple(
    JointSpec(
        name,
        id=i + 1,
        lower=-1.5,
        upper=1.0,
        max_velocity=6.0,
        zero_ticks=2048 + 10 * i,
        direction=1 - i % 2 * 2,
    )
    for i, name in enumerate(NAMES)
)
START = np.array([0.1, -0.2, 0.3, -0.4, 0.5, -0.6])
TIMEOUT_S = 0.5
"""Generous, so that a loaded machine fails no test; tests/faults loses replies, with a shorter one."""


def soon() -> int:
    return time.monotonic_ns() + int(TIMEOUT_S * 1e9)


@dataclass(frozen=True)
class Kind:
    """A drive for the contract: ``drive`` opens it at a port; its twin is ``TWINS``'s of the same name."""

    drive: Callable[[str], Drive]
    tolerance: float
    """rad: how finely it reports positions."""
    watchdog: bool = False
    """Whether its motors stop by themselves when nobody commands them."""


KINDS = {
    "feetech": Kind(
        lambda port: FeetechDrive(SerialTransport(port), JOINTS, TIMEOUT_S), RADIANS_PER_TICK / 2 + 1e-9
    ),
}


def test_every_kind_of_drive_has_a_twin_and_keeps_the_contract() -> None:
    kinds = get_args(get_type_hints(DriveConfig)["kind"])
    assert set(KINDS) == set(kinds) == set(DRIVES) == set(TWINS)


@dataclass
class Rig:
    """A connected drive and the twin it is connected to."""

    drive: Drive
    twin: SimulatedBus
    kind: Kind

    @property
    def tolerance(self) -> float:
        return self.kind.tolerance

    def standing(self) -> np.ndarray:
        return self.twin.positions(time.monotonic_ns())

    def hold(self, setpoints: np.ndarray, tolerance: float) -> Feedback:
        """Command until the joints are there, as a servo loop does; the last feedback either way."""
        for _ in range(2000):
            self.drive.write(setpoints, soon())
            feedback = self.drive.read(soon())
            if np.abs(feedback.position - setpoints).max() <= tolerance:
                break
            time.sleep(0.002)
        return feedback


class TestContract:
    @pytest.fixture(params=KINDS)
    def rig(self, request: pytest.FixtureRequest) -> Iterator[Rig]:
        """Joints as in JOINTS, standing at START, torque off."""
        kind, twin = KINDS[request.param], TWINS[request.param](JOINTS, START)
        with serving(twin) as port, kind.drive(port.path) as drive:
            yield Rig(drive, twin, kind)

    def test_feedback_is_position_in_radians_with_the_time_of_arrival(self, rig: Rig) -> None:
        before = time.monotonic_ns()
        feedback = rig.drive.read(soon())
        after = time.monotonic_ns()
        np.testing.assert_allclose(feedback.position, START, atol=rig.tolerance)
        assert feedback.position.shape == feedback.received_ns.shape == (rig.drive.dof,)
        assert feedback.position.dtype == np.float64
        assert feedback.received_ns.dtype == np.int64
        assert before <= feedback.received_ns.min() <= feedback.received_ns.max() == feedback.time_ns <= after
        assert feedback.time_ns - feedback.received_ns.min() < TIMEOUT_S * 1e9
        assert feedback.errors == ((),) * rig.drive.dof

    def test_an_older_feedback_is_not_changed_by_the_next_read(self, rig: Rig) -> None:
        first = rig.drive.read(soon())
        position, received = first.position.copy(), first.received_ns.copy()
        rig.drive.enable()
        rig.hold(np.zeros(6), 2 * rig.tolerance)
        np.testing.assert_array_equal(first.position, position)
        np.testing.assert_array_equal(first.received_ns, received)

    def test_without_enable_nothing_moves(self, rig: Rig) -> None:
        for _ in range(20):
            rig.drive.write(np.zeros(6), soon())
            time.sleep(0.002)
        np.testing.assert_allclose(rig.standing(), START, atol=rig.tolerance)

    def test_enable_holds_where_the_arm_is_even_after_it_was_moved_by_hand(self, rig: Rig) -> None:
        elsewhere = START + 0.3
        rig.twin.set_positions(elsewhere)
        rig.drive.enable()
        time.sleep(0.05)
        np.testing.assert_allclose(rig.standing(), elsewhere, atol=rig.tolerance)

    def test_setpoints_are_reached(self, rig: Rig) -> None:
        rig.drive.enable()
        goal = np.array([-1.5, 1.0, 0.0, 0.9, -0.7, 0.25])
        feedback = rig.hold(goal, 2 * rig.tolerance)
        np.testing.assert_allclose(feedback.position, goal, rtol=0, atol=2 * rig.tolerance)

    def test_disable_lets_go(self, rig: Rig) -> None:
        rig.drive.enable()
        rig.drive.disable()
        rig.drive.read(soon())  # answered only after the twin has handled what came before
        limp = rig.standing()
        rig.drive.write(np.zeros(6), soon())
        rig.drive.read(soon())
        time.sleep(0.02)
        np.testing.assert_array_equal(rig.standing(), limp)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.01, -1.51, 1e9])
    @pytest.mark.parametrize("joint", range(6))
    def test_a_forbidden_setpoint_is_refused_with_joint_value_and_limit(
        self, rig: Rig, joint: int, bad: float
    ) -> None:
        setpoints = START.copy()
        setpoints[joint] = bad
        with pytest.raises(
            DriveError, match=rf"{NAMES[joint]}.* {re.escape(f'{bad:g}')} rad.*-1\.5 to 1 rad"
        ):
            rig.drive.write(setpoints, soon())

    @pytest.mark.parametrize("bad", [[], [0.0] * 5, [0.0] * 7, [[0.0] * 6], 0.0, [[0.0], 1], "six", None])
    def test_anything_but_one_number_a_joint_is_refused(self, rig: Rig, bad: object) -> None:
        with pytest.raises(DriveError):
            rig.drive.write(bad, soon())  # type: ignore[arg-type]

    def test_a_deadline_in_the_past_is_a_timeout(self, rig: Rig) -> None:
        with pytest.raises(BusTimeout):
            rig.drive.read(time.monotonic_ns() - 1)
        rig.drive.read(soon())

    def test_counters_count_cycles_and_a_sound_bus_has_no_errors(self, rig: Rig) -> None:
        before = rig.drive.counters.cycles
        for _ in range(10):
            rig.drive.read(soon())
        assert rig.drive.counters.cycles == before + 10
        assert rig.drive.counters.errors == 0

    def test_there_is_no_watchdog_to_arm_unless_the_motors_have_one(self, rig: Rig) -> None:
        assert rig.drive.arm_watchdog(0.1) is rig.kind.watchdog

    def test_ticks_are_of_each_joint_or_none(self, rig: Rig) -> None:
        ticks = rig.drive.ticks(np.where(np.arange(6) == 2, math.nan, START))
        assert ticks[2] is None
        assert len(ticks) == 6

    def test_close_may_be_called_twice(self, rig: Rig) -> None:
        rig.drive.close()
        rig.drive.close()


class LoopTransport:
    """The twin without a wire: time is a number that tests set, and what was sent is kept."""

    description = "loop"

    def __init__(self, twin: SimulatedServoBus) -> None:
        self.twin, self.sent, self.now_ns, self._input = twin, b"", 0, b""
        self.received = 0

    def send(self, data: bytes, deadline_ns: int) -> None:  # noqa: ARG002
        self.sent += data
        self._input += self.twin.handle(data, self.now_ns)

    def receive(self, at_most: int, deadline_ns: int) -> bytes:  # noqa: ARG002
        self._input += self.twin.collect(self.now_ns)
        data, self._input = self._input[:at_most], self._input[at_most:]
        self.received += len(data)
        return data

    def close(self) -> None: ...

    def take(self) -> list[Request]:
        """The requests sent since the last call."""
        requests, skipped = parse_request(self.sent)
        assert skipped == 0
        self.sent = b""
        return requests


@pytest.fixture
def loop() -> LoopTransport:
    return LoopTransport(SimulatedServoBus(JOINTS, START))


@pytest.fixture
def drive(loop: LoopTransport) -> FeetechDrive:
    drive = FeetechDrive(loop, JOINTS)
    drive.connect()
    loop.take()
    return drive


def test_a_cycle_is_one_sync_write_and_one_sync_read(drive: FeetechDrive, loop: LoopTransport) -> None:
    drive.write(np.zeros(6), soon())
    drive.read(soon())
    goals = b"".join(bytes((j.id,)) + j.zero_ticks.to_bytes(2, "little") for j in JOINTS)
    assert loop.take() == [
        Request(0xFE, 0x83, b"\x2a\x02" + goals),
        Request(0xFE, 0x82, b"\x38\x02" + bytes(range(1, 7))),
    ]


def test_enable_sends_the_goal_before_the_torque(drive: FeetechDrive, loop: LoopTransport) -> None:
    drive.enable()
    sent = [(request.instruction, request.params[0]) for request in loop.take()]
    assert sent == [(0x82, 56), (0x83, 42), (0x83, 40), (0x82, 40)]


def test_a7_connecting_and_looking_change_no_register(loop: LoopTransport) -> None:
    for servo, torque in zip(loop.twin.servos.values(), (0, 1, 0, 1, 1, 0), strict=True):
        servo.set("torque_enable", torque)
    before = [bytes(servo._memory[:56]) for servo in loop.twin.servos.values()]
    drive = FeetechDrive(loop, JOINTS)
    drive.connect()
    drive.check()
    drive.read(soon())
    drive.close()
    assert {request.instruction for request in loop.take()} == {0x02, 0x82}
    assert [bytes(servo._memory[:56]) for servo in loop.twin.servos.values()] == before


def test_a7_a_refused_enable_leaves_the_torque_as_it_was_found(loop: LoopTransport) -> None:
    loop.twin.servos[2].set("torque_enable", 1)  # held since an earlier crash
    drive = FeetechDrive(loop, JOINTS)
    drive.connect()
    drive.check()
    write = SimulatedServo.write

    def broken(servo: SimulatedServo, address: int, data: bytes) -> None:
        if servo.id != 5 or address != 40:
            write(servo, address, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "write", broken)
        with pytest.raises(DriveError, match=r"wrist_roll \(id 5\) still has its torque off"):
            drive.enable()
    assert [servo.get("torque_enable") for servo in loop.twin.servos.values()] == [0, 1, 0, 0, 0, 0]


def test_a3_an_arm_under_torque_is_asked_for_it_every_20_ms(loop: LoopTransport) -> None:
    """88 bytes a cycle, and 184 every fifth at 250 Hz: 0.88 and 1.84 of 4 ms at 1 Mbaud."""
    loop.twin.latency_ns = 0
    drive = FeetechDrive(loop, JOINTS, clock=lambda: loop.now_ns)
    drive.connect()
    drive.enable()
    sizes = []
    for _ in range(50):
        loop.now_ns += 4_000_000
        loop.sent, loop.received = b"", 0
        drive.write(START, loop.now_ns + 10**9)
        drive.read(loop.now_ns + 10**9)
        sizes.append(len(loop.sent) + loop.received)
    assert sorted(set(sizes)) == [88, 184]
    assert sizes.count(184) == 10


@pytest.mark.parametrize("how", ["lost", "reboot", "foreign"])
def test_a3_lost_torque_is_told_by_name_within_20_ms_and_a_cycle(loop: LoopTransport, how: str) -> None:
    drive = FeetechDrive(loop, JOINTS, clock=lambda: loop.now_ns)
    drive.enable()
    for _ in range(12):
        loop.now_ns += 4_000_000
        assert drive.read(loop.now_ns + 10**9).limp == ()
    servo = loop.twin.servos[3]
    if how == "lost":
        servo.set("torque_enable", 0)
    elif how == "reboot":
        servo.reboot(loop.now_ns)
        loop.now_ns += 151_000_000
    else:
        loop.twin.intrude(build_write(3, 40, b"\0"), loop.now_ns)
    since, limp = loop.now_ns, ()
    while not limp:
        loop.now_ns += 4_000_000
        limp = drive.read(loop.now_ns + 10**9).limp
        assert loop.now_ns - since <= 24_000_000
    assert limp == ("elbow_flex",)
    drive.disable()
    assert drive.read(loop.now_ns + 10**9).limp == ()


@pytest.mark.parametrize(
    ("register", "value", "named"),
    [
        (
            "min_angle",
            1500,
            r"elbow_flex \(id 3\): min_angle \(register 9\) is 1500 tick; .* at most 1090",
        ),
        ("max_angle", 2500, r"elbow_flex \(id 3\): max_angle \(register 11\) is 2500 tick; .* at least 2720"),
        ("operating_mode", 1, r"operating_mode \(register 33\) is 1; expected 0"),
        ("angular_resolution", 2, r"angular_resolution \(register 30\) is 2; expected 1"),
        ("max_torque", 0, r"max_torque \(register 16\) is 0"),
        ("torque_limit", 0, r"torque_limit \(register 48\) is 0"),
        ("homing_offset", -7, r"homing_offset \(register 31\) is -7 tick; expected 100 as in ROBOT.yaml"),
    ],
)
def test_a3_a_servos_own_settings_must_agree_with_the_joint(
    loop: LoopTransport, register: str, value: int, named: str
) -> None:
    """Two tenths of a tick of a limit are rounding; nothing is written, whatever is found."""
    loop.twin.servos[3].set("homing_offset", 100)
    joints = [replace(joint, homing_offset=100 if joint.id == 3 else None) for joint in JOINTS]
    drive = FeetechDrive(loop, joints)
    drive.check()
    loop.twin.servos[3].set(register, value)
    with pytest.raises(DriveError, match=named) as caught:
        drive.check()
    assert "\n" not in str(caught.value)
    assert {request.instruction for request in loop.take()} == {0x82}


def test_a3_limits_that_just_suffice_and_multi_turn_are_accepted(loop: LoopTransport) -> None:
    for joint, servo in zip(JOINTS, loop.twin.servos.values(), strict=True):
        ends = [round(joint.zero_ticks + joint.direction * end * 2048 / math.pi) for end in (-1.5, 1.0)]
        servo.set("min_angle", min(ends))
        servo.set("max_angle", max(ends))
    FeetechDrive(loop, JOINTS).check()
    for servo in loop.twin.servos.values():
        servo.set("min_angle", 0)
        servo.set("max_angle", 0)
    FeetechDrive(loop, JOINTS).check()


def test_a8_a_servo_that_answers_for_another_is_named_before_power(loop: LoopTransport) -> None:
    original = SimulatedServo.reply_with

    def lies(servo: SimulatedServo, address: int, count: int) -> Iterator[bytes]:
        if (servo.id, address) == (4, 5):
            yield build_status(4, 0, b"\x02" + bytes(count - 1))
        else:
            yield from original(servo, address, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "reply_with", lies)
        with pytest.raises(DriveError, match=r"wrist_flex: the servo that answers as id 4 has id 2"):
            FeetechDrive(loop, JOINTS).connect()


@pytest.mark.parametrize("cycles", [*range(1, 13), 25, 60])
def test_a9_replies_late_by_whole_cycles_from_a_moment_on_are_never_believed(
    loop: LoopTransport, cycles: int
) -> None:
    drive = FeetechDrive(loop, JOINTS, clock=lambda: loop.now_ns)
    drive.enable()
    for _ in range(10):
        loop.now_ns += 4_000_000
        before = drive.read(loop.now_ns + 10**9)
    loop.twin.latency_ns = cycles * 4_000_000
    for _ in range(3 * cycles + 30):
        loop.now_ns += 4_000_000
        loop.twin.set_positions(START + loop.now_ns * 1e-9)
        with pytest.raises(BusTimeout):
            drive.read(loop.now_ns + 10**9)
    assert drive.counters.late > 0
    loop.twin.latency_ns = 0
    for _ in range(4 * cycles + 30):
        loop.now_ns += 4_000_000
        with suppress(BusTimeout):
            after = drive.read(loop.now_ns + 10**9)
    np.testing.assert_array_equal(after.received_ns, loop.now_ns)
    assert before.time_ns < after.time_ns
    assert drive.counters.foreign == 0


def test_a3_replies_that_nobody_asked_for_are_counted_as_foreign(loop: LoopTransport) -> None:
    drive = FeetechDrive(loop, JOINTS)
    drive.connect()
    loop.twin.intrude(build_sync_read(56, 2, range(1, 7)), 0)
    np.testing.assert_allclose(drive.read(soon()).position, START, atol=1e-3)
    assert (drive.counters.foreign, drive.counters.late) == (6, 0)


def goal_ticks(requests: list[Request]) -> list[int]:
    [request] = requests
    assert (request.instruction, request.params[:2]) == (0x83, b"\x2a\x02")
    return [int.from_bytes(request.params[i : i + 2], "little") for i in range(3, len(request.params), 3)]


# Dense around the limits: in ticks beyond (+) or inside (-) of each.
ALLOWED = (-1000.0, -1.0, -0.5, -0.01, 0.0, 0.01, 0.25, 0.499)
REFUSED = (0.501, 0.75, 1.0, 2.0, 100.0, 1e6, math.inf)


@pytest.mark.parametrize("joint", range(6))
@pytest.mark.parametrize("side", ["lower", "upper"])
def test_the_last_gate_is_half_a_tick_wide(
    drive: FeetechDrive, loop: LoopTransport, joint: int, side: str
) -> None:
    limit, outward = (1.0, 1) if side == "upper" else (-1.5, -1)
    spec = JOINTS[joint]
    for beyond in (*ALLOWED, *REFUSED):
        setpoints = np.zeros(6)
        setpoints[joint] = limit + outward * beyond * RADIANS_PER_TICK
        if beyond in REFUSED:
            with pytest.raises(DriveError, match=spec.name):
                drive.write(setpoints, soon())
            assert loop.sent == b""
        else:
            drive.write(setpoints, soon())
            wanted = limit + outward * min(beyond, 0.0) * RADIANS_PER_TICK
            ticks = goal_ticks(loop.take())
            assert ticks[joint] == round(spec.zero_ticks + spec.direction * wanted / RADIANS_PER_TICK)
            assert all(ticks[i] == JOINTS[i].zero_ticks for i in range(6) if i != joint)


def test_one_forbidden_joint_stops_the_whole_command(drive: FeetechDrive, loop: LoopTransport) -> None:
    for joint in range(6):
        setpoints = np.zeros(6)
        setpoints[joint] = math.nan
        with pytest.raises(DriveError):
            drive.write(setpoints, soon())
    assert loop.sent == b""


@pytest.mark.parametrize("elbow", [1.2, 1.06, -1.56, -1.8])
def test_an_arm_beyond_its_limits_is_not_enabled(
    drive: FeetechDrive, loop: LoopTransport, elbow: float
) -> None:
    position = START.copy()
    position[2] = elbow
    loop.twin.set_positions(position)
    with pytest.raises(DriveError, match=r"elbow_flex: position .*-1.5 to 1 rad"):
        drive.enable()
    assert not any(servo.get("torque_enable") for servo in loop.twin.servos.values())


def test_a_joint_that_sagged_a_little_is_enabled_where_it_is(
    drive: FeetechDrive, loop: LoopTransport
) -> None:
    loop.twin.set_positions(np.full(6, 1.03))
    with pytest.raises(DriveError, match=r"position .*-1.5 to 1 rad"):
        drive.enable()
    drive = FeetechDrive(loop, JOINTS, start_slack_rad=0.05)
    drive.enable()
    loop.now_ns += 10**9
    np.testing.assert_allclose(drive.read(soon()).position, 1.03, atol=RADIANS_PER_TICK)


def test_the_twin_closes_sixty_percent_in_a_thirtieth_of_a_second(
    drive: FeetechDrive, loop: LoopTransport
) -> None:
    loop.twin.set_positions(np.zeros(6))
    drive.enable()
    drive.write(np.full(6, 0.2), soon())
    np.testing.assert_allclose(loop.twin.positions(round(1e9 / 30)), 0.12, atol=RADIANS_PER_TICK)
    np.testing.assert_allclose(loop.twin.positions(10**10), 0.2, atol=RADIANS_PER_TICK)


def test_the_twin_is_no_faster_than_its_motors_and_does_not_care_how_often_it_is_asked() -> None:
    coarse, fine = (SimulatedServoBus(JOINTS, np.full(6, -1.5), max_speed=2.0) for _ in range(2))
    for twin in (coarse, fine):
        loop = LoopTransport(twin)
        drive = FeetechDrive(loop, JOINTS)
        drive.enable()
        drive.write(np.full(6, 1.0), soon())
    path = np.array([fine.positions(step * 10**7) for step in range(201)])
    assert np.abs(np.diff(path, axis=0)).max() <= 2.0 * 0.01 + 1e-9
    np.testing.assert_allclose(path[50], -0.5, atol=2e-3)
    np.testing.assert_allclose(coarse.positions(2 * 10**9), path[200], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lower": 1.0, "upper": 1.0}, "limits"),
        ({"upper": math.nan}, "limits"),
        ({"direction": 0}, "direction"),
        ({"max_velocity": 0.0}, "max_velocity"),
        ({"id": 254}, "254"),
        ({"upper": 3.2}, "0 to 4095"),
        ({"zero_ticks": 500}, "0 to 4095"),
        ({"id": 2}, "ids"),
        ({"name": "gripper"}, "names"),
    ],
)
def test_joints_that_cannot_be_are_refused(loop: LoopTransport, change: dict[str, float], named: str) -> None:
    values = {"name": "j", "id": 1, "lower": -1.5, "upper": 1.0, "max_velocity": 6.0} | change
    other = JointSpec("gripper", 2, -1.0, 1.0, 6.0)
    with pytest.raises(ConfigError, match=named):
        FeetechDrive(loop, [JointSpec(**values), other])  # type: ignore[arg-type]


@pytest.mark.parametrize("outward", [1, -1])
def test_slack_is_sent_as_the_limit_not_rounded_past_it(loop: LoopTransport, outward: int) -> None:
    limit = 100.3 * RADIANS_PER_TICK  # the limit rounds to tick 100; 0.4 ticks more would round to 101
    drive = FeetechDrive(loop, [JointSpec("j", 1, -limit, limit, 6.0)])
    drive.write([outward * (limit + 0.4 * RADIANS_PER_TICK)], soon())
    assert goal_ticks(loop.take()) == [2048 + outward * 100]


def test_after_the_deadline_nothing_is_asked(drive: FeetechDrive, loop: LoopTransport) -> None:
    with pytest.raises(BusTimeout):
        drive.read(time.monotonic_ns() - 1)
    assert loop.sent == b""
