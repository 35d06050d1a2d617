"""ODrive's CANSimple frames, byte for byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import Command, Heartbeat, Version
from wall_edge_bridge.kinds.odrive.errors import ERRORS_05, ERRORS_06, WATCHDOG, State
from wall_edge_bridge.kinds.odrive.readings import ODriveReadings
from wall_edge_bridge.kinds.odrive.scale import ODriveScale
from wall_edge_bridge.transport import Frame

from tests.drive_cases.odrive import JOINTS

ANY_FRAME = st.builds(
    Frame,
    id=st.one_of(st.integers(0, 0x7FF), st.integers(0, (1 << 29) - 1)),
    data=st.binary(max_size=8),
    extended=st.booleans(),
    remote=st.booleans(),
)


@pytest.mark.parametrize(
    ("made", "number", "data"),
    [
        (codec.set_state(3, State.CLOSED_LOOP), 0x067, "0800000000000000"),
        (codec.controller_mode(3), 0x06B, "0300000001000000"),
        (
            codec.input_pos(3, 1.5, codec.saturated(0.25, 0.001), codec.saturated(-0.5, 0.001)),
            0x06C,
            "0000c03ffa000cfe",
        ),
        (codec.clear_errors(3), 0x078, "00"),
        (codec.reboot(3), 0x076, "00"),
        (codec.limits(3, 2.0, 10.0), 0x06F, "0000004000002041"),
        (codec.sdo_read(3, 391), 0x064, "00870100"),
        (codec.sdo_write(3, 391, "f", 0.1), 0x064, "01870100cdcccc3d"),
        (codec.sdo_write(3, 392, "?", True), 0x064, "0188010001"),
        (codec.address(9, 0x385500000003), 0x7E6, "09030000005538"),
        (codec.heartbeat(3, 0x1000000, State.IDLE), 0x061, "0000000101000000"),
    ],
)
def test_frames_are_the_vectors(made: Frame, number: int, data: str) -> None:
    assert made == Frame(number, bytes.fromhex(data))


def test_feed_forward_saturates_at_sixteen_bits() -> None:
    assert [codec.saturated(value, 0.001) for value in (33.0, -40.0, 1e9, -1e9)] == [
        32767,
        -32767,
        32767,
        -32767,
    ]
    assert codec.saturated(0.25, 0.01) == 25


def test_a_request_is_a_remote_frame_without_data() -> None:
    assert codec.request(3, Command.ESTIMATES) == Frame(0x069, b"", remote=True)


def test_heartbeats_of_both_firmwares_mean_other_things() -> None:
    watchdog = bytes.fromhex("0000000101000000")
    assert codec.parse_heartbeat(watchdog) == Heartbeat(0x1000000, State.IDLE, (WATCHDOG,))
    assert [f.name for f in codec.parse_heartbeat(watchdog, old=True).faults] == ["error 0x1000000"]
    old = struct.pack("<IBBBB", 0x800 | 0x100, 1, 1, 0, 0x81)
    names = [fault.name for fault in codec.parse_heartbeat(old, old=True).faults]
    assert names == ["ENCODER_FAILED", "WATCHDOG_TIMER_EXPIRED", "MOTOR_ERROR", "CONTROLLER_ERROR"]
    result_and_done = struct.pack("<IBBBB", 0, 8, 1, 1, 0)
    assert codec.parse_heartbeat(result_and_done) == Heartbeat(0, State.CLOSED_LOOP, ())


@pytest.mark.parametrize("old", [False, True])
def test_every_error_bit_has_a_name_and_an_unknown_one_its_number(old: bool) -> None:
    table = ERRORS_05 if old else ERRORS_06
    for bit in (1 << k for k in range(32)):
        [fault] = codec.parse_heartbeat(struct.pack("<IBxxx", bit, 1), old=old).faults
        assert fault == table.get(bit, fault)
        assert (fault.name == f"error 0x{bit:X}") == (bit not in table)


def test_replies_of_another_size_are_no_values() -> None:
    assert codec.parse_sdo(bytes.fromhex("00870100cdcccc3d"), "f") == (391, pytest.approx(0.1))
    for confirmation in ("00870100", "0087010001", ""):
        assert codec.parse_sdo(bytes.fromhex(confirmation), "f") is None


def test_version_and_address() -> None:
    assert codec.parse_version(bytes([2, 4, 4, 58, 0, 6, 10, 0])) == Version(0, 6, 10)
    assert str(Version(0, 6, 10)) == "0.6.10"
    assert codec.parse_version(b"\0\0") is None
    assert codec.parse_address(Frame(0x66, bytes.fromhex("03030000005538"))) == (3, 0x385500000003)
    assert codec.parse_address(Frame(0x66, b"", remote=True)) is None


@given(st.integers(0, 62), st.floats(-1e6, 1e6, width=32), st.floats(-32, 32), st.floats(-32, 32))
def test_a_setpoint_means_what_was_put_in_it(node: int, turns: float, velocity: float, torque: float) -> None:
    made = codec.input_pos(node, turns, codec.saturated(velocity, 0.001), codec.saturated(torque, 0.001))
    assert (made.id >> 5, made.id & 0x1F) == (node, Command.INPUT_POS)
    position, speed, push = struct.unpack("<fhh", made.data)
    assert position == turns
    assert speed * 0.001 == pytest.approx(velocity, abs=5.1e-4)
    assert push * 0.001 == pytest.approx(torque, abs=5.1e-4)


@given(st.lists(ANY_FRAME, max_size=20), st.booleans())
def test_any_frame_is_taken_and_only_whole_ones_change_values(frames: list[Frame], old: bool) -> None:
    readings = ODriveReadings(JOINTS, ODriveScale(JOINTS), BusCounters(), old=old)
    for said in frames:
        before = readings.position.copy()
        index = readings.take(said)
        if index is None:
            assert (before == readings.position).tolist() == (~(before != before)).tolist()
            continue
        assert (said.extended, said.remote, len(said.data)) == (False, False, 8)
        assert (said.id >> 5, said.id & 0x1F) == (JOINTS[index].id, Command.ESTIMATES)
