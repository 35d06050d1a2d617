"""What is done about faults before torque goes on: by themselves once, after a check, or by a person."""

from __future__ import annotations

import pytest
from wall_edge_bridge.drives import Fault, Joint, Reaction
from wall_edge_bridge.drives.recovery import FaultRecovery

from wall_edge.errors import DriveError

JOINTS = [Joint(name, i, -1.0, 1.0, 1.0) for i, name in enumerate(("shoulder", "elbow", "wrist"), 1)]
ONCE, CHECK = Fault("lost communication", Reaction.ONCE), Fault("under-voltage", Reaction.CHECK)
PERSON = Fault("overload")


class Motors:
    """Faults of three joints, and what remains of their causes."""

    def __init__(self, *faults: tuple[Fault, ...]) -> None:
        self.faults = list(faults)
        self.cause = ""
        self.clearings: list[list[int]] = []
        self.recovery = FaultRecovery(JOINTS)

    def prepare(self) -> None:
        self.recovery.prepare(self.faults, lambda *_: self.cause, lambda i: self.clearings.append(list(i)))


def test_without_a_fault_nothing_is_cleared() -> None:
    motors = Motors((), (), ())
    motors.prepare()
    assert motors.clearings == []


def test_a_fault_of_its_own_kind_is_cleared_once_and_then_needs_a_person() -> None:
    motors = Motors((), (ONCE,), ())
    motors.prepare()
    assert motors.clearings == [[1]]
    for _ in range(2):
        with pytest.raises(DriveError, match=r"elbow \(id 2\) reports lost communication again;"):
            motors.prepare()
    motors.faults = [(), (), (ONCE,)]
    motors.prepare()
    assert motors.clearings == [[1], [2]]


def test_a_checked_fault_is_cleared_as_often_as_its_cause_is_gone() -> None:
    motors = Motors((CHECK,), (), ())
    motors.cause = "bus at 19.1 V, it needs 24"
    with pytest.raises(DriveError, match=r"shoulder \(id 1\) reports under-voltage: bus at 19.1 V"):
        motors.prepare()
    motors.cause = ""
    for _ in range(3):
        motors.prepare()
    assert motors.clearings == [[0]] * 3


@pytest.mark.parametrize("order", [(ONCE, PERSON), (PERSON, ONCE), (CHECK, PERSON)])
def test_one_fault_for_a_person_keeps_all_from_being_cleared(order: tuple[Fault, ...]) -> None:
    motors = Motors((ONCE,), order, ())
    with pytest.raises(DriveError, match=r"elbow \(id 2\) reports overload;"):
        motors.prepare()
    assert motors.clearings == []
    motors.faults = [(ONCE,), (), ()]  # which was not used up by the attempt
    motors.prepare()
    assert motors.clearings == [[0]]


def test_what_was_cleared_is_remembered_though_feedback_forgets_it_meanwhile() -> None:
    faults: list[list[Fault]] = [[], [ONCE], []]
    recovery = FaultRecovery(JOINTS)
    recovery.prepare(faults, lambda *_: "", lambda indices: [faults[i].clear() for i in indices])
    assert faults == [[], [], []]
    with pytest.raises(DriveError, match="again"):
        recovery.prepare([[], [ONCE], []], lambda *_: "", lambda _: None)
