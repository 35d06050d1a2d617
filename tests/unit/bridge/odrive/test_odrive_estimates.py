"""Encoder estimates that ODrives send by themselves: the rate, and what is lost or late. In virtual time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.odrive import KIND, ODriveSettings
from wall_edge_bridge.kinds.odrive.codec import Command
from wall_edge_bridge.transport import Frame

from tests.drive_cases.odrive import CASE, JOINTS
from tests.drive_cases.rig import MS, START, Rig
from wall_edge.errors import BusTimeout, DriveError

CYCLIC = dataclasses.replace(CASE, settings=ODriveSettings())
SEVEN = (*JOINTS, dataclasses.replace(JOINTS[0], name="seventh", id=7))


def enabled(*, timed: bool = False, joints: tuple[object, ...] = JOINTS) -> Rig:
    positions = np.append(START, 0.0)[: len(joints)]
    rig = Rig(KIND, CYCLIC, joints=joints, positions=positions, timed=timed)  # type: ignore[arg-type]
    rig.drive.connect()
    rig.drive.check()
    rig.drive.enable()
    return rig


def test_seven_joints_have_the_ceiling_of_the_protocol() -> None:
    assert 1e9 / KIND.cycle_ns(CYCLIC.settings, SEVEN) == pytest.approx(529, abs=0.5)
    assert 1e9 / KIND.cycle_ns(CASE.settings, SEVEN) == pytest.approx(439, abs=1)


def test_estimates_sent_by_themselves_reach_ninety_percent_of_it() -> None:
    """Asked for, they cannot: the requests alone cost a sixth."""
    rig = enabled(timed=True, joints=SEVEN)
    hold = Setpoints.hold(np.append(START, 0.0))
    rig.drive.cycle(hold, rig.soon())
    begin = rig.clock()
    for _ in range(500):
        since = rig.clock()
        feedback = rig.drive.cycle(hold, rig.soon())
        assert (feedback.received_ns > since).all()
    rate = 500 / ((rig.clock() - begin) * 1e-9)
    assert 0.9 * 529 <= rate <= 529
    assert rig.drive.counters.errors == rig.drive.counters.late == rig.drive.counters.foreign == 0


@pytest.mark.parametrize("period_us", [1990, 2010, 2500, 4000])
def test_a_loop_of_any_period_is_not_dragged_along_by_the_motors_clock(period_us: int) -> None:
    """Waiting for an estimate that comes a little later in each tick would move the tick with it."""
    rig = enabled(timed=True)
    worst = 0
    for tick in range(450):
        start_ns = rig.clock()
        rig.drive.start_cycle(Setpoints.hold(START), start_ns + 20 * MS)
        feedback = rig.drive.finish_cycle(start_ns + 20 * MS)
        assert (rig.clock() - feedback.received_ns).max() <= 3.3 * MS
        if tick:
            worst = max(worst, rig.clock() - start_ns)
        rig.clock.sleep(start_ns + period_us * 1000)
    assert worst <= 0.6 * period_us * 1000
    assert rig.drive.counters.timeouts == 0


def test_every_estimate_carries_its_own_time_of_arrival() -> None:
    rig = enabled()
    rig.twin.silence(3)
    first = rig.drive.cycle(Setpoints.hold(START), rig.soon())
    rig.clock.sleep(rig.clock() + 10 * MS)
    second = rig.drive.cycle(Setpoints.hold(START), rig.soon())
    assert second.received_ns[3] == first.received_ns[3]
    assert (np.delete(second.received_ns, 3) > first.time_ns).all()
    assert rig.drive.counters.timeouts > 0


def test_one_lost_estimate_costs_its_joint_one_cycle_at_most() -> None:
    rig = enabled(timed=True)
    for nth in range(1, 7):
        rig.drive.cycle(Setpoints.hold(START), rig.soon())
        rig.twin.replies.drop(nth)
        begin = rig.clock()
        feedback = rig.drive.cycle(Setpoints.hold(START), begin + 3 * MS)
        assert (feedback.received_ns <= begin).sum() <= 1
        since = rig.clock()
        feedback = rig.drive.cycle(Setpoints.hold(START), since + 3 * MS)
        assert (feedback.received_ns > since - 2 * MS).all()


def test_when_all_are_silent_a_cycle_is_a_timeout() -> None:
    rig = enabled()
    for joint in range(6):
        rig.twin.silence(joint)
    rig.clock.sleep(rig.clock() + 10 * MS)
    rig.drive.cycle(Setpoints.hold(START), rig.soon())
    rig.clock.sleep(rig.clock() + 10 * MS)
    with pytest.raises(BusTimeout, match=JOINTS[0].name):
        rig.drive.cycle(Setpoints.hold(START), rig.soon())


@pytest.mark.parametrize(("period", "told"), [(None, "not by itself"), (10, "every 10"), (1, "every 1.0 ms")])
def test_estimates_of_another_period_are_told_with_what_to_set(period: int | None, told: str) -> None:
    rig = Rig(KIND, CYCLIC)
    rig.twin.motors[2].estimates_ms = period
    rig.drive.connect()
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*{told}.*every 2 ms.*encoder_msg_rate_ms"):
        rig.drive.check()


def test_an_encoder_without_an_estimate_gives_no_value() -> None:
    rig = enabled()
    before = rig.drive.cycle(Setpoints.hold(START), rig.soon())
    nothing = np.array([np.nan, 0.0], "<f4").tobytes()
    rig.twin.motors[0].estimates = lambda: Frame(1 << 5 | Command.ESTIMATES, nothing)
    rig.clock.sleep(rig.clock() + 10 * MS)
    after = rig.drive.cycle(Setpoints.hold(START), rig.soon())
    assert after.received_ns[0] == before.received_ns[0]
    assert np.isfinite(after.position).all()
