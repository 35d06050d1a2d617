"""Whole episodes in virtual time, and what ``wall-edge eval`` makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from typer.testing import CliRunner

from wall_edge.bundle import Bundle
from wall_edge.cli import app
from wall_edge.config import SCHEDULERS, AsyncScheduler, NaiveScheduler, RobotConfig, load_robot
from wall_edge.errors import ConfigError
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.policy.action_loop import ActionLoop
from wall_edge.sim import evaluate as evaluation
from wall_edge.sim.evaluate import Cell, evaluate, violations
from wall_edge.sim.virtual import Delays, VirtualRobot

TABLETOP = Path(__file__).parents[2] / "examples" / "tabletop"
KEYS = {
    "scheduler": str,
    "delay_ms": float,
    "episodes": int,
    "successes": int,
    "success_rate": float,
    "median_s": float,
    "peak_jerk": float,
    "paused_s": float,
    "limit_violations": int,
    "fault": type(None),
    "final_state": str,
}


@pytest.fixture(scope="module")
def drifting(shipped_bundle: Path) -> RobotConfig:
    config = replace(load_robot(TABLETOP / "drifting.yaml"), bundle=shipped_bundle)
    evaluation._open(config, Bundle(config.bundle))
    return config


@pytest.fixture(scope="module")
def robot_file(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"extends": str(TABLETOP / "drifting.yaml"), "bundle": str(shipped_bundle)}
    path = tmp_path_factory.mktemp("robot") / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def run(
    config: RobotConfig,
    number: int,
    scheduler: str = "async",
    actions: ActionLoop | None = None,
    delays: Delays = Delays(100, 20, 100),  # noqa: B008 - frozen
) -> VirtualRobot:
    cell = Cell(SCHEDULERS[scheduler](), delays, 1)
    actions = actions or evaluation._actions(*evaluation._opened["robot"], cell)
    robot = VirtualRobot(config, actions, number, cell.delays)
    robot.start()
    robot.run(lambda: robot.world.episode.status != "running")
    robot.leave()
    return robot


def written(robot: VirtualRobot) -> npt.NDArray[np.float64]:
    return np.array(robot.drive.written)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_episode_is_a_function_of_its_seed_and_delays(drifting: RobotConfig, scheduler: str) -> None:
    """And not of what the same policy did before: the same episode twice in a row once began with the
    scheduler that the first had left behind, which saw no reason to look for a thousand seconds.
    """
    alone = run(drifting, 3, scheduler)
    assert alone.world.episode.status == "success"
    for number in (3, 6, 3):
        again = run(drifting, number, scheduler, actions=alone.actions)
        assert (written(again).tolist() == written(alone).tolist()) == (number == 3)
    assert again.world.episode.seconds == alone.world.episode.seconds


def test_an_episode_in_another_process(drifting: RobotConfig) -> None:
    """A row compares jerk, taken from every setpoint, to the last bit."""
    cell = Cell(AsyncScheduler(), Delays(100, 20, 100), 1)
    (row,) = evaluate(drifting, Bundle(drifting.bundle), [cell], jobs=1)
    here = evaluation._row(cell, [evaluation._episode(cell, 0)])
    assert row == here


def test_the_whole_daemons_decisions_are_in_the_log(drifting: RobotConfig) -> None:
    robot = run(drifting, 3)
    words = {(s.epoch, s.subgoal_id): s.text for s, _ in robot.subgoals}
    assert all(words[c.epoch, c.subgoal_id] == c.subgoal for c in robot.published)
    assert all(c.observation > 0 for c in robot.published)
    assert robot.loop.pilot.track.taken == len(robot.published)
    assert violations(robot)[1] == 0
    robot.stop()
    robot.run(lambda: robot.over)
    assert robot.loop.state is ServoState.RELEASED
    np.testing.assert_allclose(robot.drive.positions(), drifting.control.rest, atol=0.05)


def test_the_judge_of_the_setpoints_sees_what_the_limiter_must_not_do(drifting: RobotConfig) -> None:
    robot = run(drifting, 3)
    assert violations(robot)[1] == 0
    step = 1.01 * 4.0 / 250  # rad: faster than max_velocity, and by far too much jerk
    robot.drive.written.append(robot.drive.written[-1] + step)
    assert violations(robot)[1] >= 12


def test_rows_do_not_depend_on_the_number_of_processes(drifting: RobotConfig) -> None:
    cells = [Cell(AsyncScheduler(), Delays(0), 2), Cell(NaiveScheduler(), Delays(300, 0, 300), 2)]
    one, two = (list(evaluate(drifting, Bundle(drifting.bundle), cells, jobs)) for jobs in (1, 2))
    assert one == two
    assert [(row["scheduler"], row["delay_ms"]) for row in one] == [("async", 0), ("naive", 300)]


def test_eval_prints_a_json_list(robot_file: Path) -> None:
    options = ["--scheduler", "sync,async", "--delay-ms", "100", "--episodes", "1", "--json"]
    result = CliRunner().invoke(app, ["eval", str(robot_file), *options])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["scheduler"] for row in rows] == ["sync", "async"]
    for row in rows:
        assert {key: type(row[key]) for key in KEYS} == KEYS
        assert row["successes"] == row["episodes"] == 1
    assert rows[0]["paused_s"] > 0.2 > rows[1]["paused_s"]  # sync stands while it thinks


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scheduler", "asynch"], "scheduler 'asynch'.*did you mean 'async'"),
        (["--fault", "policy-kiled"], "fault 'policy-kiled'.*did you mean 'policy-killed'"),
        (["--delay-ms", "0,x"], "--delay-ms 0,x; expected milliseconds"),
        (["--delay-ms", "800"], r"scheduler async: a delay of 800 ms.*so 767 - 800 = -33 ms"),
        (["--delay-ms", "700", "--jitter-ms", "100"], "a delay of 800 ms"),
        (["--scheduler", "rtc", "--rtc-form", "jacobian"], "export it again with --guidance"),
        (["--bundle", "nowhere"], "nowhere"),
    ],
)
def test_what_eval_refuses(robot_file: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["eval", str(robot_file), *options])
    with pytest.raises(Exception, match=told):
        raise result.exception or AssertionError(result.output)


def test_a_real_robot_is_not_evaluated(drifting: RobotConfig) -> None:
    cameras = {
        name: replace(c, kind="opencv", device=i) for i, (name, c) in enumerate(drifting.cameras.items())
    }
    drives = {"arm": drifting.drives["arm"].at("/dev/ttyUSB0")}
    real = replace(drifting, simulated=False, drives=drives, cameras=cameras, simulation=None)
    with pytest.raises(ConfigError, match="not simulated"):
        evaluation.check(real, evaluation._opened["robot"][1], [])


def test_the_drifting_robot_is_the_tabletop_robot() -> None:
    still, drifting = (load_robot(TABLETOP / f"{name}.yaml") for name in ("robot", "drifting"))
    assert replace(drifting, name=still.name, simulation=still.simulation) == still
    assert still.simulation is not None
    assert drifting.simulation == replace(still.simulation, drift_mm_s=20, time_limit_s=5.0)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_arm_does_not_wander_off(drifting: RobotConfig, number: int) -> None:
    """A bug once: at 66 to 98 ms of delay chunks came every 100 ms, and each was blended in over 100 ms.

    None of them ever won over the motion before it, and half of the arms left the table.
    """
    assert run(drifting, number, delays=Delays(85, 0, 85)).world.episode.status == "success"
