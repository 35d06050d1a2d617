"""Frames of a moteus: published vectors byte for byte, mjbots' own library as the measure, and noise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.kinds.moteus import MoteusJoint, codec
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import FLOAT, INT8, INT16, INT32, Action, Part
from wall_edge_bridge.transport.base import Frame

library = pytest.importorskip("moteus")
frames = pytest.importorskip("wall_edge_bridge.kinds.moteus.frames")
readings = pytest.importorskip("wall_edge_bridge.kinds.moteus.readings")

COMMAND = "01000a07206000200150ff140400130d"
REPLY = "2404000a005000000170ff230d181400"
VALUES = {INT8: (-128, 127), INT16: (-32768, 32767), INT32: (-(1 << 31), (1 << 31) - 1)}


def joint(motor: int = 1, **more: float) -> MoteusJoint:
    return MoteusJoint(name=f"j{motor}", id=motor, lower=-1.0, upper=1.0, max_velocity=1.0, **more)  # type: ignore[arg-type]


def test_the_published_command_asks_motor_1_to_answer() -> None:
    raw = [
        codec.to_raw(value, INT16, scale)
        for value, scale in ((0.00961, reg.ANGLE), (0.0721, reg.SPEED), (-1.765, reg.TORQUES))
    ]
    data = codec.write(INT8, reg.MODE, [10]) + codec.write(INT16, reg.COMMAND_POSITION, raw)
    data += codec.read(INT16, reg.MODE, 4) + codec.read(INT8, reg.VOLTAGE, 3)
    assert codec.identifier(1) == 0x8001
    assert codec.identifier(1, reply=False) == 0x0001
    assert data.hex() == COMMAND


def test_the_published_reply_is_read() -> None:
    motion, status = codec.parse(bytes.fromhex(REPLY))
    assert motion == Part(Action.REPLY, INT16, 0, 4, (10, 80, 256, -144))
    assert status == Part(Action.REPLY, INT8, reg.VOLTAGE, 3, (24, 20, 0))
    scales = (None, reg.ANGLE, reg.SPEED, reg.TORQUES)
    values = [codec.from_raw(raw, INT16, scale) for raw, scale in zip(motion.values, scales, strict=True)]
    assert values == pytest.approx([10, 0.008, 0.064, -1.44])
    assert codec.from_raw(status.values[0], INT8, reg.VOLTS) == 12.0


def test_the_published_stop_and_question() -> None:
    assert codec.write(INT8, reg.MODE, [reg.STOPPED]).hex() == "010000"
    query = codec.read(INT8, reg.MODE) + codec.read(FLOAT, reg.POSITION, 3) + codec.read(INT8, reg.VOLTAGE, 3)
    assert query.hex() == "11001f01130d"
    made = frames.JointFrames(joint(), 0.0)
    assert made.query.hex() == "11001f01130d"
    assert made.stop.hex() == "010000" + "11001f01130d" + "505050"


@pytest.mark.parametrize(
    ("scale", "step"),
    [(reg.ANGLE, 1e-4), (reg.SPEED, 2.5e-4), (reg.TORQUES, 0.01), (reg.SECONDS, 1e-3), (reg.VOLTS, 0.1)],
)
def test_steps_of_sixteen_bits(scale: reg.Scale, step: float) -> None:
    assert codec.from_raw(1, INT16, scale) == pytest.approx(step)
    assert codec.to_raw(1000.5 * step, INT16, scale) == 1000
    assert codec.to_raw(1e9, INT16, scale) == 32767
    assert codec.to_raw(-1e9, INT16, scale) == -32767


@pytest.mark.parametrize("type_", [INT8, INT16, INT32])
def test_the_minimum_is_no_number_and_the_reverse(type_: int) -> None:
    least = VALUES[type_][0]
    for endless in (math.nan, math.inf, -math.inf):
        assert codec.to_raw(endless, type_, reg.ANGLE) == least
    assert math.isnan(codec.from_raw(least, type_, reg.ANGLE))
    assert codec.from_raw(least, type_, None) == least


@pytest.mark.parametrize(
    ("length", "padded"), [(0, 0), (8, 8), (9, 12), (22, 24), (31, 32), (49, 64), (64, 64)]
)
def test_frames_are_filled_up_with_nops(length: int, padded: int) -> None:
    assert codec.pad(bytes(length)) == bytes(length) + b"\x50" * (padded - length)


def test_more_than_a_frame_holds_is_no_frame() -> None:
    with pytest.raises(ValueError, match="65"):
        codec.pad(bytes(65))


@st.composite
def parts(draw: st.DrawFn) -> tuple[Part, bytes]:
    type_, register = draw(st.integers(0, 3)), draw(st.integers(0, 0x400))
    count = draw(st.integers(1, 12))
    if draw(st.booleans()):
        return Part(Action.READ, type_, register, count), codec.read(type_, register, count)
    number = st.floats(width=32, allow_nan=False) if type_ == FLOAT else st.integers(*VALUES[type_])
    values = tuple(draw(st.lists(number, min_size=count, max_size=count)))
    action = draw(st.sampled_from([Action.WRITE, Action.REPLY]))
    return Part(action, type_, register, count, values), codec.write(type_, register, values, action)


@given(st.lists(parts(), max_size=6))
def test_what_is_written_is_read_back_here_and_by_the_library(each: list[tuple[Part, bytes]]) -> None:
    data = b"".join(data for _, data in each) + b"\x50\x50"
    assert list(codec.parse(data)) == [part for part, _ in each]
    seen = [(frame.register, frame.resolution, frame.value) for frame in library.multiplex.parse_frame(data)]
    told = [
        (part.register + i, part.type, part.values[i] if part.values else None)
        for part, _ in each
        for i in range(part.registers)
    ]
    assert seen == told


@given(st.binary(max_size=64))
def test_noise_is_read_as_far_as_it_goes_and_raises_nothing(data: bytes) -> None:
    for part in codec.parse(data):
        assert 0 <= part.register < 1 << 35
        assert part.action is Action.READ or len(part.values) == part.registers
    into = readings.MoteusReadings([joint()])
    into.take(0, Frame(0x100, data, fd=True))


@given(
    position=st.floats(-1e4, 1e4, width=32),
    velocity=st.floats(-20, 20),
    torque=st.floats(-500, 500),
    timeout=st.sampled_from([0.0, 0.001, 0.1, 32.0]),
    bound=st.none() | st.floats(0.01, 300),
    scales=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_commands_are_the_librarys_byte_for_byte(
    position: float,
    velocity: float,
    torque: float,
    timeout: float,
    bound: float | None,
    scales: tuple[float, float],
) -> None:
    kp, kd = scales
    made = frames.JointFrames(joint(max_effort=bound, kp_scale=kp, kd_scale=kd), timeout)  # type: ignore[arg-type]
    expected = frames.controller(1).make_position(
        position=position,
        velocity=velocity,
        feedforward_torque=torque,
        kp_scale=kp,
        kd_scale=kd,
        maximum_torque=math.nan if bound is None else bound,
        stop_position=math.nan,
        watchdog_timeout=timeout,
        query=True,
    )
    assert made.command(position, velocity, torque) == expected.data
    assert len(expected.data) == 32
    assert expected.data[:3].hex() == "01000a"  # the mode first: it resets the rest


def test_holding_is_no_position_and_never_an_unspecified_one() -> None:
    hold = frames.JointFrames(joint(), 0.1).hold
    assert math.isnan(library.protocol.parse_registers(hold).command[reg.COMMAND_POSITION])
