"""Paths of poses inside the workspace: cut off, slowed, kept apart, and otherwise as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.body.two_arms import robot
from wall_edge.array_types import Floats
from wall_edge.body.model import RobotModel
from wall_edge.body.workspace import SPEED_SHARE, Confinement, Path
from wall_edge.errors import ConfigError, KinematicsError

BOX = {"x": [0.1, 0.4], "y": [-0.3, 0.3], "z": [0.0, 0.4]}
BOTH = {"left": {"frame": "table", "max_speed": 0.5}, "right": {"frame": "table", "max_speed": 0.5}}
DT = 1 / 30
LEFT, RIGHT = (0.24, 0.0, 0.2), (0.24, -0.17, 0.2)
"""Inside, each in its pose's frame: the left base stands at (0, 0.17, 0.01) of the table."""


def confinement(**workspace: Any) -> Confinement:
    config = robot(workspace=workspace)
    return Confinement.of(config, RobotModel.of(config))


def bounded(name: str = "right", **bounds: Any) -> Confinement:
    return confinement(poses={name: {"frame": "table", **bounds}})


def path(*positions: tuple[float, float, float]) -> Path:
    return np.array(positions), np.tile(np.eye(3), (len(positions), 1, 1))


def confined(what: Confinement, **paths: list[tuple[float, float, float]]) -> tuple[dict[str, Floats], int]:
    """From where each begins."""
    poses = {name: path(*positions) for name, positions in paths.items()}
    start = {"left": np.array(LEFT), "right": np.array(RIGHT)}
    start.update({name: positions[0][0] for name, positions in poses.items()})
    after, changed = what.confine(poses, start, DT)
    return {name: positions for name, (positions, _) in after.items()}, changed


def test_without_a_workspace_nothing_is_touched() -> None:
    config = robot()
    poses = {"right": path((9.0, 9.0, -9.0))}
    after, changed = Confinement.of(config, RobotModel.of(config)).confine(poses, {"right": np.zeros(3)}, DT)
    assert changed == 0
    assert after["right"][0] is poses["right"][0]


class TestBox:
    def test_a_path_inside_is_the_same_array(self) -> None:
        poses = {"right": path(RIGHT, (0.25, -0.17, 0.2))}
        after, changed = bounded(box=BOX).confine(poses, {"right": np.array(RIGHT)}, DT)
        assert (changed, after["right"][0] is poses["right"][0]) == (0, True)

    def test_what_is_outside_goes_to_the_nearest_inside_of_the_margin(self) -> None:
        outside = [RIGHT, (0.5, -0.17, 0.2), (0.05, -0.17, -0.2), (0.2, 0.9, 0.2)]
        after, changed = confined(bounded(box=BOX), right=outside)
        expected = [RIGHT, (0.395, -0.17, 0.2), (0.105, -0.17, 0.005), (0.2, 0.295, 0.2)]
        assert changed == 3
        assert after["right"] == pytest.approx(np.array(expected), abs=1e-12)

    def test_numbers_of_another_frame_are_turned_there_and_back(self) -> None:
        after, changed = confined(bounded("left", box=BOX), left=[LEFT, (0.24, 0.5, -0.3)])
        assert changed == 1
        assert after["left"][1] == pytest.approx([0.24, 0.295 - 0.17, 0.005 - 0.01])

    def test_the_table_is_the_floor_of_the_box(self) -> None:
        after, _ = confined(bounded(box=BOX, table_z=0.1), right=[RIGHT, (0.24, 0.0, 0.0)])
        assert after["right"][1, 2] == pytest.approx(0.105)
        after, _ = confined(bounded(table_z=0.1), right=[RIGHT, (99.0, 0.0, 0.0)])
        assert after["right"][1] == pytest.approx([99.0, 0.0, 0.105])

    def test_rounding_is_no_change(self) -> None:
        edge = (0.4 - 0.005 + 1e-12, 0.0, 0.2)
        assert confined(bounded(box=BOX), right=[RIGHT, edge])[1] == 0


class TestSpeed:
    MOST = SPEED_SHARE * 0.3 * DT

    def test_a_jump_becomes_a_way(self) -> None:
        after, changed = confined(bounded(max_speed=0.3), right=[RIGHT, *[(0.24, -0.17, 0.3)] * 20])
        assert changed == 12  # of 0.1 m at 8 mm a step
        steps = np.linalg.norm(np.diff(after["right"], axis=0), axis=1)
        assert steps[:12] == pytest.approx(self.MOST)
        assert after["right"][-1] == pytest.approx([0.24, -0.17, 0.3])

    def test_it_counts_from_where_the_tip_is(self) -> None:
        poses = {"right": path((0.3, -0.17, 0.2))}
        after, changed = bounded(max_speed=0.3).confine(poses, {"right": np.array(RIGHT)}, DT)
        assert changed == 1
        assert after["right"][0][0, 0] == pytest.approx(0.24 + self.MOST)

    def test_a_path_at_that_speed_is_left(self) -> None:
        line = [(0.2 + self.MOST * k, -0.17, 0.2) for k in range(10)]
        assert confined(bounded(max_speed=0.3), right=line)[1] == 0


class TestDistance:
    """Both tips in the table's axes: the left's y is 0.17 less in its own frame."""

    def apart(self, after: dict[str, Floats]) -> Floats:
        between: Floats = after["left"] + np.array([0, 0.17, 0.01]) - after["right"]
        apart: Floats = np.linalg.norm(between, axis=1)
        return apart

    def meeting(self, steps: int = 30) -> dict[str, list[tuple[float, float, float]]]:
        """Towards each other along y, through each other, and past."""
        y = np.linspace(0, 0.17, steps)
        return {
            "left": [(0.24, -v, 0.2) for v in y],
            "right": [(0.24, -0.17 + v, 0.21) for v in y],
        }

    def test_both_wait_where_they_would_come_too_near(self) -> None:
        after, changed = confined(confinement(tip_distance_m=0.06), **self.meeting())
        assert self.apart(after).min() >= 0.065 - 1e-9
        still = [k for k in range(1, 30) if (after["left"][k] == after["left"][k - 1]).all()]
        assert still
        assert changed >= len(still)
        assert (after["right"][still] == after["right"][[k - 1 for k in still]]).all()

    def test_they_go_on_when_the_paths_part_and_no_faster_than_their_speed(self) -> None:
        paths = {name: way + way[::-1] for name, way in self.meeting(20).items()}
        after, _ = confined(confinement(poses=BOTH, tip_distance_m=0.06), **paths)
        assert self.apart(after).min() >= 0.065 - 1e-9
        for name, way in after.items():
            steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
            assert steps.max() <= SPEED_SHARE * 0.5 * DT * (1 + 1e-9)
            assert way[-1] == pytest.approx(np.array(paths[name][-1]), abs=1e-9)

    def test_one_that_stands_counts_too(self) -> None:
        towards = [(0.24, -0.17 + 0.01 * k, 0.21) for k in range(40)]
        poses = {"right": path(*towards)}
        start = {"left": np.array(LEFT), "right": np.array(RIGHT)}
        after, changed = confinement(tip_distance_m=0.06).confine(poses, start, DT)
        assert list(after) == ["right"]
        assert changed > 5
        assert np.linalg.norm(after["right"][0] - [0.24, 0.17, 0.21], axis=1).min() >= 0.065 - 1e-9

    def test_tips_that_are_too_near_already_may_part(self) -> None:
        """And nothing else."""
        start = {"left": np.array([0.24, -0.15, 0.2]), "right": np.array([0.24, -0.01, 0.21])}
        what = confinement(tip_distance_m=0.06)
        nearer = {"right": path((0.24, 0.0, 0.21), (0.24, 0.01, 0.21))}
        after, changed = what.confine(nearer, start, DT)
        assert after["right"][0] == pytest.approx(np.tile(start["right"], (2, 1)))
        assert changed == 2
        apart = {"right": path((0.24, -0.03, 0.21), (0.24, -0.05, 0.21))}
        assert what.confine(apart, start, DT)[1] == 0

    def test_rotations_wait_as_well(self) -> None:
        turning = np.array(
            [[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in range(30)]
        )
        poses = {name: (np.array(way), turning) for name, way in self.meeting().items()}
        start = {"left": np.array(LEFT), "right": np.array(RIGHT)}
        after, _ = confinement(tip_distance_m=0.06).confine(poses, start, DT)
        positions, rotations = after["left"]
        for k in range(1, 30):
            stood = (positions[k] == positions[k - 1]).all()
            assert stood == (rotations[k] == rotations[k - 1]).all(), k

    def test_no_step_passes_through(self) -> None:
        """The ends of a step are far apart, its middle is not."""
        paths = {"left": [LEFT, (0.24, -0.34, 0.2)], "right": [RIGHT, RIGHT]}
        after, changed = confined(confinement(tip_distance_m=0.06), **paths)
        assert (changed, (after["left"][1] == LEFT).all()) == (1, True)


coordinate = st.floats(-0.6, 0.6)
positions = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=12)


@given(positions, positions)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_all_bounds_hold_and_a_second_time_changes_nothing(
    left: list[tuple[float, float, float]], right: list[tuple[float, float, float]]
) -> None:
    count = min(len(left), len(right))
    bounds = {"frame": "table", "box": BOX, "table_z": 0.05, "max_speed": 2.0}
    what = confinement(poses={"left": bounds, "right": bounds}, tip_distance_m=0.08)
    start = {"left": np.array(LEFT), "right": np.array(RIGHT)}
    poses = {"left": path(*left[:count]), "right": path(*right[:count])}
    after, _ = what.confine(poses, start, DT)
    in_table = {"left": after["left"][0] + [0, 0.17, 0.01], "right": after["right"][0]}
    for name, way in in_table.items():
        assert (way >= np.array([0.105, -0.295, 0.055]) - 2e-9).all()
        assert (way <= np.array([0.395, 0.295, 0.395]) + 2e-9).all()
        steps = np.linalg.norm(np.diff(after[name][0], axis=0, prepend=start[name][None]), axis=1)
        assert steps.max() <= SPEED_SHARE * 2.0 * DT + 2e-9
    assert np.linalg.norm(in_table["left"] - in_table["right"], axis=1).min() >= 0.085 - 1e-8
    again, changed = what.confine(after, start, DT)
    assert changed == 0
    assert all((again[name][0] == after[name][0]).all() for name in after)


class TestRefused:
    @pytest.mark.parametrize(
        ("workspace", "words"),
        [
            (
                {"poses": {"middle": {"frame": "table"}}},
                r"poses.middle.*one of kinematics.poses: left, right",
            ),
            ({"poses": {"left": {"frame": "table", "box": {**BOX, "x": [0.4, 0.1]}}}}, "lower end first"),
            (
                {"poses": {"left": {"frame": "table", "box": {**BOX, "x": [0.1, 0.105]}}}},
                r"workspace.poses.left.box.x is .*more than 2 · margin_m \(0.01 m\)",
            ),
            (
                {"poses": {"left": {"frame": "table", "box": BOX, "table_z": 0.395}}},
                r"box.z.*above table_z \(0.395\)",
            ),
            ({"poses": {"left": {"frame": "table", "max_speed": 0}}}, "max_speed is 0"),
            ({"tip_distance_m": -1}, "tip_distance_m is -1"),
        ],
    )
    def test_by_the_file_alone(self, workspace: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            robot(workspace=workspace)

    def test_a_workspace_without_kinematics(self) -> None:
        with pytest.raises(ConfigError, match=r"workspace.poses.left .* kinematics.poses: there are none"):
            robot(workspace={"poses": {"left": {"frame": "table"}}}, kinematics=None)

    def test_a_distance_of_one_tip(self) -> None:
        one = {"left": {"base": "left_base", "tip": "left_tip", "frame": "left_base"}}
        config = robot()
        assert config.kinematics is not None
        with pytest.raises(ConfigError, match=r"tip_distance_m is 0.1; .*two poses in kinematics.poses"):
            robot(
                workspace={"tip_distance_m": 0.1},
                kinematics={"urdf": str(config.kinematics.urdf), "poses": one},
            )

    @pytest.mark.parametrize(
        ("frame", "words"),
        [
            ("left_hand", r"workspace.poses.left.frame: joint left_\w+ moves link .*fixed to each other"),
            ("nowhere", r"workspace.poses.left.frame: no link nowhere"),
        ],
    )
    def test_a_frame_that_moves_against_the_base(self, frame: str, words: str) -> None:
        with pytest.raises(KinematicsError, match=words):
            bounded("left", **{"frame": frame, "table_z": 0.0})

    def test_two_poses_of_one_arm_have_no_distance(self) -> None:
        poses = {
            "hand": {"base": "left_base", "tip": "left_hand", "frame": "left_base"},
            "tip": {"base": "left_base", "tip": "left_tip", "frame": "left_base"},
        }
        config = robot()
        assert config.kinematics is not None
        config = robot(
            workspace={"tip_distance_m": 0.1},
            kinematics={"urdf": str(config.kinematics.urdf), "poses": poses},
        )
        with pytest.raises(KinematicsError, match="poses of two arms"):
            Confinement.of(config, RobotModel.of(config))
