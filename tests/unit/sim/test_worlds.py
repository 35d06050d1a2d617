"""The worlds by name, and what a world without tasks cannot do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from wall_edge.cli.robot import demo, run
from wall_edge.config import RobotConfig, SimulationConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.daemon.world import World
from wall_edge.sim import evaluate, worlds


class Blank(World):
    """Nothing happens here."""

    @property
    def body(self) -> Callable[..., None]:
        raise AssertionError("started")

    def on_message(self, message: object) -> None:
        raise AssertionError(message)


@pytest.fixture
def blank(robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> RobotConfig:
    assert robot.simulation is not None
    monkeypatch.setitem(worlds.WORLDS, "blank", Blank)
    simulation: Any = replace(robot.simulation, world="blank")  # type: ignore[arg-type]
    return replace(robot, simulation=simulation)


def test_robot_yaml_may_name_every_world() -> None:
    assert set(get_args(get_type_hints(SimulationConfig)["world"])) == set(worlds.WORLDS)


def test_an_arm_without_an_instruction_needs_a_world_with_tasks(
    blank: RobotConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(run, "load_robot", lambda _: blank)
    with pytest.raises(ConfigError, match="no instruction; expected --instruction TEXT"):
        run.run(tmp_path / "robot.yaml")


@pytest.mark.workstation
def test_the_demo_needs_a_world_with_tasks(
    blank: RobotConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(demo, "load_robot", lambda _: blank)
    with pytest.raises(ConfigError, match="lives where nobody gives it tasks"):
        demo.demo(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_virtual_time_knows_the_tabletop(blank: RobotConfig) -> None:
    with pytest.raises(ConfigError, match="lives in blank; expected tabletop or two_handed"):
        evaluate.check(blank, None, [])  # type: ignore[arg-type]
