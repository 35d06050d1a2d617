"""From limp to held: faults that a start may clear, arms that sink meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from wall_edge_bridge.drives import Fault, Reaction

from tests.servo_rig import Rig
from wall_edge.runtime.ipc.mailbox_types import ServoState


@pytest.mark.parametrize("reaction", [Reaction.ONCE, Reaction.CHECK])
def test_a_fault_that_enable_may_clear_is_left_to_it(reaction: Reaction) -> None:
    """Lost once: any fault kept the loop from enabling, so that a tripped watchdog was never cleared."""
    rig = Rig()
    rig.drive.faults = ((Fault("lost communication", reaction),), ())
    enable = rig.drive.enable

    def cleared() -> None:
        enable()
        rig.drive.faults = ((), ())

    rig.drive.enable = cleared  # type: ignore[method-assign]
    loop = rig.run()
    assert (loop.state, loop.machine.fault) == (ServoState.RELEASED, None)


def test_a_fault_for_a_person_is_refused_before_torque() -> None:
    rig = Rig()
    rig.drive.faults = ((Fault("lost communication", Reaction.ONCE),), (Fault("overload"),))
    loop = rig.run()
    assert "joint pan reports lost communication; lift reports overload" in str(loop.machine.fault)
    assert "enable" not in rig.drive.calls
    assert not loop.touched


def test_a_fault_that_enable_left_is_told_in_the_first_cycle() -> None:
    rig = Rig()
    rig.drive.faults = ((Fault("lost communication", Reaction.ONCE),), ())
    loop = rig.run()
    assert "joint pan reports lost communication" in str(loop.machine.fault)
    assert loop.ticker.ticks < 110  # the first cycle, then the hold
    assert rig.drive.calls[-2:] == ["disable", "close"]


def test_the_first_setpoint_is_where_the_arm_was_powered() -> None:
    """Lost once: an arm that sank while torque went on was sent back to where it had been before."""
    rig = Rig()
    enable = rig.drive.enable

    def sinks() -> None:
        rig.drive.position -= 0.15
        enable()

    rig.drive.enable = sinks  # type: ignore[method-assign]
    loop = rig.run()
    np.testing.assert_allclose(rig.drive.written[0], 0.05, atol=1e-12)
    assert loop.machine.fault is None
    assert loop.joints.readings.implausible == 0
