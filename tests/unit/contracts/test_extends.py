"""``extends`` in ROBOT.yaml: what is merged, whose folder a path is relative to, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.contracts.test_config import ROBOT, message
from wall_edge.config import AsyncScheduler, RtcScheduler, SimulationConfig, load_robot
from wall_edge.config.document.extends import merged

REAL = {"simulated": False, "drives": {"arm": {"kind": "feetech", "port": "/dev/arm"}}}


def write(path: Path, **data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base" / "robot.yaml", **ROBOT)


def test_mappings_are_merged_and_lists_replaced(tmp_path: Path, base: Path) -> None:
    path = write(
        tmp_path / "child.yaml",
        extends="base/robot.yaml",
        control={"rest": [0.1, 0.2], "fifo_priority": None},
        simulation={"seed": 7},
    )
    child, parent = load_robot(path), load_robot(base)
    assert (child.control.rest, child.control.fifo_priority) == ((0.1, 0.2), None)
    assert (child.control.rest_velocity, child.joints) == (parent.control.rest_velocity, parent.joints)
    assert child.simulation is not None
    assert (child.simulation.seed, child.simulation.world) == (7, "tabletop")
    assert child.name == parent.name


def test_null_is_a_value(tmp_path: Path, base: Path) -> None:
    path = write(tmp_path / "child.yaml", extends=str(base), instruction=None, simulation=None)
    assert "simulation" in message(path)  # and not the base's section, which would be enough
    assert load_robot(write(path, extends=str(base), instruction=None)).instruction is None


def test_another_kind_replaces_the_whole(tmp_path: Path, base: Path) -> None:
    middle = write(
        tmp_path / "middle.yaml",
        extends=str(base),
        policy={"scheduler": {"kind": "rtc", "max_guidance": 3.0}},
    )
    same = write(tmp_path / "a.yaml", extends="middle.yaml", policy={"scheduler": {"form": "jacobian"}})
    other = write(tmp_path / "b.yaml", extends="middle.yaml", policy={"scheduler": {"kind": "async"}})
    assert load_robot(middle).policy.scheduler == RtcScheduler(max_guidance=3.0)
    assert load_robot(same).policy.scheduler == RtcScheduler("rtc", "jacobian", 3.0)
    assert load_robot(other).policy.scheduler == AsyncScheduler()


def test_what_a_file_in_the_middle_replaces_does_not_come_back(tmp_path: Path) -> None:
    first = {**ROBOT, "policy": {"scheduler": {"kind": "rtc", "max_guidance": 3.0}}}
    write(tmp_path / "first.yaml", **{**first, "simulation": {"seed": 5, "drift_mm_s": 30.0}})
    plain = {"scheduler": {"kind": "async"}}
    write(tmp_path / "middle.yaml", extends="first.yaml", policy=plain, simulation=None)
    last = {"scheduler": {"kind": "rtc"}}
    path = write(tmp_path / "last.yaml", extends="middle.yaml", policy=last, simulation={"seed": 1})
    assert load_robot(path).policy.scheduler == RtcScheduler()
    assert load_robot(path).simulation == SimulationConfig(seed=1)


def test_two_files_may_name_their_cameras_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``v.mp4`` beside either file is another file, wherever the command is called."""
    camera = {"kind": "opencv", "device": "v.mp4", "width": 64, "height": 64}
    real = {key: value for key, value in ROBOT.items() if key != "simulation"}
    real |= {**REAL, "cameras": {"left": camera}}
    write(tmp_path / "base" / "robot.yaml", **real)
    path = write(tmp_path / "a" / "a.yaml", extends="../base/robot.yaml", cameras={"right": camera})
    same = {**camera, "device": "../base/v.mp4"}
    twice = write(tmp_path / "a" / "b.yaml", extends="../base/robot.yaml", cameras={"right": same})
    for folder in ("base", "a"):
        monkeypatch.chdir(tmp_path / folder)
        assert len(load_robot(path).cameras) == 2
        assert "another device than that of cameras.left" in message(twice)


def test_paths_belong_to_the_file_that_says_them(tmp_path: Path) -> None:
    camera = {"kind": "opencv", "device": "cams/a", "width": 64, "height": 64}
    real = {key: value for key, value in ROBOT.items() if key != "simulation"}
    real |= {"simulated": False, "drives": {"arm": {"kind": "feetech", "port": "dev/arm"}}}
    write(tmp_path / "base" / "robot.yaml", **{**real, "cameras": {"left": camera}})
    plain = load_robot(write(tmp_path / "one" / "a.yaml", extends="../base/robot.yaml"))
    assert plain.bundle == tmp_path / "base" / "bundle"
    assert Path(plain.drives["arm"].place) == tmp_path / "one" / ".." / "base" / "dev" / "arm"
    assert Path(str(plain.cameras["left"].device)).resolve() == tmp_path / "base" / "cams" / "a"
    path = write(
        tmp_path / "two" / "b.yaml",
        extends="../base/robot.yaml",
        bundle="mine",
        cameras={"left": {"device": "mine"}},
    )
    own = load_robot(path)
    assert own.bundle == tmp_path / "two" / "mine"
    assert own.cameras["left"].device == str(tmp_path / "two" / "mine")


@pytest.mark.parametrize("extends", ["child.yaml", "other.yaml"])
def test_a_circle(tmp_path: Path, extends: str) -> None:
    write(tmp_path / "other.yaml", extends="child.yaml")
    assert "child.yaml: a circle" in message(write(tmp_path / "child.yaml", extends=extends))


def test_a_chain_that_is_too_long(tmp_path: Path) -> None:
    write(tmp_path / "0.yaml", **ROBOT)
    for number in range(1, 6):
        write(tmp_path / f"{number}.yaml", extends=f"{number - 1}.yaml")
    assert load_robot(tmp_path / "4.yaml").name == "tabletop"
    assert "extends more than 4 files" in message(tmp_path / "5.yaml")


@pytest.mark.parametrize(
    ("extends", "part"),
    [
        ("nowhere.yaml", "No such file"),
        (".", "a directory"),
        ("list.yaml", "no mapping"),
        (3, "extends is 3"),
        (None, "extends is None"),
        ("", "extends is ''"),
        ("a\0b", "extends is "),
        (["robot.yaml"], "extends is ["),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, extends: object, part: str) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert part in message(write(tmp_path / "child.yaml", extends=extends))


def test_a_mistake_names_both_files(tmp_path: Path, base: Path) -> None:
    told = message(write(tmp_path / "child.yaml", extends=str(base), control={"rate_hz": 1}))
    assert f"(extends {base})" in told
    assert "control.rate_hz is 1" in told


def test_neither_document_is_changed() -> None:
    base: dict[str, Any] = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    changes: dict[str, Any] = {"a": {"c": [3]}, "e": None}
    assert merged(base, changes) == {"a": {"b": 1, "c": [3]}, "d": 3, "e": None}
    assert (base, changes) == ({"a": {"b": 1, "c": [1, 2]}, "d": 3}, {"a": {"c": [3]}, "e": None})
