"""damiao-motor 1.0.6 on simulated motors, over python-can's virtual bus, unmodified."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao.codec import CLEAR, DISABLE, ENABLE, SET_ZERO, MitCodec, MitFeedback
from wall_edge_bridge.kinds.damiao.registers import MODELS, REGISTERS, Ranges
from wall_edge_bridge.kinds.damiao.twin import DamiaoTwin

from tests.peers.damiao_can_twin import JOINTS, START, on_virtual_bus

damiao_motor = pytest.importorskip("damiao_motor")
DaMiaoMotor = damiao_motor.core.motor.DaMiaoMotor
PRESETS = damiao_motor.core.motor.MOTOR_TYPE_PRESETS
REGISTER_TABLE = damiao_motor.core.motor.REGISTER_TABLE


@pytest.fixture
def twin() -> Iterator[DamiaoTwin]:
    with on_virtual_bus("damiao-motor") as twin:
        yield twin


@pytest.fixture
def controller(twin: DamiaoTwin) -> Iterator[damiao_motor.DaMiaoController]:  # noqa: ARG001
    controller = damiao_motor.DaMiaoController("damiao-motor", "virtual")
    for joint in JOINTS:
        controller.add_motor(joint.id, joint.reply_id, joint.model.removeprefix("DM"))
    yield controller
    controller.shutdown()


def settle() -> None:
    time.sleep(0.05)


def test_it_reads_every_register_of_its_table(controller: damiao_motor.DaMiaoController) -> None:
    values = controller.get_motor(3).read_all_registers(timeout=0.5)
    absent = {rid for rid, value in values.items() if isinstance(value, str)}
    assert absent == set(REGISTER_TABLE) - set(REGISTERS)
    assert (values[8], values[7], values[10], values[60]) == (3, 0x13, 1, 24.0)
    assert [values[rid] for rid in (21, 22, 23)] == pytest.approx(MODELS["DM4340"][0])


def test_its_registers_have_our_types_and_rights() -> None:
    for number, register in REGISTERS.items():
        theirs = REGISTER_TABLE[number]
        assert (theirs.data_type == "float") == (register.kind == "f")
        assert (theirs.access == "RW") == register.written


def test_it_enables_moves_and_disables(controller: damiao_motor.DaMiaoController, twin: DamiaoTwin) -> None:
    for motor in controller.all_motors():
        motor.ensure_control_mode("MIT")
        motor.request_motor_feedback()
    settle()
    # Its preset of the DM4340 and the motor's own differ in velocity alone.
    stands = [motor.get_states()["pos"] for motor in controller.all_motors()]
    np.testing.assert_allclose(stands, START, atol=0.001)
    controller.enable_all()
    settle()
    assert all(twin.powered(time.monotonic_ns()))
    for _ in range(60):
        controller.send_cmd_all(target_position=0.25, stiffness=30.0, damping=1.0)
        time.sleep(0.01)
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), 0.25, atol=0.01)
    states = [motor.get_states() for motor in controller.all_motors()]
    assert {state["status"] for state in states} == {"ENABLED"}
    np.testing.assert_allclose([state["pos"] for state in states], 0.25, atol=0.01)
    controller.disable_all()
    settle()
    assert not any(twin.powered(time.monotonic_ns()))


def test_its_watchdog_is_ours(controller: damiao_motor.DaMiaoController, twin: DamiaoTwin) -> None:
    motor = controller.get_motor(5)
    motor.set_can_timeout(100)
    motor.enable()
    settle()
    assert twin.motors[4].registers[9] == 2000
    assert twin.powered(time.monotonic_ns())[4]
    time.sleep(0.15)
    motor.request_motor_feedback()
    settle()
    assert motor.get_states()["status"] == "LOST_COMM"
    motor.clear_error()
    settle()
    assert motor.get_states()["status"] == "DISABLED"


@pytest.mark.parametrize("model", [model for model in PRESETS if f"DM{model}" in MODELS])
def test_its_codec_and_ours_agree_bit_by_bit(model: str) -> None:
    theirs = DaMiaoMotor(1, 0x11, None, motor_type=model)
    ranges = Ranges(theirs._p_max, theirs._v_max, theirs._t_max)
    assert ranges in MODELS[f"DM{model}"]
    codec, random = MitCodec(Ranges(*map(float, ranges))), np.random.default_rng(13)
    for _ in range(3000):
        p, v, t = random.uniform(-1.1, 1.1, 3) * np.array(ranges)
        kp, kd = random.uniform(0, 500), random.uniform(0, 5)
        assert codec.command(p, v, t, codec.gains(kp, kd)) == theirs.encode_cmd_msg(p, v, t, kp, kd)
        said = MitFeedback(int(random.integers(16)), p, v, t, *map(int, random.integers(0, 256, 2)))
        data = codec.feedback(1, said)
        heard, state = codec.parse_feedback(data), theirs.decode_sensor_feedback(data)
        assert [state[key] for key in ("status_code", "pos", "vel", "torq", "t_mos", "t_rotor")] == [
            pytest.approx(value, abs=1e-9) for value in heard
        ]


def test_its_words_of_one_byte_are_ours() -> None:
    assert DaMiaoMotor.encode_enable_msg() == ENABLE
    assert DaMiaoMotor.encode_disable_msg() == DISABLE
    assert DaMiaoMotor.encode_save_position_zero_msg() == SET_ZERO
    assert DaMiaoMotor.encode_clear_error_msg() == CLEAR
