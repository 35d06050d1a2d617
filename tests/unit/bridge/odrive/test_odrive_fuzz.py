"""Random and mutated frames: no crash, nothing believed that is not whole, nothing moved."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from wall_edge_bridge.kinds.odrive import KIND
from wall_edge_bridge.kinds.odrive.codec import Command
from wall_edge_bridge.transport import Frame

from tests.drive_cases.odrive import CASE, JOINTS
from tests.drive_cases.rig import START, Rig
from wall_edge.errors import BusTimeout

FROM_ANYBODY = st.builds(
    Frame,
    id=st.integers(0, 0x7FF),
    data=st.binary(max_size=8),
    extended=st.booleans(),
    remote=st.booleans(),
)
FOREIGN = st.builds(
    Frame,
    id=st.one_of(st.integers(7 << 5, 0x7FF), st.integers(0, (1 << 29) - 1)),
    data=st.binary(max_size=8),
    extended=st.just(True),
)


@settings(max_examples=60)
@given(st.lists(FROM_ANYBODY, max_size=40))
def test_an_axis_takes_any_frame_and_has_torque_only_when_told(frames: list[Frame]) -> None:
    twin = KIND.make_twin(CASE.settings, JOINTS, START)
    told = False
    for tick, frame in enumerate(frames):
        twin.handle(frame, 1_000_000_000 + tick * 1_000_000)
        told |= frame.id & 0x1F == Command.SET_STATE and not frame.remote
    assert told or not any(twin.powered(2_000_000_000))


@settings(max_examples=60)
@given(st.lists(st.lists(FOREIGN, max_size=6), max_size=6))
def test_a_drive_takes_any_foreign_frame_and_believes_its_motors_only(bursts: list[list[Frame]]) -> None:
    rig = Rig(KIND, CASE)
    rig.drive.connect()
    for frames in bursts:
        for frame in frames:
            rig.twin.replies.put(frame, 0)
        with suppress(BusTimeout):
            np.testing.assert_allclose(rig.cycle().position, START, atol=CASE.tolerance)
