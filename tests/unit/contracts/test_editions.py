"""ROBOT.yaml's first edition (one ``drive``): it goes on working, also in parts; ``migrate`` rewrites it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.contracts.test_config import CAMERA, ROBOT, message
from wall_edge.cli.robot.config import app
from wall_edge.config import RobotConfig, load_robot, robot_from_mapping
from wall_edge.config.document.editions import second_edition
from wall_edge.config.document.migration import migrated
from wall_edge.errors import ConfigError

HERE = Path(__file__).parent
EXAMPLES = Path(__file__).parents[3] / "examples"
FIRST: dict[str, Any] = {
    key: value for key, value in ROBOT.items() if key not in ("simulated", "drives", "joints")
}
FIRST["drive"] = {"kind": "feetech", "port": "sim", "joints": ROBOT["joints"]}
WHOLE = ("first_edition/tabletop/robot.yaml", "first_edition/so101/robot.yaml")
OLDER = ("version_0_1/robot.yaml", "version_0_1/drifting.yaml")
"""Their schedulers are of another form besides."""


def write(path: Path, **data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("name", ["tabletop/robot.yaml", "tabletop/drifting.yaml", "so101/robot.yaml"])
def test_the_examples_are_the_robots_that_they_were(name: str) -> None:
    old, today = load_robot(HERE / "first_edition" / name), load_robot(EXAMPLES / name)
    assert replace(old, bundle=today.bundle) == today


def test_the_first_edition_is_the_second() -> None:
    assert robot_from_mapping(FIRST, "here") == robot_from_mapping(ROBOT, "here")


@pytest.mark.parametrize(
    ("drive", "parts"),
    [
        ({}, {"drives": {"arm": {}}}),
        ({"port": "sim"}, {"simulated": True, "drives": {"arm": {}}}),
        ({"port": "/dev/a"}, {"simulated": False, "drives": {"arm": {"port": "/dev/a"}}}),
        ({"timeout_ms": 5}, {"drives": {"arm": {"timeout_ms": 5}}}),
        ({"joints": []}, {"drives": {"arm": {}}, "joints": []}),
        ({"joints": None, "port": 3}, {"simulated": False, "drives": {"arm": {"port": 3}}, "joints": None}),
        (None, {"drives": {"arm": None}}),
    ],
)
def test_parts_of_documents(drive: object, parts: dict[str, object]) -> None:
    assert second_edition({"name": "a", "drive": drive, "x": 1}, "here") == {"name": "a", **parts, "x": 1}


def test_what_says_nothing_of_a_drive_is_of_both() -> None:
    part = {"extends": "robot.yaml", "name": "b"}
    assert second_edition(part, "here") == part


@pytest.mark.parametrize("key", ["simulated", "drives", "joints"])
def test_both_editions_in_one_file(tmp_path: Path, key: str) -> None:
    told = message(write(tmp_path / "robot.yaml", **FIRST, **{key: ROBOT[key]}))
    assert f"drive beside {key}; expected the first edition (drive) or the second" in told


def test_mistakes_are_told_with_where_their_keys_went(tmp_path: Path) -> None:
    told = message(write(tmp_path / "robot.yaml", **{**FIRST, "drive": {**FIRST["drive"], "baudrate": 1}}))
    assert "robot.yaml (first edition: drive is drives.arm and joints): drives.arm.baudrate is 1;" in told
    told = message(write(tmp_path / "robot.yaml", **{**FIRST, "drive": 3}))
    assert "drives.arm is 3; expected a mapping" in told


class TestPartsThatExtend:
    def test_first_extends_first(self, tmp_path: Path) -> None:
        write(tmp_path / "base" / "robot.yaml", **FIRST)
        camera = {**CAMERA, "kind": "opencv", "device": 0}
        path = write(
            tmp_path / "real.yaml",
            extends="base/robot.yaml",
            drive={"port": "dev/arm"},
            simulation=None,
            cameras={"face_view": camera, "wrist_view": {**camera, "device": 1}},
        )
        real = load_robot(path)
        assert not real.simulated
        assert real.drives["arm"].place == str(tmp_path / "dev" / "arm")
        assert real.joints == robot_from_mapping(ROBOT, "here").joints

    def test_first_extends_second_and_second_extends_first(self, tmp_path: Path) -> None:
        write(tmp_path / "first.yaml", **FIRST)
        write(tmp_path / "second.yaml", **ROBOT)
        a = load_robot(write(tmp_path / "a.yaml", extends="second.yaml", drive={"timeout_ms": 7}))
        b = load_robot(write(tmp_path / "b.yaml", extends="first.yaml", drives={"arm": {"timeout_ms": 7}}))
        assert a == b
        assert a.drives["arm"].timeout_ms == 7

    def test_its_joints_replace_all(self, tmp_path: Path) -> None:
        """As they did; those of the second edition are merged by their names."""
        write(tmp_path / "first.yaml", **FIRST)
        fewer = {"extends": "first.yaml", "control": {"rest": [0.0]}}
        path = write(tmp_path / "a.yaml", **fewer, drive={"joints": ROBOT["joints"][:1]})
        assert [joint.name for joint in load_robot(path).joints] == ["pan"]
        assert "control.rest" in message(write(path, **fewer, joints=ROBOT["joints"][:1]))

    @pytest.mark.parametrize("where", ["base", "child"])
    def test_the_kind_need_not_be_said(self, tmp_path: Path, where: str) -> None:
        drive = {key: value for key, value in FIRST["drive"].items() if key != "kind"}
        rest = {key: value for key, value in FIRST.items() if key != "drive"}
        parts = {"base": dict(rest), "child": {"extends": "base.yaml"}}
        parts[where]["drive"] = drive
        write(tmp_path / "base.yaml", **parts["base"])
        assert load_robot(write(tmp_path / "child.yaml", **parts["child"])).drives["arm"].kind == "feetech"


def again(text: str, place: Path) -> RobotConfig:
    """What a file with this text beside the old one says."""
    path = place.with_name("migrated.yaml")
    path.write_text(text)
    return load_robot(path)


class TestMigrate:
    @pytest.mark.parametrize("name", [*WHOLE, *OLDER])
    def test_the_result_is_the_same_robot(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "robot.yaml"
        path.write_bytes((HERE / name).read_bytes())
        text = migrated(path)
        data = yaml.safe_load(text)
        assert "drive" not in data
        assert {"simulated", "drives", "joints"} <= set(data)
        assert again(text, path) == load_robot(path)
        assert path.read_bytes() == (HERE / name).read_bytes()

    def test_a_file_that_extends_another(self, tmp_path: Path) -> None:
        write(tmp_path / "base.yaml", **FIRST)
        path = write(tmp_path / "robot.yaml", extends="base.yaml", drive={"timeout_ms": 5})
        assert yaml.safe_load(migrated(path)) == {
            "extends": "base.yaml",
            "drives": {"arm": {"timeout_ms": 5}},
        }

    def test_a_list_of_joints_that_replaced_another(self, tmp_path: Path) -> None:
        write(tmp_path / "base.yaml", **FIRST)
        fewer = {"control": {"rest": [0.0]}, "drive": {"joints": ROBOT["joints"][:1]}}
        path = write(tmp_path / "robot.yaml", extends="base.yaml", **fewer)
        with pytest.raises(ConfigError, match="would be another robot"):
            migrated(path)

    def test_another_folder_is_another_robot(self, tmp_path: Path) -> None:
        path = write(tmp_path / "robot.yaml", **FIRST)
        with pytest.raises(ConfigError, match="would be another robot; expected the same folder"):
            migrated(path, tmp_path / "there" / "robot.yaml")

    def test_the_second_edition_is_left_alone(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="says no 'drive'"):
            migrated(write(tmp_path / "robot.yaml", **ROBOT))

    def test_a_mistake_is_not_migrated(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"control.rest"):
            migrated(write(tmp_path / "robot.yaml", **{**FIRST, "control": {"rest": [9.0, 9.0]}}))


class TestTheCommand:
    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, ["migrate", *map(str, arguments)])

    def test_it_prints_and_says_that_comments_are_lost(self, tmp_path: Path) -> None:
        path = tmp_path / "robot.yaml"
        path.write_text(f"# mine\n{yaml.safe_dump(FIRST)}# the end\n")
        before = path.read_text()
        result = self.run(path)
        assert result.exit_code == 0
        assert result.stdout == migrated(path)
        assert result.stdout.endswith("\n")
        assert "2 comment lines of" in result.stderr
        assert "comments are not carried over" in result.stderr
        assert path.read_text() == before

    def test_it_overwrites_only_by_force(self, tmp_path: Path) -> None:
        path = write(tmp_path / "robot.yaml", **FIRST)
        old, before = load_robot(path), path.read_text()
        result = self.run(path, "--out", path)
        assert "exists; expected a new file; add --force" in str(result.exception)
        assert path.read_text() == before
        result = self.run(path, "--out", path, "--force")
        assert (result.exit_code, result.output) == (0, "")
        assert path.read_text() != before
        assert load_robot(path) == old
        assert "No such file" in str(self.run(tmp_path / "none.yaml").exception)
