"""``wall-edge init``: what it writes loads when, and only when, every gap is filled."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from wall_edge.cli import app
from wall_edge.config import RobotConfig, load_robot
from wall_edge.config.embodiment import JointEntry
from wall_edge.errors import ConfigError, WallEdgeError
from wall_edge.motors.lerobot.document import gaps

ROOT = Path(__file__).parents[3]
SO101 = ROOT / "examples" / "so101"
FILE = SO101 / "calibration.json"
URDF = ROOT / "tests" / "data" / "urdf" / "so101.urdf"
NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
FILLS: dict[str, Any] = {
    "bundle": "bundle",
    "rest": [0.0],
    "port": "/dev/ttyACM0",
    "channel": "can0",
    "model": "DM4310",
    "lower": -1.0,
    "upper": 1.0,
    "max_velocity": 2.0,
    "max_acceleration": 100.0,
    "kp": 20.0,
    "kd": 1.0,
    "poses": {},
    "scale": 1.0,
    "offset": 0.0,
    "joint": "other",
    "cameras": {},
}
"""What may stand in a gap, by its key."""


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["init", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "robot.yaml"


def openarm(folder: Path, side: str) -> Path:
    path = folder / f"my_{side}.json"
    motor = {"drive_mode": 0, "homing_offset": 0, "range_min": -90, "range_max": 90}
    path.write_text(json.dumps({"joint_1": {"id": 1, **motor}, "gripper": {"id": 8, **motor}}))
    return path


def two_openarms(folder: Path) -> list[object]:
    files = [openarm(folder, side) for side in ("left", "right")]
    return ["--from-lerobot", files[0], "--from-lerobot", files[1], "--kind", "damiao"]


ROBOTS: dict[str, Callable[[Path], list[object]]] = {
    "one": lambda _: ["--from-lerobot", FILE, "--units", "degrees"],
    "urdf": lambda _: ["--from-lerobot", FILE, "--units", "m100", "--urdf", URDF],
    "dynamixel": lambda _: ["--from-lerobot", FILE, "--units", "m100", "--kind", "dynamixel"],
    "openarms": two_openarms,
}


def filled(data: Any, dof: int, but: str = "") -> Any:
    """``data`` with something in each gap, but in the one of that path."""
    data = copy.deepcopy(data)
    for gap in gaps(copy.deepcopy(data)):
        if gap != but:
            _fill(data, re.findall(r"[^.\[\]]+", gap), dof)
    return data


def _fill(data: Any, path: list[str], dof: int) -> None:
    *parents, key = path
    for parent in parents:
        data = data[int(parent)] if isinstance(data, list) else data[parent]
    data[key] = [0.0] * dof if key == "rest" else FILLS[key]


def load(path: Path, data: Any) -> RobotConfig:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load_robot(path)


def unlike_ports(data: Any) -> Any:
    for bus, drive in data["drives"].items():
        place = "port" if "port" in drive else "channel"
        drive[place] = f"{drive[place]}{bus}"
    return data


@pytest.mark.parametrize("robot", list(ROBOTS))
def test_each_gap_keeps_the_file_from_loading_and_is_named(robot: str, tmp_path: Path, out: Path) -> None:
    run(*ROBOTS[robot](tmp_path), "--out", out)
    data = yaml.safe_load(out.read_text())
    dof, missing = len(data["joints"]), list(gaps(data))
    assert {"bundle", "control.rest", "cameras"} <= set(missing)
    assert load(out, unlike_ports(filled(data, dof))).dof == dof
    for gap in missing:
        with pytest.raises(WallEdgeError, match=rf"{re.escape(gap)} is null; expected") as caught:
            load(out, filled(data, dof, but=gap))
        assert "\n" not in str(caught.value)


def test_the_output_names_every_gap_and_comments_mark_them(out: Path) -> None:
    output = run(*ROBOTS["urdf"](out.parent), "--out", out)
    listed = output.split("to be filled in: ")[1].split()
    assert "kinematics.joints.*.scale," in listed
    assert "joints[*].max_acceleration," in listed
    assert listed[-1] == "cameras"
    assert out.read_text().count("# GAP: ") == 7


def test_joints_and_units_are_the_files(out: Path) -> None:
    run(*ROBOTS["one"](out.parent), "--out", out, "--max-velocity", 2, "--max-acceleration", 12)
    config = load(out, filled(yaml.safe_load(out.read_text()), 6))
    motors = json.loads(FILE.read_text())
    assert [joint.name for joint in config.joints] == list(NAMES) == list(motors)
    for joint, motor in zip(config.joints, motors.values(), strict=True):
        facts: Any = joint
        ends = motor["range_min"], motor["range_max"]
        assert (facts.id, facts.direction, facts.homing_offset) == (motor["id"], 1, motor["homing_offset"])
        assert facts.range_ticks == ends
        assert facts.zero_ticks == (sum(ends) + 1) // 2
        assert (facts.max_velocity, facts.max_acceleration) == (2.0, 12.0)
    assert config.embodiment is not None
    entries = config.embodiment.action
    assert list(entries) == [f"{name}.pos" for name in NAMES]
    units = [entry.unit for entry in entries.values() if isinstance(entry, JointEntry)]
    assert units == ["own"] * 5 + ["percent"]


def test_an_arm_of_two_has_lerobots_prefixes_and_two_buses(tmp_path: Path, out: Path) -> None:
    left, right = tmp_path / "my_left.json", tmp_path / "my_right.json"
    left.write_bytes(FILE.read_bytes())
    right.write_bytes(FILE.read_bytes())
    files = ["--from-lerobot", left, "--from-lerobot", right, "--units", "m100"]
    run(*files, "--port", "/dev/ttyACM0", "--port", "/dev/ttyACM1", "--out", out)
    config = load(out, filled(yaml.safe_load(out.read_text()), 12))
    assert config.name == "my"
    assert {name: drive.place for name, drive in config.drives.items()} == {
        "left": "/dev/ttyACM0",
        "right": "/dev/ttyACM1",
    }
    assert [joint.name for joint in config.joints_of("right")] == [f"right_{name}" for name in NAMES]
    assert config.embodiment is not None
    assert list(config.embodiment.action)[:2] == ["left_shoulder_pan.pos", "left_shoulder_lift.pos"]


def test_a_urdf_gives_speeds_and_leaves_sense_and_zero_to_be_measured(tmp_path: Path, out: Path) -> None:
    """LeRobot's zero is the middle of the swept range: to take the URDF's would be a guess."""
    renamed = tmp_path / "other.urdf"
    renamed.write_text(URDF.read_text().replace('"elbow_flex"', '"elbow"'))
    output = run(
        "--from-lerobot", FILE, "--units", "degrees", "--urdf", renamed, "--out", out, "--max-velocity", 3
    )
    assert "not the URDF's: measure each scale and offset" in output
    assert "no joint of the URDF is called elbow_flex" in output
    assert "joints of the URDF that no motor is called as: elbow" in output
    data = yaml.safe_load(out.read_text())
    joints = data["kinematics"]["joints"]
    assert joints["shoulder_pan"] == {"joint": "shoulder_pan", "scale": None, "offset": None}
    assert joints["elbow_flex"]["joint"] is None
    assert [joint["max_velocity"] for joint in data["joints"]] == [3.0] * 6
    assert (out.parent / data["kinematics"]["urdf"]).resolve() == renamed


def test_openarms_limits_that_nobody_measured_are_gaps(tmp_path: Path, out: Path) -> None:
    output = run(*two_openarms(tmp_path), "--out", out)
    assert "LeRobot writes -90 to 90 of an OpenArm's joints, unmeasured" in output
    data = yaml.safe_load(out.read_text())
    assert {joint["lower"] for joint in data["joints"]} == {None}
    assert data["embodiment"]["action"]["right_gripper.pos"]["unit"] == "deg"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--from-lerobot", FILE), "no --units; expected degrees .* or m100"),
        (("--from-lerobot", FILE, "--units", "rad"), "--units is 'rad'; expected degrees or m100"),
        (("--from-lerobot", FILE, "--kind", "damiao", "--units", "m100"), "nothing else for damiao"),
        (("--from-lerobot", FILE, "--kind", "damiao"), r"shoulder_pan.range_min is 812; .* degrees"),
        (("--from-lerobot", FILE, "--kind", "stepper"), "--kind is 'stepper'"),
        (("--from-lerobot", FILE, "--from-lerobot", FILE), "another file than the left arm's"),
        (("--from-lerobot", FILE, *("--port", "a") * 2), "--port is .*as many as"),
        (("--from-lerobot", "none.json", "--units", "m100"), "none.json: No such file"),
        (("--from-lerobot", FILE, "--units", "m100", "--urdf", FILE), "malformed XML"),
        (("--from-lerobot", FILE, "--units", "m100", "--max-velocity", "-1"), "--max-velocity"),
        (("--from-lerobot", FILE, "--units", "m100", "--max-acceleration", "nan"), "--max-acceleration"),
        (("--from-lerobot", FILE, "--units", "m100", "--name", ""), "--name"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_nothing_is_written(
    arguments: tuple[object, ...], named: str, out: Path
) -> None:
    with pytest.raises(WallEdgeError, match=named) as caught:
        run(*arguments, "--out", out)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_sides_in_the_wrong_order_are_refused(tmp_path: Path, out: Path) -> None:
    files = [openarm(tmp_path, side) for side in ("right", "left")]
    with pytest.raises(ConfigError, match="the left arm's first"):
        run("--from-lerobot", files[0], "--from-lerobot", files[1], "--kind", "damiao", "--out", out)


def test_a_file_that_is_there_stays_unless_told(out: Path) -> None:
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists; expected a new file; add --force"):
        run(*ROBOTS["one"](out.parent), "--out", out)
    assert out.read_text() == "mine"
    run(*ROBOTS["one"](out.parent), "--out", out, "--force")
    assert out.read_text() != "mine"


def test_the_example_is_what_init_writes_with_its_gaps_filled(out: Path) -> None:
    example = load_robot(SO101 / "from_lerobot.yaml")
    run(*ROBOTS["one"](out.parent), "--out", out, "--max-velocity", 2, "--max-acceleration", 20)
    ours = load(out, filled(yaml.safe_load(out.read_text()), 6))
    assert example.joints == ours.joints
    assert example.embodiment == ours.embodiment


@pytest.mark.parametrize("kind", ["feetech", "dynamixel"])
def test_a_joint_that_was_barely_moved_is_told(kind: str, tmp_path: Path, out: Path) -> None:
    """A gripper of two ticks would be open and closed at once: LeRobot refuses equal ends alone."""
    calibration = json.loads(FILE.read_text())
    calibration["gripper"] |= {"range_min": 2035, "range_max": 2037}
    file = tmp_path / "arm.json"
    file.write_text(json.dumps(calibration))
    told = run("--from-lerobot", file, "--kind", kind, "--units", "degrees", "--out", out)
    assert "gripper: its range is less than 100 ticks" in told
