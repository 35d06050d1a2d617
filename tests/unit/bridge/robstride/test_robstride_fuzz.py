"""Random and mutated frames: no crash, nothing believed that is not whole, nothing moved."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from wall_edge_bridge.kinds.robstride import KIND
from wall_edge_bridge.kinds.robstride.codec import Type
from wall_edge_bridge.transport import Frame

from tests.drive_cases.rig import START, Rig
from tests.drive_cases.robstride import CASE, JOINTS
from wall_edge.errors import BusTimeout

IDS = [joint.id for joint in JOINTS]
FROM_ANYBODY = st.builds(
    Frame,
    id=st.integers(0, (1 << 29) - 1),
    data=st.binary(max_size=8),
    extended=st.booleans(),
    remote=st.booleans(),
)
TO_A_MOTOR = st.builds(
    lambda kind, data16, motor, data: Frame(kind << 24 | data16 << 8 | motor, data, extended=True),
    st.integers(0, 31),
    st.integers(0, 0xFFFF),
    st.sampled_from(IDS),
    st.binary(min_size=8, max_size=8),
)


@settings(max_examples=60)
@given(st.lists(st.one_of(FROM_ANYBODY, TO_A_MOTOR), max_size=30))
def test_a_motor_takes_any_frame_and_has_torque_only_when_told(frames: list[Frame]) -> None:
    twin = KIND.make_twin(CASE.settings, JOINTS, START)
    told = set()
    for tick, frame in enumerate(frames):
        twin.handle(frame, 1_000_000_000 + tick * 1_000_000)
        if frame.extended and not frame.remote and len(frame.data) == 8 and frame.id >> 24 == Type.ENABLE:
            told.add(frame.id & 0xFF)
    powered = {motor.id for motor, on in zip(twin.motors, twin.powered(2_000_000_000), strict=True) if on}
    assert powered <= told | {motor.id for motor in twin.motors if motor.id not in IDS}


@settings(max_examples=60)
@given(st.lists(st.lists(FROM_ANYBODY, max_size=6), max_size=6))
def test_a_drive_takes_any_frame_and_believes_whole_ones_of_its_motors_only(
    bursts: list[list[Frame]],
) -> None:
    rig = Rig(KIND, CASE)
    rig.drive.connect()
    for frames in bursts:
        for frame in frames:
            rig.twin.replies.put(frame, 0)
        with suppress(BusTimeout):
            rig.cycle()
    rig.wait(0.1)
    np.testing.assert_allclose(rig.cycle().position, START, atol=CASE.tolerance)
