"""Which robot and which checkpoint ``wall-edge demo`` exports, by ``--robot`` and ``--policy``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import pytest

from wall_edge.bundle import FamilyName
from wall_edge.cli.robot import demo, examples
from wall_edge.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "examples"
pytestmark = pytest.mark.workstation  # the demo exports, and draws a report
Exported = Callable[..., tuple[str, str]]


class ExportBegins(Exception):
    """The demo has decided."""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples of a clone: both robots, the tabletop with a policy of either generation."""
    folder = tmp_path / "examples"
    for robot in ("tabletop", "two_handed"):
        shutil.copytree(SHIPPED / robot, folder / robot, ignore=shutil.ignore_patterns("checkpoint", "*.py"))
    (folder / "tabletop_05").mkdir()
    (folder / "tabletop_05" / "robot.yaml").write_text("extends: ../tabletop/robot.yaml\nname: later\n")
    for name in ("tabletop", "tabletop_05", "two_handed"):
        (folder / name / "checkpoint").mkdir()
    monkeypatch.setattr(examples, "EXAMPLES", folder)
    return folder


@pytest.fixture
def exported(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Checkpoint and ROBOT.yaml that a demo would export, as paths below the examples."""
    said: list[str] = []

    def begin(*arguments: str) -> None:
        said.extend(arguments)
        raise ExportBegins

    monkeypatch.setattr(demo, "_wall_edge", begin)
    monkeypatch.setattr(demo, "_require_extras", lambda: None)

    def run(**options: str | Path) -> tuple[str, str]:
        with pytest.raises(ExportBegins):
            demo.demo(out=tmp_path / "out", **options)  # type: ignore[arg-type]
        command, weights, *rest = said
        assert command == "export"
        files = (Path(weights), Path(rest[rest.index("--robot") + 1]))
        return files[0].relative_to(clone).as_posix(), files[1].relative_to(clone).as_posix()

    return run


@pytest.mark.parametrize(
    ("options", "checkpoint", "robot"),
    [
        ({}, "tabletop/checkpoint", "tabletop/robot.yaml"),
        ({"policy": "wall-oss"}, "tabletop/checkpoint", "tabletop/robot.yaml"),
        ({"policy": "wall-oss-0.5"}, "tabletop_05/checkpoint", "tabletop_05/robot.yaml"),
        ({"robot": "tabletop-05"}, "tabletop_05/checkpoint", "tabletop_05/robot.yaml"),
        (
            {"robot": "tabletop_05", "policy": "wall-oss-0.5"},
            "tabletop_05/checkpoint",
            "tabletop_05/robot.yaml",
        ),
        ({"robot": "two-handed"}, "two_handed/checkpoint", "two_handed/robot.yaml"),
        ({"robot": "two_handed"}, "two_handed/checkpoint", "two_handed/robot.yaml"),
    ],
)
def test_an_example_brings_its_robot_and_its_policy(
    exported: Exported, options: Mapping[str, str], checkpoint: str, robot: str
) -> None:
    assert exported(**options) == (checkpoint, robot)


def test_other_motors_take_the_policy_of_their_world(exported: Exported, clone: Path) -> None:
    damiao = str(clone / "tabletop" / "damiao.yaml")
    assert exported(robot=damiao) == ("tabletop/checkpoint", "tabletop/damiao.yaml")


def test_other_motors_take_the_later_policy_too(exported: Exported, clone: Path) -> None:
    damiao = str(clone / "tabletop" / "damiao.yaml")
    assert exported(robot=damiao, policy="wall-oss-0.5") == ("tabletop_05/checkpoint", "tabletop/damiao.yaml")


def test_a_checkpoint_of_ones_own_needs_no_policy_of_the_example(exported: Exported, clone: Path) -> None:
    two_handed, trained = str(clone / "two_handed" / "robot.yaml"), clone / "tabletop" / "checkpoint"
    files = exported(robot=two_handed, policy="wall-oss-0.5", checkpoint=trained)
    assert files == ("tabletop/checkpoint", "two_handed/robot.yaml")


@pytest.mark.parametrize("robot", ["two-handed", "two_handed/robot.yaml"])
def test_two_hands_have_no_later_policy(clone: Path, tmp_path: Path, robot: str) -> None:
    robot = str(clone / robot) if robot.endswith("yaml") else robot
    with pytest.raises(ConfigError) as refused:
        demo.demo(robot=robot, policy="wall-oss-0.5", out=tmp_path / "out")
    assert str(refused.value) == (
        "two-handed has no wall-oss-0.5 policy; expected --policy wall-oss; "
        "robots with a wall-oss-0.5 policy: tabletop"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("checkpoint", [None, Path("trained")])
def test_an_unknown_generation_is_refused_with_those_that_there_are(
    tmp_path: Path, checkpoint: Path | None
) -> None:
    with pytest.raises(ConfigError, match=r"^policy 'wall-oss-1'; expected wall-oss or wall-oss-0\.5$"):
        demo.demo(policy="wall-oss-1", checkpoint=checkpoint, out=tmp_path / "out")


@pytest.mark.usefixtures("clone")
def test_what_is_no_example_is_told_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/robot\.yaml does not exist.*: tabletop, two-handed; run"):
        demo.demo(robot="nowhere", out=tmp_path / "out")


def test_every_generation_that_a_bundle_may_be_of_has_a_folder() -> None:
    assert tuple(examples.POLICIES) == get_args(FamilyName)
