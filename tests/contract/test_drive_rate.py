"""How fast every drive goes on a line that takes time: near its ceiling, and no longer than it must."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from wall_edge_bridge.drives import Setpoints

from tests.drive_cases.rig import START, Rig

CYCLES = 400


def seven(rig: Rig) -> Rig:
    """The same kind with seven joints, on a line that takes time."""
    first = rig.joints[0]
    last = rig.case.seventh or dataclasses.replace(
        first, name="seventh", id=max(joint.id for joint in rig.joints) + 1
    )
    seven = Rig(rig.kind, rig.case, joints=[*rig.joints, last], positions=np.append(START, 0.0), timed=True)
    seven.drive.connect()
    seven.drive.check()
    seven.drive.enable()
    return seven


def test_cycles_come_within_ninety_percent_of_the_ceiling(rig: Rig) -> None:
    rig = seven(rig)
    ceiling = 1e9 / rig.kind.cycle_ns(rig.case.settings, rig.joints)
    hold = np.append(START, 0.0)
    begin = rig.clock()
    for _ in range(CYCLES):
        since = rig.clock()
        feedback = rig.drive.cycle(Setpoints.hold(hold), rig.soon())
        assert (feedback.received_ns > since).all()
    rate = CYCLES / ((rig.clock() - begin) * 1e-9)
    assert 0.9 * ceiling <= rate <= 1.001 * ceiling
    assert rig.drive.counters.errors == 0


def test_the_first_half_of_a_cycle_waits_for_nobody(rig: Rig) -> None:
    rig = seven(rig)
    rig.wait(0.1)
    begin = rig.clock()
    rig.drive.start_cycle(Setpoints.hold(np.append(START, 0.0)), rig.soon())
    assert rig.clock() == begin
    rig.wait(0.01)  # another bus's turn
    feedback = rig.drive.finish_cycle(rig.soon())
    assert (feedback.received_ns > begin).all()
    assert rig.clock() == begin + 10_000_000


def test_joints_are_what_a_cycle_costs(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    one, six = (rig.kind.cycle_ns(rig.case.settings, rig.joints[:count]) for count in (1, 6))
    assert 0 < one < six
