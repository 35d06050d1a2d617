"""Other programs operate our simulated RobStride motors, and read our frames as we mean them."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.robstride import KIND, RobStrideJoint, RobStrideSettings, codec
from wall_edge_bridge.kinds.robstride.codec import Mode, Ranges
from wall_edge_bridge.transport.opening import open_wire

from tests.peers.can_motors import serving

can = pytest.importorskip("can")
CHANNEL = "robstride-judges"
SETTINGS = RobStrideSettings(channel=CHANNEL, interface="virtual")
JOINT = RobStrideJoint(
    "j", id=1, lower=-3.0, upper=3.0, max_velocity=9.0, position_range=4 * math.pi, model="RS01"
)
LSB = 8 * math.pi / 65535


@pytest.fixture
def twin() -> Iterator[Any]:
    """One motor at 0.5 rad."""
    twin = KIND.make_twin(RobStrideSettings(), [JOINT], np.array([0.5]))
    with serving(twin, CHANNEL):
        yield twin


@pytest.fixture
def bus() -> Iterator[Any]:
    with can.Bus(interface="virtual", channel=CHANNEL) as bus:
        yield bus


# --- robstride 0.1.0, unmodified ---------------------------------------------------------------------------


@pytest.fixture
def client(twin: Any, bus: Any) -> Any:  # noqa: ARG001 - the twin answers it
    return pytest.importorskip("robstride").Client(bus, recv_timeout=0.5, host_can_id=0xFD)


def test_robstride_enables_reads_and_stops_a_motor(client: Any, twin: Any) -> None:
    feedback = client.enable(1)
    assert twin.motors[0].mode == Mode.RUN
    assert feedback.angle == pytest.approx(0.5, abs=LSB)
    assert (feedback.velocity, feedback.torque) == pytest.approx((0, 0), abs=1e-3)
    assert (feedback.errors, feedback.temp) == ([], 31.5)
    client.disable(1)
    assert twin.motors[0].mode == Mode.RESET


def test_robstride_reads_and_writes_parameters(client: Any, twin: Any) -> None:
    robstride = pytest.importorskip("robstride")
    assert client.read_param(1, "vbus") == 24.25
    assert client.read_param(1, "mechpos") == pytest.approx(0.5)
    assert client.read_param(1, "run_mode") == robstride.RunMode.Operation
    client.write_param(1, "run_mode", robstride.RunMode.Position)
    assert client.read_param(1, "run_mode") == robstride.RunMode.Position
    client.write_param(1, "loc_ref", 1.0)
    assert client.read_param(1, "loc_ref") == 1.0
    assert twin.motors[0].mode == Mode.RESET


def test_robstride_sees_the_faults_that_feedback_has_bits_for(client: Any, twin: Any, bus: Any) -> None:
    twin.motors[0].fail("overtemperature")
    errors = [error.name for error in client.disable(1).errors]
    assert errors == ["Overtemp"]
    assert bus.recv(timeout=0.01) is None


def test_robstride_gives_a_motor_another_id(client: Any, twin: Any) -> None:
    client.update_id(1, 9)
    assert twin.motors[0].id == 9
    assert client.enable(9).servo_id == 9


# --- robstride-dynamics 0.0.1, its SocketCAN bus replaced by the virtual one -------------------------------


@pytest.fixture
def sdk(twin: Any, bus: Any) -> Iterator[Any]:  # noqa: ARG001
    module = pytest.importorskip("robstride_dynamics")
    sdk = module.RobstrideBus("can0", {"j": module.Motor(id=1, model="rs-01")})
    sdk.channel_handler = bus
    yield sdk
    sdk.channel_handler = None


def test_robstride_dynamics_moves_a_motor(sdk: Any, twin: Any) -> None:
    sdk.enable("j")
    for _ in range(100):
        sdk.write_operation_frame("j", position=-0.7, kp=30.0, kd=1.0)
        position, _, _, temperature = sdk.read_operation_frame("j")
        time.sleep(0.005)
    assert position == pytest.approx(-0.7, abs=3 * LSB)
    assert twin.positions(time.monotonic_ns())[0] == pytest.approx(-0.7, abs=3 * LSB)
    assert temperature > 30
    sdk.disable("j")
    assert twin.motors[0].mode == Mode.RESET


def test_robstride_dynamics_pings_reads_and_arms_the_watchdog(sdk: Any, twin: Any) -> None:
    parameters = pytest.importorskip("robstride_dynamics").ParameterType
    extra, uid = sdk.ping_by_id(1, timeout=0.5)
    assert (extra & 0xFF, bytes(uid)) == (1, twin.motors[0].uid)
    assert sdk.ping_by_id(2, timeout=0.05) is None
    assert sdk.read("j", parameters.VBUS) == 24.25
    assert sdk.read("j", parameters.MEASURED_TORQUE) == 0.0
    sdk.write("j", parameters.CAN_TIMEOUT, 2000)
    assert sdk.read("j", parameters.CAN_TIMEOUT) == 2000
    sdk.enable("j")
    time.sleep(0.15)
    assert twin.powered(time.monotonic_ns()) == (False,)


def test_robstride_dynamics_raises_at_our_fault_report(sdk: Any, twin: Any) -> None:
    twin.motors[0].fail("overvoltage")
    with pytest.raises(RuntimeError, match="fault frame"):
        sdk.enable("j")


def test_control_frames_are_those_of_robstride_dynamics_to_a_bit(sdk: Any) -> None:
    """It counts 0x7FFF steps on either side of zero, the maker's code and we 65535 over the range."""
    ranges = Ranges(4 * math.pi, 44.0, 17.0, 500.0, 5.0)
    sent: list[Any] = []

    class Recorder:
        send = staticmethod(sent.append)

    sdk.channel_handler = Recorder
    rng = np.random.default_rng(4)
    for _ in range(200):
        p, v, t = (float(rng.uniform(-bound, bound)) for bound in (12.5, 44, 17))
        kp, kd = float(rng.uniform(0, 500)), float(rng.uniform(0, 5))
        sdk.write_operation_frame("j", p, kp, kd, v, t)
        ours, theirs = codec.control(ranges, 1, p, v, kp, kd, t), sent[-1]
        assert theirs.is_extended_id
        assert (ours.id >> 24, ours.id & 0xFF) == (theirs.arbitration_id >> 24, theirs.arbitration_id & 0xFF)
        words = np.array(struct.unpack(">4H", ours.data)) - struct.unpack(">4H", bytes(theirs.data))
        assert np.abs(words).max() <= 1
        assert abs((ours.id >> 8 & 0xFFFF) - (theirs.arbitration_id >> 8 & 0xFFFF)) <= 1


# --- the drive itself on python-can ------------------------------------------------------------------------


def test_our_drive_and_a_client_of_others_see_the_same_motor(client: Any, bus: Any) -> None:
    with KIND.open_drive(SETTINGS, [JOINT], open_wire(SETTINGS)) as drive:
        drive.check()
        look = drive.look(time.monotonic_ns() + 100_000_000)
        while bus.recv(timeout=0.02):
            pass  # the client takes any frame for its answer
        assert look.position[0] == pytest.approx(client.read_param(1, "mechpos"), abs=1e-6)
        assert look.voltage[0] == client.read_param(1, "vbus")
