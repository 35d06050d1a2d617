"""Damiao's bytes: published vectors byte for byte, every value within one step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.kinds.damiao.codec import (
    CLEAR,
    DISABLE,
    ENABLE,
    READ,
    REFRESH,
    SAVE,
    SET_ZERO,
    WRITE,
    MitCodec,
    MitFeedback,
    RegisterFrame,
    is_echo,
    pack_value,
    parse_value,
)
from wall_edge_bridge.kinds.damiao.registers import (
    FAULTS,
    MODELS,
    PMAX,
    REGISTERS,
    TIMEOUT,
    Ranges,
    faults_of,
    matches,
)

DM4310 = MitCodec(Ranges(12.5, 30.0, 10.0))
DM8009 = MitCodec(MODELS["DM8009"][0])


def test_words_of_one_byte() -> None:
    assert [word.hex() for word in (ENABLE, DISABLE, SET_ZERO, CLEAR)] == [
        "ff" * 7 + last for last in ("fc", "fd", "fe", "fb")
    ]


@pytest.mark.parametrize(
    ("position", "velocity", "kp", "kd", "effort", "data"),
    [
        (0.0, 0.0, 0.0, 0.0, 0.0, "7fff7ff0000007ff"),
        (0.0, 0.0, 10.0, 0.5, 0.0, "7fff7ff0511997ff"),
        (1.0, 0.0, 20.0, 1.0, 0.5, "8a3c7ff0a3333865"),
    ],
)
def test_commands(position: float, velocity: float, kp: float, kd: float, effort: float, data: str) -> None:
    assert DM4310.command(position, velocity, effort, DM4310.gains(kp, kd)).hex() == data


def test_nothing_decodes_as_a_little_less_than_nothing() -> None:
    _, velocity, _, _, effort = DM4310.parse_command(bytes.fromhex("7fff7ff0000007ff"))
    assert velocity == pytest.approx(-0.0073, abs=5e-5)
    assert effort == pytest.approx(-0.0024, abs=5e-5)


def test_feedback() -> None:
    feedback = DM4310.parse_feedback(bytes.fromhex("11851e7aa999211e"))
    assert feedback == (1, *(pytest.approx(v, abs=0.01) for v in (0.5, -1.25, 2.0)), 33, 30)
    assert feedback.position == pytest.approx(0.5, abs=25 / 65535)
    assert DM4310.feedback(1, feedback._replace(position=0.5001)).hex() == "11851e7aa999211e"


def test_a_captured_feedback() -> None:
    assert DM4310.parse_feedback(bytes.fromhex("1183277ff7ff0000")).position == pytest.approx(0.308, abs=5e-4)


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (RegisterFrame(1, READ, PMAX), "0100331500000000"),
        (RegisterFrame(1, READ, PMAX, pack_value(PMAX, 12.5)), "0100331500004841"),
        (RegisterFrame(1, WRITE, TIMEOUT, pack_value(TIMEOUT, 2000)), "01005509d0070000"),
        (RegisterFrame(1, SAVE, 1), "0100aa0100000000"),
        (RegisterFrame(0x123, REFRESH, 0), "2301cc0000000000"),
    ],
)
def test_register_frames(frame: RegisterFrame, data: str) -> None:
    assert frame.pack().hex() == data
    assert RegisterFrame.parse(bytes.fromhex(data)) == frame


def test_values_are_of_their_registers_type() -> None:
    assert parse_value(PMAX, bytes.fromhex("00004841")) == 12.5
    assert parse_value(TIMEOUT, bytes.fromhex("d0070000")) == 2000
    for register in REGISTERS:
        assert parse_value(register, pack_value(register, 3.0)) == 3


@pytest.mark.parametrize(
    "data", [b"", b"\x01\x00\x33", bytes(8), bytes.fromhex("0108331500000000"), bytes(9)]
)
def test_other_bytes_are_no_register_frames(data: bytes) -> None:
    assert RegisterFrame.parse(data) is None


@pytest.mark.parametrize("operation", [READ, WRITE, SAVE, REFRESH])
def test_echoes_are_told_from_feedback_that_stands_anywhere_a_joint_may(operation: int) -> None:
    echo = RegisterFrame(3, operation, 21, bytes(4)).pack()
    assert is_echo(echo, 3)
    assert DM4310.parse_feedback(echo).position < -12.4
    assert not is_echo(echo, 4)
    feedback = DM4310.feedback(3, MitFeedback(0, -12.5 + 0x100 * 25 / 65535, 0.0, 0.0, 25, 25))
    assert not is_echo(feedback, 3)


ranges = st.builds(Ranges, st.floats(0.1, 1000), st.floats(0.1, 1000), st.floats(0.1, 1000))
shares = st.floats(-1.0, 1.0)


@given(ranges, shares, shares, shares, st.floats(0, 500), st.floats(0, 5))
def test_a_command_is_understood_within_one_step(
    spans: Ranges, p: float, v: float, t: float, kp: float, kd: float
) -> None:
    codec = MitCodec(spans)
    values = p * spans.position, v * spans.velocity, kp, kd, t * spans.effort
    command = codec.command(values[0], values[1], values[4], codec.gains(kp, kd))
    steps = (
        2 * spans.position / 65535,
        2 * spans.velocity / 4095,
        500 / 4095,
        5 / 4095,
        2 * spans.effort / 4095,
    )
    for value, understood, step in zip(values, codec.parse_command(command), steps, strict=True):
        assert -1e-9 * max(1, abs(value)) <= value - understood <= step * (1 + 1e-9)


@given(ranges, shares, shares, shares, st.integers(0, 15), st.integers(0, 255), st.integers(0, 255))
def test_feedback_is_understood_within_one_step(
    spans: Ranges, p: float, v: float, t: float, state: int, mos: int, rotor: int
) -> None:
    codec = MitCodec(spans)
    said = MitFeedback(state, p * spans.position, v * spans.velocity, t * spans.effort, mos, rotor)
    heard = codec.parse_feedback(codec.feedback(0x23, said))
    assert (heard.state, heard.mos, heard.rotor) == (state, mos, rotor)
    assert heard.position == pytest.approx(said.position, abs=2 * spans.position / 65535 * 1.001)
    assert heard.velocity == pytest.approx(said.velocity, abs=2 * spans.velocity / 4095 * 1.001)
    assert heard.effort == pytest.approx(said.effort, abs=2 * spans.effort / 4095 * 1.001)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_any_number_is_clipped_to_the_ranges(p: float, v: float, t: float) -> None:
    position, velocity, _, _, effort = DM8009.parse_command(DM8009.command(p, v, t, 0))
    for sent, understood, span in zip((p, v, t), (position, velocity, effort), DM8009.ranges, strict=True):
        assert abs(understood) <= span * (1 + 1e-12)
        assert understood == pytest.approx(min(max(sent, -span), span), abs=2 * span / 4095)


@pytest.mark.parametrize("bad", [(math.nan, 0, 0), (0, math.nan, 0), (0, 0, math.nan)])
def test_what_is_no_number_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        DM4310.command(*bad, 0)


def test_states_have_names_and_models_their_ranges() -> None:
    assert faults_of(0) == faults_of(1) == ()
    assert {state: faults_of(state)[0].name for state in (8, 0xD, 0xF)} == {
        8: "over-voltage",
        0xD: "lost communication",
        0xF: "unknown state 15",
    }
    assert len({fault.name for fault in FAULTS.values()}) == len(FAULTS)
    assert all(matches(ranges, model) for model, each in MODELS.items() for ranges in each)
    assert not matches(MODELS["DM8009"][0], "DM4310")
    assert matches(MODELS["DM8009"][0], "a friend's motor")
