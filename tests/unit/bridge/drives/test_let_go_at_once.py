"""A dead bus takes seconds until it is given up: the arms on the others must be limp before that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from wall_edge_bridge.drives import Drive, Joint
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds import KINDS
from wall_edge_bridge.sim import VirtualClock, wire_to

from tests.drive_cases.rig import MS, START, load_case
from wall_edge.errors import BusTimeout


@pytest.mark.parametrize("name", KINDS)
def test_a_silent_bus_does_not_keep_another_powered(name: str) -> None:
    clock = VirtualClock()
    twins: list[Any] = []
    drives: dict[str, Drive] = {}
    joints: list[Joint] = []
    for bus, kind_name in (("dead", "odrive"), ("alive", name)):
        kind, case = load_case(kind_name)
        own = [replace(joint, name=f"{bus}_{joint.name}", drive=bus) for joint in case.joints]
        twins.append(kind.make_twin(case.settings, own, START))
        wire = wire_to(twins[-1], clock, clock.sleep)
        drives[bus] = kind.open_drive(case.settings, own, wire, clock=clock)
        joints += own
    group = DriveGroup(joints, drives, dict.fromkeys(drives, 20.0), clock)
    group.connect()
    group.enable()
    for index in range(len(START)):
        twins[0].silence(index, True)
    limp_at: list[int] = []
    collect, start_ns = twins[0].collect, clock()

    def noted(now_ns: int) -> Any:
        if not limp_at and not any(twins[1].powered(now_ns)):
            limp_at.append(now_ns)
        return collect(now_ns)

    twins[0].collect = noted
    with pytest.raises(BusTimeout, match="dead_"):
        group.disable()
    assert clock() - start_ns > 500 * MS
    assert limp_at
    assert limp_at[0] - start_ns <= 20 * MS
    assert not any(twins[1].powered(clock()))
