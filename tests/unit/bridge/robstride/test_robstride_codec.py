"""RobStride's frames, byte for byte: vectors made and decoded with other programs, and a capture."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.codec import Mode, Ranges, State, Type
from wall_edge_bridge.kinds.robstride.registers import (
    CAN_TIMEOUT,
    FEEDBACK_FAULTS,
    PARAMETERS,
    REPORT_FAULTS,
    RUN_MODE,
    VBUS,
)
from wall_edge_bridge.transport import Frame

HOST = 0xFD
RANGES = Ranges(4 * math.pi, 44.0, 17.0, 500.0, 5.0)
LOC_REF = PARAMETERS[0x7016]


def frame(identifier: str, data: str = "") -> Frame:
    return Frame(int(identifier, 16), bytes.fromhex(data or "00" * 8), extended=True)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (codec.request(Type.GET_ID, HOST, 1), frame("0000FD01")),
        (codec.request(Type.ENABLE, HOST, 1), frame("0300FD01")),
        (codec.stop(HOST, 1), frame("0400FD01")),
        (codec.stop(HOST, 1, clear=True), frame("0400FD01", "0100000000000000")),
        (codec.read(VBUS, HOST, 1), frame("1100FD01", "1c70000000000000")),
        (codec.write(LOC_REF, 1.0, HOST, 1), frame("1200FD01", "167000000000803f")),
        (codec.write(RUN_MODE, 1, HOST, 1), frame("1200FD01", "0570000001000000")),
        (codec.write(CAN_TIMEOUT, 0.1 / 50e-6, HOST, 1), frame("1200FD01", "28700000d0070000")),
        (codec.set_id(HOST, 1, 5), frame("0705FD01")),
        (
            codec.feedback(RANGES, 1, HOST, State(Mode.RUN, (), 0.5, -1.25, 2.0, 31.5)),
            frame("028001FD", "85177c5c8f0e013b"),
        ),
    ],
)
def test_frames_are_the_vectors(made: Frame, expected: Frame) -> None:
    assert made == expected


def test_feedback_is_decoded_as_other_programs_do() -> None:
    state = codec.parse_feedback(frame("028001FD", "85177c5c8f0e013b"), RANGES)
    assert (state.mode, state.faults) == (Mode.RUN, ())
    assert (state.position, state.velocity, state.effort) == pytest.approx((0.5, -1.25, 2.0), abs=1e-3)
    assert state.temperature == 31.5


def test_a_capture_of_a_real_motor() -> None:
    captured = frame("02000AFD", "a6d4808c7fff0140")
    assert codec.sender(captured, Type.FEEDBACK, HOST) == 0x0A
    state = codec.parse_feedback(captured, RANGES)
    assert (state.mode, state.faults, state.temperature) == (Mode.RESET, (), 32.0)
    assert state.position == pytest.approx(0xA6D4 / 65535 * 8 * math.pi - 4 * math.pi)
    assert abs(state.effort) < 3e-4


def test_a_read_value_and_one_that_is_not_supported() -> None:
    assert codec.value_of(frame("110001FD", "1c7000000000c241"), VBUS) == 24.25
    assert codec.value_of(frame("110001FD", "1c7000000000c241"), LOC_REF) is None
    assert codec.value_of(frame("110101FD", "1c70000000000000"), VBUS) is None
    assert codec.value_of(frame("110115FD", "0310000000000000"), VBUS) is None


def test_faults_of_identifier_bits_and_of_reports() -> None:
    for bit, fault in FEEDBACK_FAULTS.items():
        said = Frame(0x028001FD | 1 << 16 + bit, bytes(8), extended=True)
        assert codec.parse_feedback(said, RANGES).faults == (fault,)
        assert codec.parse_feedback(said, RANGES).mode == Mode.RUN
    for bit, fault in REPORT_FAULTS.items():
        assert codec.parse_fault_report(struct.pack("<II", 1 << bit, 0)) == ((fault,), ())
    assert codec.parse_fault_report(struct.pack("<II", 0, 1)) == ((), ("motor temperature",))


@given(st.floats(-12.56, 12.56), st.floats(-44, 44), st.floats(0, 500), st.floats(0, 5), st.floats(-17, 17))
def test_a_control_frame_means_what_was_put_in_it(
    position: float, velocity: float, kp: float, kd: float, effort: float
) -> None:
    made = codec.control(RANGES, 9, position, velocity, kp, kd, effort)
    assert made.extended
    assert (made.id >> 24, made.id & 0xFF, len(made.data)) == (Type.CONTROL, 9, 8)
    words = struct.unpack(">4H", made.data)
    ranges = ((-RANGES.position, RANGES.position), (-44, 44), (0, 500), (0, 5))
    for word, value, (low, high) in zip(words, (position, velocity, kp, kd), ranges, strict=True):
        assert -1e-9 <= value - codec.dequantize(word, low, high) <= (high - low) / 65535 + 1e-9
    raw = made.id >> 8 & 0xFFFF
    assert -1e-9 <= effort - codec.dequantize(raw, -17, 17) <= 34 / 65535 + 1e-9


@given(st.floats(-1e9, 1e9), st.floats(0.1, 100))
def test_what_is_beyond_a_range_is_its_bound(value: float, bound: float) -> None:
    assert 0 <= codec.quantize(value, -bound, bound) <= 65535


@given(st.integers(0, (1 << 29) - 1), st.binary(max_size=64), st.booleans())
def test_any_frame_is_somebodys_or_nobodys(identifier: int, data: bytes, extended: bool) -> None:
    said = Frame(identifier, data, extended=extended)
    for kind in Type:
        motor = codec.sender(said, kind, HOST)
        if motor is None:
            continue
        assert extended
        assert (len(data), identifier >> 24, identifier & 0xFF) == (8, kind, HOST)
        codec.parse_feedback(said, RANGES)
        codec.value_of(said, VBUS)
        codec.parse_fault_report(data)


@given(st.sampled_from(sorted(PARAMETERS)), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_parameters_go_and_come(address: int, value: float) -> None:
    parameter = PARAMETERS[address]
    value = value if parameter.format == "<f" else float(abs(int(value)) % 100)
    data = codec.write(parameter, value, HOST, 1).data
    assert codec.value_of(Frame(0x110001FD, data, extended=True), parameter) == value
