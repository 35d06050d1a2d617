"""Leaving the workspace in a servo loop: it brakes inside, says what was left, and a person must look."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servo_rig import CONFIG, DT, Rig, require_within_limits
from wall_edge.array_types import Floats
from wall_edge.bundle import Pose
from wall_edge.config import Box, KinematicsConfig, PoseBounds, RobotConfig, WorkspaceConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.latch import require_unlatched
from wall_edge.runtime.servo import process

URDF = """<robot name="crane">
  <link name="table"/><link name="post"/><link name="boom"/><link name="hook"/>
  <joint name="pan" type="revolute"><parent link="table"/><child link="post"/><origin xyz="0 0 0.1"/>
    <axis xyz="0 0 1"/><limit lower="-1" upper="1" velocity="2" effort="9"/></joint>
  <joint name="lift" type="revolute"><parent link="post"/><child link="boom"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="1" velocity="2" effort="9"/></joint>
  <joint name="end" type="fixed"><parent link="boom"/><child link="hook"/><origin xyz="0.3 0 0"/></joint>
</robot>"""
"""The hook is at 0.1 - 0.3 · sin(lift) above the table."""
REST = [0.0, -0.5]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def crane(tmp_path: Path, rest: list[float] | None = None, **bounds: Any) -> RobotConfig:
    (tmp_path / "crane.urdf").write_text(URDF)
    poses = {"hook": Pose("table", "hook", "table")}
    return replace(
        CONFIG,
        control=replace(CONFIG.control, rest=tuple(rest or REST)),
        kinematics=KinematicsConfig(tmp_path / "crane.urdf", poses),
        workspace=WorkspaceConfig({"hook": PoseBounds("table", **bounds)}),
    )


def hook(written: list[Floats]) -> Floats:
    """[n, 3] m, of setpoints."""
    pan, lift = np.array(written).T
    reach = 0.3 * np.cos(lift)
    return np.stack([reach * np.cos(pan), reach * np.sin(pan), 0.1 - 0.3 * np.sin(lift)], -1)


def started(rig: Rig) -> list[Floats]:
    return [np.array([0.2, 0.2]), *rig.drive.written]


def test_a_chunk_into_the_table_brakes_above_it_and_latches(tmp_path: Path) -> None:
    config = crane(tmp_path, table_z=0.0)
    rig = Rig(config)
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(t5=lambda: rig.send([[0.2, 0.2 + 0.1 * k] for k in range(8)], dt_ms=100))
    assert rig.order() == [ServoState.HOLDING, ServoState.FOLLOWING, ServoState.FAULT]
    assert loop.machine.fault is not None
    assert "the tip of pose hook could no longer stop before z -0.0" in loop.machine.fault
    assert "expected at least 0 m (workspace.poses.hook.table_z)" in loop.machine.fault
    heights = hook(rig.drive.written)[:, 2]
    assert 0.0 <= heights.min() < 0.01
    require_within_limits(rig.drive.written, [0.2, 0.2])
    assert (rig.drive.written[-1] == rig.drive.written[-2]).all()
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert rig.summary()["workspace"] == {"stops": 1}
    process._latch(config, loop)
    with pytest.raises(RuntimeFault, match="test faulted and was not cleared: the tip of pose hook"):
        require_unlatched(config)


def test_what_stays_inside_is_not_touched(tmp_path: Path) -> None:
    free, watched = Rig(), Rig(crane(tmp_path, table_z=0.0))
    for rig in (free, watched):
        rig.tell(ServoCommand.FOLLOW)
        rig.run(t5=partial(rig.send, [[0.2 + 0.03 * k, 0.2 - 0.05 * k] for k in range(8)]))
    assert watched.order() == free.order()
    assert watched.summary()["workspace"] == {"stops": 0}
    assert np.array(watched.drive.written) == pytest.approx(np.array(free.drive.written), abs=1e-12)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"table_z": 0.06}, "the tip of pose hook starts at z 0.0404 m; expected at least 0.06 m"),
        (
            {"box": Box((0.0, 0.25), (-1.0, 1.0), (-1.0, 1.0))},
            "pose hook starts at x 0.2882 m; expected 0 to 0.25",
        ),
    ],
)
def test_an_arm_outside_is_not_powered(tmp_path: Path, bounds: dict[str, Any], words: str) -> None:
    rest = [0.9, -0.8] if "box" in bounds else None
    rig = Rig(crane(tmp_path, rest, **bounds))
    loop = rig.run()
    assert loop.machine.fault is not None
    assert words in loop.machine.fault
    assert "by hand" in loop.machine.fault
    assert not {"arm", "enable", "write", "disable"} & set(rig.drive.calls)
    assert rig.summary()["workspace"] == {"stops": 0}


def test_a_rest_outside_is_refused_before_power(tmp_path: Path) -> None:
    rig = Rig(crane(tmp_path, rest=[0.0, 0.8], table_z=0.0))
    loop = rig.run()
    assert loop.machine.fault is not None
    assert (
        "control.rest: the tip of pose hook is at z -0.1152 m there; expected at least 0 m"
        in loop.machine.fault
    )
    assert "enable" not in rig.drive.calls


def test_a_urdf_that_is_gone_is_refused_before_power(tmp_path: Path) -> None:
    config = crane(tmp_path, table_z=0.0)
    (tmp_path / "crane.urdf").unlink()
    rig = Rig(config)
    assert "crane.urdf" in str(rig.run().machine.fault)
    assert "enable" not in rig.drive.calls


def test_joints_that_are_outside_though_their_setpoints_are_not(tmp_path: Path) -> None:
    """As of an arm that sags: in the end 0.15 rad lower than where it was told to be."""
    rig = Rig(crane(tmp_path, table_z=0.0))

    def sag() -> None:
        rig.drive.offset[1] += 0.05

    loop = rig.run(t20=sag, t21=sag, t22=sag)
    assert loop.machine.fault is not None
    assert "the tip of pose hook is at z -0.0029 m; expected at least 0 m" in loop.machine.fault
    assert ServoState.FAULT in rig.order()
    assert (hook(rig.drive.written)[:, 2] > 0.04 - 1e-9).all()
    assert rig.summary()["workspace"] == {"stops": 1}


def test_the_way_to_rest_is_open_and_slow_enough(tmp_path: Path) -> None:
    rig = Rig(crane(tmp_path, table_z=0.0, max_speed=0.1))
    rig.run(t20=lambda: rig.tell(ServoCommand.STOP))
    assert rig.order() == [ServoState.HOLDING, ServoState.STOPPING, ServoState.RELEASED]
    path = hook(started(rig))
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / DT
    assert 0.05 < speeds.max() <= 0.1
    assert rig.drive.written[-1] == pytest.approx(REST, abs=1e-3)


def test_the_way_to_rest_is_watched(tmp_path: Path) -> None:
    """It swings through x = 0.3, beyond the box, from one side to the other."""
    box = Box((0.0, 0.295), (-1.0, 1.0), (0.0, 1.0))
    rig = Rig(crane(tmp_path, [-0.9, 0.2], box=box))
    loop = rig.run(t20=lambda: rig.tell(ServoCommand.STOP))
    assert rig.order() == [ServoState.HOLDING, ServoState.STOPPING, ServoState.RELEASED]
    rig = Rig(crane(tmp_path, [-0.9, -0.2], box=box))
    loop = rig.run(t20=lambda: rig.tell(ServoCommand.STOP))
    assert rig.order() == [ServoState.HOLDING, ServoState.STOPPING, ServoState.FAULT]
    assert "pose hook could no longer stop before x 0.2" in str(loop.machine.fault)
    assert (hook(rig.drive.written)[:, 0] <= 0.295).all()


def test_a_tip_that_is_told_to_be_too_fast_is_slowed_down(tmp_path: Path) -> None:
    rig = Rig(crane(tmp_path, max_speed=0.2))
    rig.tell(ServoCommand.FOLLOW)
    rig.run(t5=lambda: rig.send([[0.2 + 0.1 * k, 0.2] for k in range(8)], dt_ms=50))
    assert ServoState.FAULT not in rig.order()
    speeds = np.linalg.norm(np.diff(hook(started(rig)), axis=0), axis=1) / DT
    assert 0.16 < speeds.max() <= 0.2
    require_within_limits(rig.drive.written, [0.2, 0.2])


def test_a_tip_that_is_too_fast_all_the_same(tmp_path: Path) -> None:
    """Motors that go farther than they are told."""
    rig = Rig(crane(tmp_path, max_speed=0.2))

    def run_away() -> None:
        rig.drive.offset[0] += 0.02

    loop = rig.run(**{f"t{tick}": run_away for tick in range(20, 60)})
    assert "pose hook moved at 0." in str(loop.machine.fault)
    assert "expected at most 0.2 m/s (workspace.poses.hook.max_speed)" in str(loop.machine.fault)
    assert rig.summary()["workspace"] == {"stops": 1}
