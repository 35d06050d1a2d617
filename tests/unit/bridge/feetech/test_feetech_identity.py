"""Who is on the bus: two servos with one id, other protocols and speeds, told by name before power."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive
from wall_edge_bridge.kinds import MotorIdentity
from wall_edge_bridge.kinds.feetech import KIND
from wall_edge_bridge.kinds.feetech.codec import build_status
from wall_edge_bridge.kinds.feetech.registers import STS3215
from wall_edge_bridge.kinds.feetech.scale import LOOK
from wall_edge_bridge.kinds.feetech.twin.motor import SimulatedServo
from wall_edge_bridge.sim import VirtualClock

from tests.drive_cases.feetech import JOINTS
from tests.drive_cases.rig import START
from tests.unit.bridge.feetech.loop import SETTINGS, Loop
from wall_edge.errors import BusTimeout, DriveError


def test_two_servos_with_one_id_are_told_though_their_short_answers_are_the_same() -> None:
    loop = Loop()
    loop.twin.servos[5].set("id", 2)
    drive = loop.open()
    with pytest.raises(DriveError, match=r"shoulder_lift: what answers as id 2 .*two servos with this id"):
        drive.connect()
    assert loop.torque() == [0] * 6
    found = list(KIND.scan(SETTINGS, loop, range(1, 7), clock=loop.clock))
    assert [each.id for each in found] == [1, 2, 3, 4, 6]
    assert "two servos with this id" in found[1].detail
    with pytest.raises(DriveError, match="two servos with this id"):
        KIND.set_id(SETTINGS, loop, 2, 5, clock=loop.clock)
    assert [servo.id for servo in loop.twin.servos.values()] == [1, 2, 3, 4, 2, 6]


def test_a8_a_servo_that_answers_for_another_is_named_before_power() -> None:
    loop = Loop()
    original = SimulatedServo.reply_with

    def lies(servo: SimulatedServo, address: int, count: int) -> Iterator[bytes]:
        for reply in original(servo, address, count):
            data = bytearray(reply[5:-1])
            if servo.id == 4 and address <= 5 < address + count:
                data[5 - address] = 2
            yield build_status(servo.id, 0, bytes(data))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "reply_with", lies)
        with pytest.raises(DriveError, match=r"wrist_flex: the servo that answers as id 4 has id 2"):
            loop.open().connect()


class Deaf(Loop):
    """What is on the wire instead of Feetech servos."""

    def __init__(self, replies: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._replies = replies
        self._waiting = b""

    def send(self, data: bytes, deadline_ns: int) -> None:  # noqa: ARG002
        self._waiting += self._replies(data)

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        data, self._waiting = self._waiting[:at_most], self._waiting[at_most:]
        if not data:
            self.clock.sleep(deadline_ns)
        return data


def connect(replies: Callable[[bytes], bytes]) -> Drive:
    drive = Deaf(replies).open()
    drive.connect()
    return drive


def test_dynamixel_2_0_motors_are_told_by_their_answer_to_a_ping() -> None:
    ping = bytes.fromhex("fffffd00fe0300013142")
    answer = bytes.fromhex("fffffd0001070055000604266" + "55d")

    def replies(data: bytes) -> bytes:
        return answer if data == ping else b""

    with pytest.raises(BusTimeout, match=r"shoulder_pan \(id 1\).*Dynamixel 2.0 motors answer instead"):
        connect(replies)


def test_an_adapter_that_echoes_is_no_motor_of_any_kind() -> None:
    with pytest.raises(BusTimeout, match=r"no answer from .*gripper \(id 6\) on simulated bus; check"):
        connect(lambda data: data)


def test_bytes_that_are_no_packets_point_to_the_baud_rate() -> None:
    with pytest.raises((BusTimeout, DriveError), match=r"baud rate"):
        connect(lambda _: b"\x80\x00\xf8\x00")


def test_the_echo_of_a_lone_servos_request_is_not_its_position() -> None:
    """Lost once: ``read 2 bytes from 56`` echoed is a status with a fault, at tick 568."""
    loop = Loop(JOINTS[:1])
    loop.twin.echo = True
    drive = loop.open(JOINTS[:1])
    drive.connect()
    feedback = loop.cycle(drive)
    np.testing.assert_allclose(feedback.position, START[:1], atol=1e-3)
    assert feedback.faults == ((),)


def test_an_echo_is_never_taken_for_a_reply() -> None:
    loop = Loop()
    loop.twin.echo = True
    with loop.open() as drive:
        drive.check()
        drive.enable()
        for _ in range(10):
            loop.cycle(drive)
    assert drive.counters.timeouts == 0
    loop.twin.silence(2)
    with pytest.raises(BusTimeout, match=r"elbow_flex \(id 3\)"):
        loop.open().connect()


def test_a_scan_reads_only_and_tells_model_firmware_and_voltage() -> None:
    loop = Loop()
    loop.twin.servos[4].set("model", 1234)
    found = list(KIND.scan(SETTINGS, loop, [3, 4], clock=loop.clock))
    assert found == [
        MotorIdentity(3, "feetech", "STS3215", "firmware 3.10, 12.1 V"),
        MotorIdentity(4, "feetech", "1234", "firmware 3.10, 12.1 V"),
    ]
    assert {request.instruction for request in loop.take()} == {0x02}


def test_a_whole_scan_asks_each_silent_id_twice() -> None:
    loop = Loop()
    begin = loop.clock()
    list(KIND.scan(SETTINGS, loop, KIND.ids, clock=loop.clock))
    assert (loop.clock() - begin) / 1e9 < 254 * 2 * 0.022


def test_an_id_is_not_changed_while_the_servo_holds() -> None:
    loop = Loop()
    loop.twin.servos[3].set("torque_enable", 1)
    with pytest.raises(DriveError, match="torque on"):
        KIND.set_id(SETTINGS, loop, 3, 9, clock=loop.clock)
    assert {request.instruction for request in loop.take()} == {0x02}


def test_a_new_id_leaves_the_memory_locked() -> None:
    loop = Loop()
    KIND.set_id(SETTINGS, loop, 3, 9, clock=loop.clock)
    assert (loop.twin.servos[3].id, loop.twin.servos[3].get("lock")) == (9, 1)
    KIND.set_id(SETTINGS, loop, 9, 9, clock=loop.clock)


def test_an_id_that_did_not_change_is_told_and_the_memory_is_locked_again() -> None:
    loop = Loop()
    write = SimulatedServo.write

    def broken(servo: SimulatedServo, address: int, data: bytes) -> None:
        if address != 5:
            write(servo, address, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedServo, "write", broken)
        with pytest.raises(DriveError, match="servo 3 did not become 9"):
            KIND.set_id(SETTINGS, loop, 3, 9, clock=loop.clock)
    assert (loop.twin.servos[3].id, loop.twin.servos[3].get("lock")) == (3, 1)


@pytest.mark.parametrize(("joints", "bytes_"), [(6, 88), (7, 100)])
def test_a_cycles_bytes_make_the_ceiling(joints: int, bytes_: int) -> None:
    assert KIND.cycle_ns(SETTINGS, (JOINTS * 2)[:joints]) == bytes_ * 10_000


def test_a_real_clock_is_the_default() -> None:
    loop = Loop()
    assert isinstance(loop.clock, VirtualClock)
    loop._sleep = None  # it must not wait for a virtual line
    assert [each.id for each in KIND.scan(SETTINGS, loop, range(1, 9))] == [1, 2, 3, 4, 5, 6]


def test_an_answer_late_into_the_question_to_another_servo_is_not_believed() -> None:
    """Lost once: it was the last that this servo had been asked, and ended the program."""
    loop = Loop()
    bus = loop.open()._bus
    loop.twin.replies.drop()
    assert bus.read_one(LOOK, 1, attempts=1) == (None, 0)
    loop.twin.replies.say(build_status(1, 0, bytes(LOOK.width)), loop.clock() + 1_000)
    loop.twin.replies.latency_ns = 2_000
    answer, _ = bus.read_one(LOOK, 2, attempts=1)
    assert answer is not None
    assert answer.value(STS3215["present_temperature"]) > 0
