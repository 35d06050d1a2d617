"""What goes wrong on a Feetech bus, over a real pseudo-terminal: each loss is reported, none is hidden."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wall_edge_bridge.drives import FeetechDrive, JointSpec
from wall_edge_bridge.kinds.feetech.codec import build_status, build_write
from wall_edge_bridge.sim import PtyPort, SimulatedServoBus, serving
from wall_edge_bridge.transport import SerialTransport

from tests.feetech_packets import parse_status
from wall_edge.errors import BusError, BusTimeout, DriveError

NAMES = ("pan", "lift", "elbow", "wrist", "roll", "gripper")
JOINTS = tuple(JointSpec(name, i + 1, -1.5, 1.5, 6.0) for i, name in enumerate(NAMES))
START = np.linspace(-0.5, 0.5, 6)
TIMEOUT_S = 0.1


def soon() -> int:
    return time.monotonic_ns() + 2 * 10**9


@pytest.fixture
def twin() -> SimulatedServoBus:
    return SimulatedServoBus(JOINTS, START)


@pytest.fixture
def port(twin: SimulatedServoBus) -> Iterator[PtyPort]:
    with serving(twin) as port:
        yield port


@pytest.fixture
def drive(port: PtyPort) -> Iterator[FeetechDrive]:
    with FeetechDrive(SerialTransport(port.path), JOINTS, TIMEOUT_S) as drive:
        yield drive


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_a_dropped_reply_keeps_the_old_position_and_ages(
    drive: FeetechDrive, twin: SimulatedServoBus, nth: int
) -> None:
    first = drive.read(soon())
    twin.set_positions(START + 0.2)
    twin.drop_reply(nth)
    second = drive.read(soon())
    lost = np.arange(6) == nth - 1
    np.testing.assert_array_equal(second.position[lost], first.position[lost])
    np.testing.assert_allclose(second.position[~lost], (START + 0.2)[~lost], atol=1e-3)
    np.testing.assert_array_equal(second.received_ns == first.received_ns, lost)
    assert (second.received_ns[lost] < second.time_ns).all()
    assert (drive.counters.timeouts, drive.counters.checksum_errors) == (1, 0)
    np.testing.assert_allclose(drive.read(soon()).position, START + 0.2, atol=1e-3)
    assert drive.counters.errors == 1


@pytest.mark.parametrize("byte", range(8))
def test_a_damaged_reply_costs_that_joint_only(
    drive: FeetechDrive, twin: SimulatedServoBus, byte: int
) -> None:
    first = drive.read(soon())
    twin.set_positions(START + 0.2)
    twin.corrupt_reply(2, byte)
    second = drive.read(soon())
    lost = np.arange(6) == 1
    np.testing.assert_array_equal(second.received_ns == first.received_ns, lost)
    np.testing.assert_array_equal(second.position[lost], first.position[lost])
    np.testing.assert_allclose(second.position[~lost], (START + 0.2)[~lost], atol=1e-3)
    assert (drive.counters.timeouts, drive.counters.resyncs) == (1, 1)
    assert drive.counters.skipped_bytes == 8
    if byte >= 4:  # before that it does not look like a packet at all
        assert drive.counters.checksum_errors == 1


def test_a_servo_that_falls_silent_grows_old_while_the_others_stay_fresh(
    drive: FeetechDrive, twin: SimulatedServoBus
) -> None:
    twin.silence(4)
    reads = [drive.read(soon()) for _ in range(3)]
    ages = [feedback.time_ns - feedback.received_ns for feedback in reads]
    assert ages[0][3] < ages[1][3] < ages[2][3]
    assert all(age[3] == age.max() for age in ages)
    assert drive.counters.timeouts == 3
    twin.silence(4, False)
    assert drive.read(soon()).received_ns.min() > 0


def test_when_no_servo_answers_the_read_fails_by_name(drive: FeetechDrive, twin: SimulatedServoBus) -> None:
    for joint in JOINTS:
        twin.silence(joint.id)
    with pytest.raises(
        BusTimeout, match=r"pan \(id 1\).*gripper \(id 6\).* at 1000000 baud; check"
    ) as caught:
        drive.read(soon())
    assert "\n" not in str(caught.value)


def test_connect_names_the_missing_servo(port: PtyPort, twin: SimulatedServoBus) -> None:
    twin.silence(3)
    drive = FeetechDrive(SerialTransport(port.path), JOINTS, TIMEOUT_S)
    with pytest.raises(BusTimeout, match=r"elbow \(id 3\) on .* at 1000000 baud; check") as caught:
        drive.connect()
    assert "pan" not in str(caught.value)
    drive.close()


def test_a_failed_connect_releases_the_port(port: PtyPort, twin: SimulatedServoBus) -> None:
    twin.silence(3)
    with pytest.raises(BusTimeout), FeetechDrive(SerialTransport(port.path), JOINTS, TIMEOUT_S):
        pass
    twin.silence(3, False)
    with FeetechDrive(SerialTransport(port.path), JOINTS, TIMEOUT_S) as drive:
        drive.read(soon())


def test_connect_and_enable_forgive_single_losses(port: PtyPort, twin: SimulatedServoBus) -> None:
    twin.drop_reply(2)
    with FeetechDrive(SerialTransport(port.path), JOINTS, TIMEOUT_S) as drive:
        twin.corrupt_reply(5)
        drive.enable()
        assert drive.counters.timeouts == 2
    assert all(servo.get("torque_enable") for servo in twin.servos.values())


def test_a_fault_bit_reaches_the_feedback_and_forbids_enable(
    drive: FeetechDrive, twin: SimulatedServoBus
) -> None:
    twin.set_error(2, 0b0010_0100)
    assert drive.read(soon()).errors == ((), ("overheat", "overload"), (), (), (), ())
    with pytest.raises(DriveError, match=r"lift \(id 2\) reports overheat, overload"):
        drive.enable()
    assert not any(servo.get("torque_enable") for servo in twin.servos.values())
    twin.set_error(2, 0)
    assert drive.read(soon()).errors == ((),) * 6
    drive.enable()


def test_a_fault_stays_reported_while_the_servo_is_silent(
    drive: FeetechDrive, twin: SimulatedServoBus
) -> None:
    twin.set_error(2, 1)
    drive.read(soon())
    twin.silence(2)
    assert drive.read(soon()).errors[1] == ("voltage",)


def test_a_late_reply_is_not_taken_for_a_fresh_one(drive: FeetechDrive, port: PtyPort) -> None:
    port.write(b"".join(build_status(joint.id, 0, b"\x00\x00") for joint in JOINTS))
    wait_for_input(drive)
    np.testing.assert_allclose(drive.read(soon()).position, START, atol=1e-3)
    assert drive.counters.stale_bytes == 48


def wait_for_input(drive: FeetechDrive) -> None:
    """Until the terminal has handed the bytes over; the drive itself must not see them yet."""
    transport = drive._bus.transport
    assert isinstance(transport, SerialTransport)
    assert select.select([transport._fd], [], [], 5)[0]
    time.sleep(0.02)


def test_unplugging_in_mid_run_is_a_bus_error_and_not_a_timeout(drive: FeetechDrive, port: PtyPort) -> None:
    drive.read(soon())
    port.close()
    for access in (lambda: drive.read(soon()), lambda: drive.write(START, soon()), drive.disable):
        with pytest.raises(BusError, match=r"vanished.*USB cable") as caught:
            access()
        assert not isinstance(caught.value, BusTimeout)


def test_unplugging_while_waiting_for_an_answer_ends_the_wait() -> None:
    with PtyPort() as port:
        transport = SerialTransport(port.path)
        threading.Timer(0.05, port.close).start()
        with pytest.raises(BusError, match="vanished"):
            transport.receive(64, time.monotonic_ns() + 20 * 10**9)
        transport.close()


def test_a_closed_transport_says_so(port: PtyPort) -> None:
    transport = SerialTransport(port.path)
    transport.close()
    for access in (
        lambda: transport.send(b"x", soon()),
        lambda: transport.receive(1, soon()),
    ):
        with pytest.raises(BusError, match="is closed"):
            access()


def test_a_port_that_takes_no_bytes_is_a_timeout() -> None:
    with PtyPort() as port:  # nobody reads the other end
        transport = SerialTransport(port.path)
        with pytest.raises(BusTimeout, match=r"takes no bytes, \d+ were left"):
            transport.send(bytes(1 << 20), time.monotonic_ns() + 50_000_000)
        transport.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/ttyWALLEDGE0", "does not exist.*plug the adapter in"),
        ("/dev/null", "cannot be opened at 1000000 baud"),
    ],
)
def test_a_port_that_cannot_be_opened_is_one_line_with_the_fix(path: str, reason: str) -> None:
    with pytest.raises(BusError, match=f"serial port {path} {reason}") as caught:
        SerialTransport(path)
    assert "present: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_port_without_permission_names_the_group(port: PtyPort) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open everything")
    os.chmod(port.path, 0)  # noqa: PTH101
    with pytest.raises(BusError, match="dialout"):
        SerialTransport(port.path)


def test_a_port_in_use_is_not_shared(port: PtyPort) -> None:
    transport = SerialTransport(port.path)
    with pytest.raises(BusError, match=r"is in use.*fuser"):
        SerialTransport(port.path)
    transport.close()
    SerialTransport(port.path).close()


def test_a3_nobody_else_may_open_our_port(port: PtyPort) -> None:
    transport = SerialTransport(port.path)
    assert exclusive(port)
    if os.geteuid() == 0:  # root may open everything: ask as somebody else
        assert opened_as_nobody(port) == errno.EBUSY
    transport.close()
    assert not exclusive(port)
    assert opened_as_nobody(port) == 0


def test_a3_a_killed_holder_does_not_keep_the_port_from_others(port: PtyPort) -> None:
    """What a real port does by itself, and the release of an arm after a crash needs."""
    left = os.fork()
    if not left:
        SerialTransport(port.path)  # exclusive, and never closed
        os._exit(0)
    os.waitpid(left, 0)
    deadline = time.monotonic() + 5
    while exclusive(port):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def exclusive(port: PtyPort) -> bool:
    """By the driver's own word (TIOCGEXCL)."""
    return any(fcntl.ioctl(port._client_end, 0x80045440, bytes(4)))


def opened_as_nobody(port: PtyPort) -> int:
    """errno of an ordinary open, by a program that asks for no lock; 0 when it succeeds."""
    os.chmod(port.path, 0o666)  # noqa: PTH101
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            os.open(port.path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a6_a_port_that_vanished_and_came_back_is_opened_by_its_name(tmp_path: Path) -> None:
    name, twin = tmp_path / "ttyUSB0", SimulatedServoBus(JOINTS, START)
    with serving(twin) as first:
        name.symlink_to(first.path)
        drive = FeetechDrive(SerialTransport(str(name)), JOINTS, TIMEOUT_S)
        drive.connect()
        drive.enable()
        first.close()
        with pytest.raises(BusError, match="vanished"):
            drive.disable()
        drive.close()
        drive.close()
    name.unlink()
    with pytest.raises(BusError, match="does not exist"):
        SerialTransport(str(name))
    with serving(twin) as second:
        name.symlink_to(second.path)
        again = FeetechDrive(SerialTransport(str(name)), JOINTS, TIMEOUT_S)
        again.disable()
        again.close()
    assert not any(servo.get("torque_enable") for servo in twin.servos.values())


def test_the_twin_hears_a_client_at_its_own_speed_only(twin: SimulatedServoBus, port: PtyPort) -> None:
    for servo in twin.servos.values():
        servo.set("baud_code", 1)
    for baud, found in ((1_000_000, False), (500_000, True)):
        drive = FeetechDrive(SerialTransport(port.path, baud), JOINTS, TIMEOUT_S)
        if found:
            drive.connect()
        else:
            with pytest.raises(BusTimeout, match="uses this baud rate"):
                drive.connect()
        drive.close()


def test_the_twin_ignores_noise_and_damaged_requests_as_a_servo_does(twin: SimulatedServoBus) -> None:
    damaged = bytearray(build_write(1, 40, b"\x01"))
    damaged[-1] ^= 1
    assert twin.handle(b"\x00\xff" + bytes(damaged), 0) == b""
    assert twin.servos[1].get("torque_enable") == 0
    assert parse_status(twin.handle(build_write(1, 40, b"\x01"), 0))[0] == [(1, 0, b"")]
    assert twin.servos[1].get("torque_enable") == 1
