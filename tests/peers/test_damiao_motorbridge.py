"""motorbridge 0.5.6 (Rust) on simulated motors behind Damiao's USB bridge, through a pseudo-terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao import DamiaoSettings
from wall_edge_bridge.kinds.damiao.twin import BridgeTwin
from wall_edge_bridge.sim import serving_port

from tests.peers.damiao_can_twin import JOINTS, START

motorbridge = pytest.importorskip("motorbridge")

SETTINGS = DamiaoSettings(interface="damiao-usb")


@pytest.fixture
def twin() -> BridgeTwin:
    return BridgeTwin(SETTINGS, JOINTS, START)


@pytest.fixture
def motors(twin: BridgeTwin) -> Iterator[list[motorbridge.Motor]]:
    with serving_port(twin) as port, motorbridge.Controller.from_dm_serial(port.path) as controller:
        yield [
            controller.add_damiao_motor(joint.id, joint.reply_id, joint.model.removeprefix("DM"))
            for joint in JOINTS
        ]


def state_after(motor: motorbridge.Motor) -> motorbridge.MotorState:
    motor.request_feedback()
    time.sleep(0.05)
    return motor.get_state()


def test_it_reads_where_motors_stand(motors: list[motorbridge.Motor]) -> None:
    states = [state_after(motor) for motor in motors]
    np.testing.assert_allclose([state.pos for state in states], START, atol=0.001)
    assert [state.can_id for state in states] == [joint.id for joint in JOINTS]
    assert [state.arbitration_id for state in states] == [joint.reply_id for joint in JOINTS]
    assert {(state.status_code, state.t_mos, state.t_rotor) for state in states} == {(0, 25.0, 25.0)}


def test_it_reads_and_writes_registers(motors: list[motorbridge.Motor], twin: BridgeTwin) -> None:
    assert motors[0].get_register_f32(23, 500) == 54.0
    assert motors[4].get_register_u32(8, 500) == 5
    motors[4].set_can_timeout_ms(100)
    time.sleep(0.05)
    assert motors[4].get_register_u32(9, 500) == 2000
    assert twin.bus.motors[4].registers[9] == 2000


def test_it_enables_moves_and_disables(motors: list[motorbridge.Motor], twin: BridgeTwin) -> None:
    for motor in motors:
        motor.ensure_mode(motorbridge.Mode.MIT, 500)
        motor.enable()
    time.sleep(0.05)
    assert all(twin.powered(time.monotonic_ns()))
    for _ in range(60):
        for motor in motors:
            motor.send_mit(0.25, 0.0, 30.0, 1.0, 0.0)
        time.sleep(0.01)
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), 0.25, atol=0.01)
    state = state_after(motors[6])
    assert (state.status_code, state.pos) == (1, pytest.approx(0.25, abs=0.01))
    for motor in motors:
        motor.disable()
    time.sleep(0.05)
    assert not any(twin.powered(time.monotonic_ns()))


def test_it_clears_a_fault(motors: list[motorbridge.Motor], twin: BridgeTwin) -> None:
    twin.set_fault(2, "overload")
    assert state_after(motors[2]).status_code == 0xE
    motors[2].clear_error()
    time.sleep(0.05)
    assert state_after(motors[2]).status_code == 0
