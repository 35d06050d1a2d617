"""A pseudo-terminal in real time: motors whose line takes time answer when it is due."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive, Setpoints
from wall_edge_bridge.kinds import KINDS, kind_named
from wall_edge_bridge.sim import ByteTwin, PtyPort, serving_port
from wall_edge_bridge.transport import SerialTransport

from tests.drive_cases.feetech import CASE, JOINTS
from tests.drive_cases.rig import START
from wall_edge.errors import BusTimeout

FEETECH = kind_named("feetech")


SETTINGS = replace(CASE.settings, timeout_ms=1000)
"""What is asked outside of cycles is asked three times: a busy machine may stall for two seconds."""


def open_drive(port: PtyPort) -> Drive:
    return FEETECH.open_drive(SETTINGS, JOINTS, SerialTransport(port.path))


@pytest.mark.parametrize("timed", [False, True])
def test_a_drive_operates_motors_behind_a_port(timed: bool) -> None:
    twin = FEETECH.make_twin(CASE.settings, JOINTS, START, timed=timed)
    assert isinstance(twin, ByteTwin)
    with serving_port(twin) as port, open_drive(port) as drive:
        drive.check()
        drive.enable()
        begin, deadline = time.monotonic_ns(), time.monotonic() + 60
        cycles, feedback = 0, None
        while feedback is None or np.abs(feedback.position).max() > 0.01:
            assert time.monotonic() < deadline
            feedback = drive.cycle(Setpoints.hold(np.zeros(6)), time.monotonic_ns() + 10**10)
            cycles += 1
        took_ns = time.monotonic_ns() - begin
    assert feedback.faults == ((),) * 6
    if timed:
        assert took_ns >= cycles * FEETECH.cycle_ns(CASE.settings, JOINTS)


def test_a_late_reply_arrives_though_the_host_says_nothing_more() -> None:
    twin = FEETECH.make_twin(CASE.settings, JOINTS, START, timed=False)
    with serving_port(twin) as port:
        transport = SerialTransport(port.path)
        drive = FEETECH.open_drive(SETTINGS, JOINTS, transport)
        drive.connect()
        twin.replies.latency_ns = 3 * 10**9  # longer than this thread may stall before it looks
        with pytest.raises(BusTimeout):
            drive.cycle(None, time.monotonic_ns() + 5_000_000)
        assert transport.receive(1, time.monotonic_ns() + 60 * 10**9) == b"\xff"
        drive.close()


def test_both_ends_are_gone_after_close() -> None:
    assert "feetech" in KINDS
    with PtyPort() as port:
        assert port.baud == 1_000_000
        assert port.read() == b""
    port.close()
    assert (port.read(), port.baud) == (b"", None)
    port.write(b"into the void")
