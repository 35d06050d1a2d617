"""LeRobot 0.4.4's DamiaoMotorsBus on simulated motors, over python-can's virtual bus, unmodified.

Its faults that ``protocols.md`` knows are asserted as they are: should a later pin mend one, this tells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao import DamiaoSettings
from wall_edge_bridge.kinds.damiao.codec import MitCodec
from wall_edge_bridge.kinds.damiao.registers import MODELS, Ranges
from wall_edge_bridge.kinds.damiao.twin import DamiaoTwin

pytest.importorskip("lerobot.motors.damiao")

from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.damiao import DamiaoMotorsBus
from lerobot.motors.damiao.tables import MOTOR_LIMIT_PARAMS, MotorType

from tests.peers.damiao_can_twin import JOINTS, START, on_virtual_bus

MOTORS = {
    joint.name: Motor(
        joint.id,
        "damiao",
        MotorNormMode.DEGREES,
        {"DM4340P": "dm4340_48v"}.get(joint.model, joint.model.lower()),
        joint.reply_id,
    )
    for joint in JOINTS
}


@pytest.fixture
def twin() -> Iterator[DamiaoTwin]:
    with on_virtual_bus("lerobot") as twin:
        yield twin


@pytest.fixture
def bus(twin: DamiaoTwin) -> Iterator[DamiaoMotorsBus]:  # noqa: ARG001
    bus = DamiaoMotorsBus("lerobot", dict(MOTORS), can_interface="virtual", use_can_fd=False)
    bus.connect()
    yield bus
    if bus.is_connected:
        bus.disconnect()


def require_positions(bus: DamiaoMotorsBus, expected: object, tolerance: float) -> None:
    """It waits 10 ms for a reply and takes an old value then: on a busy machine, again."""
    for _ in range(20):
        stands = [math.radians(value) for value in bus.sync_read("Present_Position").values()]
        if np.allclose(stands, expected, rtol=0, atol=tolerance):
            return
    pytest.fail(f"stands at {stands}")


def test_it_finds_seven_motors_and_reads_where_they_stand(bus: DamiaoMotorsBus) -> None:
    require_positions(bus, START, 0.002)
    state = bus.sync_read_all_states()["joint_3"]
    assert state["position"] == pytest.approx(math.degrees(START[2]), abs=0.1)
    assert state["temp_mos"] == state["temp_rotor"] == 25.0


def test_it_moves_them(bus: DamiaoMotorsBus, twin: DamiaoTwin) -> None:
    goal = 0.2
    for _ in range(60):
        bus.sync_write("Goal_Position", dict.fromkeys(MOTORS, math.degrees(goal)))
        time.sleep(0.01)
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), goal, atol=0.03)
    require_positions(bus, goal, 0.03)
    bus.disable_torque()
    assert not any(twin.powered(time.monotonic_ns()))


def test_its_handshake_powers_motors_to_look_for_them(bus: DamiaoMotorsBus, twin: DamiaoTwin) -> None:
    assert bus.is_connected
    assert all(twin.powered(time.monotonic_ns()))
    assert all(motor.registers[9] == 0 for motor in twin.motors)  # and no watchdog is armed


def test_its_first_feedback_is_its_own_request(bus: DamiaoMotorsBus) -> None:
    first = bus._last_known_states["joint_1"]
    assert math.radians(first["position"]) == pytest.approx(12.5)
    assert first["temp_rotor"] == 0xFC


def test_with_its_default_of_can_fd_without_bit_rate_switching_it_finds_nobody() -> None:
    with on_virtual_bus("lerobot-fd", DamiaoSettings(data_bitrate=5_000_000)) as twin:
        bus = DamiaoMotorsBus("lerobot-fd", dict(list(MOTORS.items())[:1]), can_interface="virtual")
        with pytest.raises(ConnectionError, match="did not respond"):
            bus.connect()
        bus.canbus.shutdown()
        assert not any(twin.powered(time.monotonic_ns()))


def test_a_latched_fault_is_not_seen_by_it(bus: DamiaoMotorsBus, twin: DamiaoTwin) -> None:
    twin.set_fault(0, "over-current")
    bus.sync_write("Goal_Position", dict.fromkeys(MOTORS, 0.0))
    assert bus.is_connected
    assert set(bus.sync_read_all_states()["joint_1"]) == {
        "position",
        "velocity",
        "torque",
        "temp_mos",
        "temp_rotor",
    }
    assert twin.motors[0].state == 0xA


def test_its_table_of_ranges_is_among_ours() -> None:
    for motor_type, spans in MOTOR_LIMIT_PARAMS.items():
        assert Ranges(*spans) in MODELS[MotorType(motor_type).name]


def test_its_codec_and_ours_agree_within_one_step(bus: DamiaoMotorsBus) -> None:
    random = np.random.default_rng(13)
    for _ in range(20_000):
        motor_type = MotorType(random.integers(0, len(MotorType)))
        codec = MitCodec(Ranges(*map(float, MOTOR_LIMIT_PARAMS[motor_type])))
        p, v, t = random.uniform(-1.1, 1.1, 3) * np.array(codec.ranges)
        kp, kd = random.uniform(0, 500), random.uniform(0, 5)
        theirs = bytes(bus._encode_mit_packet(motor_type, kp, kd, math.degrees(p), math.degrees(v), float(t)))
        ours = codec.command(p, v, t, codec.gains(kp, kd))
        for shift, width in ((48, 16), (36, 12), (24, 12), (12, 12), (0, 12)):
            fields = [int.from_bytes(data, "big") >> shift & (1 << width) - 1 for data in (theirs, ours)]
            assert abs(fields[0] - fields[1]) <= 1
        position, velocity, effort, mos, rotor = bus._decode_motor_state(ours, motor_type)
        said = codec.parse_feedback(ours)
        assert (math.radians(position), math.radians(velocity), effort) == pytest.approx(said[1:4], abs=1e-9)
        assert (mos, rotor) == (said.mos, said.rotor)
