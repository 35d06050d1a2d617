"""What every drive must do so that no motor is powered, moved or believed by mistake. In virtual time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from wall_edge_bridge.drives import Reaction

from tests.drive_cases.rig import START, Rig
from wall_edge.errors import BusError, BusTimeout, ConfigError, DriveError, WallEdgeError


def test_connecting_checking_scanning_and_looking_write_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    before = rig.memory()
    with rig.drive as drive:
        drive.check()
        rig.scan()
        for _ in range(10):
            rig.cycle()
            drive.look(rig.soon())
        drive.torque()
    rig.wait(1.0)
    assert rig.sent
    assert rig.memory() == before
    assert not any(rig.powered())
    np.testing.assert_allclose(rig.standing(), START, atol=1e-9)


def test_connecting_to_an_arm_that_holds_leaves_it_so(rig: Rig) -> None:
    rig.case.unwatch(rig.twin)
    rig.drive.enable()
    rig.cycle(START)
    before = rig.memory()
    with rig.another_drive() as other:
        other.check()
        rig.scan()
        other.look(rig.soon())
    assert rig.memory() == before
    assert all(rig.powered())
    np.testing.assert_allclose(rig.standing(), START, atol=rig.near)


def test_looking_for_motors_that_are_not_there_writes_nothing_to_those_that_are(rig: Rig) -> None:
    rig.case.unwatch(rig.twin)
    rig.drive.enable()
    rig.cycle(START)
    before = rig.memory()
    others = [dataclasses.replace(joint, id=joint.id + 9) for joint in rig.joints]
    with pytest.raises(BusTimeout, match=rig.joints[0].name):
        rig.another_drive(joints=others).connect()
    rig.twin.silence(4)
    with pytest.raises(BusTimeout, match=rig.joints[4].name):
        rig.another_drive().connect()
    assert rig.scan([61, 62]) == []
    assert rig.memory() == before
    assert all(rig.powered())


def test_memory_of_the_case_is_what_enable_and_setpoints_change(rig: Rig) -> None:
    before = rig.memory()
    rig.drive.enable()
    rig.cycle(START + 0.1)
    assert rig.memory() != before


@pytest.mark.parametrize("silent", [[0], [5], [1, 3]])
def test_a_silent_motor_is_named_at_connect_and_only_it(
    make_rig: Callable[..., Rig], silent: list[int]
) -> None:
    rig = make_rig()
    for joint in silent:
        rig.twin.silence(joint)
    with pytest.raises(BusTimeout) as caught:
        rig.drive.connect()
    for index, joint in enumerate(rig.joints):
        assert (joint.name in str(caught.value)) == (index in silent)


def test_when_one_motor_does_not_take_part_none_is_enabled(rig: Rig) -> None:
    for joint in (0, 3, 5):
        rig.twin.silence(joint)
        with pytest.raises(WallEdgeError):
            rig.drive.enable()
        rig.twin.silence(joint, silent=False)
        rig.wait(0.1)
        assert not any(rig.powered())
    rig.drive.enable()
    assert all(rig.powered())


def test_disable_reaches_the_others_when_one_is_silent(rig: Rig) -> None:
    rig.drive.enable()
    rig.twin.silence(2)
    with pytest.raises(WallEdgeError):
        rig.drive.disable()
    assert [index for index, powered in enumerate(rig.powered()) if powered] in ([2], [])


@pytest.mark.parametrize("beyond", [(0, 1.06), (5, -1.56)])
def test_a_joint_beyond_its_limits_is_enabled_within_the_slack_only(
    make_rig: Callable[..., Rig], beyond: tuple[int, float]
) -> None:
    joint, position = beyond
    there = START.copy()
    there[joint] = position
    for slack in (0.0, 0.1):
        rig = make_rig(slack=slack, positions=there)
        rig.drive.connect()
        if slack:
            rig.drive.enable()
            rig.wait(0.2)
            np.testing.assert_allclose(rig.standing(), there, atol=rig.near)
            continue
        with pytest.raises(DriveError, match=rf"{rig.joints[joint].name}.*-1\.5 to 1 rad"):
            rig.drive.enable()
        assert not any(rig.powered())


def test_lost_torque_is_told_by_name(rig: Rig) -> None:
    rig.drive.enable()
    for _ in range(10):
        assert rig.cycle(START).limp == ()
    rig.twin.lose_torque(2)
    feedback = rig.until(lambda feedback: feedback.limp, rig.case.notices_within_s, START)
    assert feedback.limp == (rig.joints[2].name,)
    assert not rig.powered()[2]
    rig.drive.disable()
    assert rig.cycle().limp == ()


def test_a_motor_that_reboots_is_told_and_can_be_enabled_again(rig: Rig) -> None:
    armed = rig.drive.arm_watchdog(0.1)
    rig.drive.enable()
    rig.cycle(START)
    rig.twin.reboot(2, rig.clock())
    name = rig.joints[2].name
    rig.until(lambda feedback: name in feedback.limp or feedback.faults[2], 3.0, START)
    assert not rig.powered()[2]
    rig.drive.disable()
    assert rig.drive.arm_watchdog(0.1) == armed
    rig.drive.enable()
    assert all(rig.powered())
    rig.wait(0.05)
    np.testing.assert_allclose(rig.cycle(START).position, START, atol=rig.near)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_fault_is_told_by_name_and_one_that_needs_a_person_keeps_the_torque_off(
    rig: Rig, enabled: bool
) -> None:
    name = rig.case.a_fault
    if enabled:
        rig.drive.enable()
        rig.cycle(START)
    rig.twin.set_fault(1, name)
    told = rig.until(
        lambda feedback: feedback.faults[1], rig.case.notices_within_s, START if enabled else None
    )
    assert [(fault.name, fault.reaction) for fault in told.faults[1]] == [(name, Reaction.PERSON)]
    assert [faults for index, faults in enumerate(told.faults) if index != 1] == [()] * 5
    rig.drive.disable()
    for _ in range(2):
        with pytest.raises(DriveError, match=f"{rig.joints[1].name}.*{name}"):
            rig.drive.enable()
        assert not any(rig.powered())
    with pytest.raises(KeyError):
        rig.twin.set_fault(1, "no such fault")


def test_the_watchdog_is_armed_and_read_back(rig: Rig) -> None:
    armed = rig.drive.arm_watchdog(0.1)
    assert armed == (rig.case.watchdog_s if armed is None else pytest.approx(rig.case.watchdog_s))
    assert rig.kind.capabilities.watchdog == (armed is not None)
    assert bool(rig.drive.watchdog_note) == (armed is None)
    rig.drive.enable()
    for _ in range(50):
        assert rig.cycle(START).limp == ()
    assert all(rig.powered())


def test_a_watchdog_no_motor_can_count_is_refused(rig: Rig) -> None:
    if rig.case.watchdog_s is None:
        assert rig.drive.arm_watchdog(1e9) is None
        return
    for impossible in (1e9, 0.0, -1.0, float("nan")):
        with pytest.raises(DriveError):
            rig.drive.arm_watchdog(impossible)


def test_when_commands_cease_the_watchdog_stops_every_motor_in_its_time(rig: Rig) -> None:
    if rig.case.watchdog_s is None:
        rig.drive.enable()
        rig.wait(10.0)
        assert all(rig.powered())
        pytest.skip("the kind has none: it holds its last goal")
    armed = rig.drive.arm_watchdog(0.1)
    assert armed is not None
    rig.drive.enable()
    for step in range(20):
        rig.cycle(START + 0.002 * step)
    rig.wait(armed * 1.05 + 0.002)
    powered = rig.powered()
    rig.wait(0.2)  # limp joints coast
    stood = rig.standing()
    rig.wait(2.0)
    np.testing.assert_allclose(rig.standing(), stood, atol=rig.near)
    feedback = rig.until(
        lambda feedback: all(
            faults or joint.name in feedback.limp
            for faults, joint in zip(feedback.faults, rig.joints, strict=True)
        ),
        0.1,
    )
    assert any(powered) <= all(feedback.faults)  # powered still: then it must say why it takes no goal
    rig.drive.disable()
    rig.drive.arm_watchdog(0.1)
    rig.drive.enable()
    goal = np.clip(rig.standing() + 0.1, -1.5, 1.0)
    np.testing.assert_allclose(rig.follow(goal).position, goal, atol=rig.near)


def test_a_scan_finds_all_and_says_what_they_are(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    found = rig.scan()
    assert [(each.id, each.kind) for each in found] == [(joint.id, rig.kind.name) for joint in rig.joints]
    rig.twin.silence(3)
    found = rig.scan([joint.id for joint in rig.joints])
    assert [each.id for each in found] == [joint.id for joint in rig.joints if joint is not rig.joints[3]]


def test_an_id_is_changed_in_the_motors_memory_or_not_at_all(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    ids = [joint.id for joint in rig.joints]
    before = rig.memory()
    if rig.kind.set_id is None:
        pytest.skip("the maker's own tool does it")
    for old, new in ((ids[5], ids[0]), (99, 98), (ids[5], max(rig.kind.ids) + 1), (ids[5], -1)):
        with pytest.raises((DriveError, BusError, ConfigError)):
            rig.set_id(old, new)
        assert rig.memory() == before
    rig.set_id(ids[5], 9)
    found = [each.id for each in rig.scan()]
    assert found == [*ids[:5], 9]
    rig.twin.reboot(5, rig.clock())
    rig.wait(3.0)
    found = [each.id for each in rig.scan([ids[5], 9])]
    assert found == [9]
    assert not any(rig.powered())


def test_a_motor_that_moved_to_another_id_is_operated_there(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.set_id(rig.joints[5].id, 9)
    with pytest.raises(BusTimeout, match=rig.joints[5].name):
        rig.drive.connect()
    joints = [*rig.joints[:5], dataclasses.replace(rig.joints[5], id=9)]
    with rig.another_drive(joints=joints) as drive:
        feedback = drive.cycle(None, rig.soon())
    np.testing.assert_allclose(feedback.position, START, atol=rig.case.tolerance)
