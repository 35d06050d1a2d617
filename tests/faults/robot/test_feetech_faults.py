"""What goes wrong on a Feetech bus, over a real pseudo-terminal: each loss is reported, none is hidden."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from wall_edge_bridge.drives import Fault, Reaction, Setpoints
from wall_edge_bridge.kinds.feetech import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.codec import build_status, build_write
from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import PtyPort, serving_port
from wall_edge_bridge.transport import SerialTransport

from tests.feetech_packets import parse_status
from wall_edge.errors import BusError, BusTimeout

NAMES = ("pan", "lift", "elbow", "wrist", "roll", "gripper")
JOINTS = tuple(FeetechJoint(name, i + 1, -1.5, 1.5, 6.0) for i, name in enumerate(NAMES))
START = np.linspace(-0.5, 0.5, 6)
SETTINGS = FeetechSettings(timeout_ms=1000)
"""What is asked outside of cycles is asked three times: a busy machine may stall for two seconds."""


def soon() -> int:
    return time.monotonic_ns() + 25 * 10**8


def open_drive(port: str, baud: int = 1_000_000, settings: FeetechSettings = SETTINGS) -> FeetechDrive:
    return FeetechDrive(settings, JOINTS, SerialTransport(port, baud))


@pytest.fixture
def twin() -> FeetechTwin:
    return FeetechTwin(JOINTS, START)


@pytest.fixture
def port(twin: FeetechTwin) -> Iterator[PtyPort]:
    with serving_port(twin) as port:
        yield port


@pytest.fixture
def drive(port: PtyPort) -> Iterator[FeetechDrive]:
    with open_drive(port.path) as drive:
        yield drive


def flipped(reply: bytes, byte: int) -> bytes:
    """With all bits of one byte the other way."""
    damaged = bytearray(reply)
    damaged[byte] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_a_dropped_reply_keeps_the_old_position_and_ages(
    drive: FeetechDrive, twin: FeetechTwin, nth: int
) -> None:
    first = drive.cycle(None, soon())
    twin.set_positions(START + 0.2)
    twin.replies.drop(nth)
    second = drive.cycle(None, soon())
    lost = np.arange(6) == nth - 1
    np.testing.assert_array_equal(second.position[lost], first.position[lost])
    np.testing.assert_allclose(second.position[~lost], (START + 0.2)[~lost], atol=1e-3)
    np.testing.assert_array_equal(second.received_ns == first.received_ns, lost)
    assert (second.received_ns[lost] < second.time_ns).all()
    assert (drive.counters.timeouts, drive.counters.checksum_errors) == (1, 0)
    np.testing.assert_allclose(drive.cycle(None, soon()).position, START + 0.2, atol=1e-3)
    assert drive.counters.errors == 1


@pytest.mark.parametrize("byte", range(8))
def test_a_damaged_reply_costs_that_joint_only(drive: FeetechDrive, twin: FeetechTwin, byte: int) -> None:
    first = drive.cycle(None, soon())
    twin.set_positions(START + 0.2)
    twin.replies.change(lambda reply: flipped(reply, byte), 2)
    second = drive.cycle(None, soon())
    lost = np.arange(6) == 1
    np.testing.assert_array_equal(second.received_ns == first.received_ns, lost)
    np.testing.assert_array_equal(second.position[lost], first.position[lost])
    np.testing.assert_allclose(second.position[~lost], (START + 0.2)[~lost], atol=1e-3)
    assert (drive.counters.timeouts, drive.counters.resyncs) == (1, 1)
    assert drive.counters.skipped_bytes == 8
    if byte >= 4:  # before that it does not look like a packet at all
        assert drive.counters.checksum_errors == 1


def test_a_servo_that_falls_silent_grows_old_while_the_others_stay_fresh(
    drive: FeetechDrive, twin: FeetechTwin
) -> None:
    twin.silence(3)
    reads = [drive.cycle(None, soon()) for _ in range(3)]
    ages = [feedback.time_ns - feedback.received_ns for feedback in reads]
    assert ages[0][3] < ages[1][3] < ages[2][3]
    assert all(age[3] == age.max() for age in ages)
    assert drive.counters.timeouts == 3
    twin.silence(3, False)
    assert drive.cycle(None, soon()).received_ns.min() > 0


def test_when_no_servo_answers_the_read_fails_by_name(drive: FeetechDrive, twin: FeetechTwin) -> None:
    for joint in JOINTS:
        twin.silence(joint.id - 1)
    with pytest.raises(
        BusTimeout, match=r"pan \(id 1\).*gripper \(id 6\).* at 1000000 baud; check"
    ) as caught:
        drive.cycle(None, soon())
    assert "\n" not in str(caught.value)


def test_connect_names_the_missing_servo(port: PtyPort, twin: FeetechTwin) -> None:
    twin.silence(2)
    drive = open_drive(port.path)
    with pytest.raises(BusTimeout, match=r"elbow \(id 3\) on .* at 1000000 baud; check") as caught:
        drive.connect()
    assert "pan" not in str(caught.value)
    drive.close()


def test_a_failed_connect_releases_the_port(port: PtyPort, twin: FeetechTwin) -> None:
    twin.silence(2)
    with pytest.raises(BusTimeout), open_drive(port.path):
        pass
    twin.silence(2, False)
    with open_drive(port.path) as drive:
        drive.cycle(None, soon())


def test_connect_and_enable_forgive_single_losses(port: PtyPort, twin: FeetechTwin) -> None:
    twin.replies.drop(2)
    with open_drive(port.path) as drive:
        twin.replies.change(lambda reply: flipped(reply, -1), 5)
        drive.enable()
        assert drive.counters.timeouts == 2
    assert all(servo.get("torque_enable") for servo in twin.servos.values())


def test_a_fault_stays_reported_while_the_servo_is_silent(drive: FeetechDrive, twin: FeetechTwin) -> None:
    twin.set_fault(1, "voltage")
    drive.cycle(None, soon())
    twin.silence(1)
    assert drive.cycle(None, soon()).faults[1] == (Fault("voltage", Reaction.CHECK),)


def test_a_late_reply_is_not_taken_for_a_fresh_one(drive: FeetechDrive, port: PtyPort) -> None:
    port.write(b"".join(build_status(joint.id, 0, b"\x00\x00") for joint in JOINTS))
    wait_for_input(drive, 48)
    np.testing.assert_allclose(drive.cycle(None, soon()).position, START, atol=1e-3)
    assert drive.counters.stale_bytes == 48


def wait_for_input(drive: FeetechDrive, count: int) -> None:
    """Until the terminal has handed the bytes over; the drive itself must not see them yet."""
    transport, deadline = drive._bus.transport, time.monotonic() + 60
    assert isinstance(transport, SerialTransport)
    while int.from_bytes(fcntl.ioctl(transport._fd, termios.FIONREAD, bytes(4)), sys.byteorder) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_unplugging_in_mid_run_is_a_bus_error_and_not_a_timeout(drive: FeetechDrive, port: PtyPort) -> None:
    drive.cycle(None, soon())
    port.close()
    for access in (
        lambda: drive.cycle(None, soon()),
        lambda: drive.cycle(Setpoints.hold(START), soon()),
        drive.disable,
    ):
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
        try:
            SerialTransport(port.path)  # exclusive, and never closed
        finally:  # whatever it raises: this process is not to go on with the suite
            os._exit(0)
    os.waitpid(left, 0)
    deadline = time.monotonic() + 60
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
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(254)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a6_a_port_that_vanished_and_came_back_is_opened_by_its_name(tmp_path: Path) -> None:
    name, twin = tmp_path / "ttyUSB0", FeetechTwin(JOINTS, START)
    with serving_port(twin) as first:
        name.symlink_to(first.path)
        drive = open_drive(str(name))
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
    with serving_port(twin) as second:
        name.symlink_to(second.path)
        again = open_drive(str(name))
        again.disable()
        again.close()
    assert not any(servo.get("torque_enable") for servo in twin.servos.values())


def test_the_twin_hears_a_client_at_its_own_speed_only(twin: FeetechTwin, port: PtyPort) -> None:
    for servo in twin.servos.values():
        servo.set("baud_code", 1)
    for baud, found in ((1_000_000, False), (500_000, True)):
        drive = open_drive(port.path, baud, SETTINGS if found else FeetechSettings(timeout_ms=50))
        if found:
            drive.connect()
        else:
            with pytest.raises(BusTimeout, match="uses this baud rate"):
                drive.connect()
        drive.close()


def test_the_twin_ignores_noise_and_damaged_requests_as_a_servo_does(twin: FeetechTwin) -> None:
    damaged = bytearray(build_write(1, 40, b"\x01"))
    damaged[-1] ^= 1
    assert twin.handle(b"\x00\xff" + bytes(damaged), 0) == b""
    assert twin.servos[1].get("torque_enable") == 0
    assert parse_status(twin.handle(build_write(1, 40, b"\x01"), 0))[0] == [(1, 0, b"")]
    assert twin.servos[1].get("torque_enable") == 1
