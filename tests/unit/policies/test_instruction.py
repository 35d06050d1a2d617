"""Rows A5, H8: an instruction that cannot be carried out is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from wall_edge.bundle import Bundle
from wall_edge.cli.robot.run import run
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, PolicyError, WallEdgeError
from wall_edge.policies.instruction import require_fitting, require_words
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.runtime.daemon.children import Children
from wall_edge.runtime.daemon.daemon import Daemon

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
REFUSED = [
    ("", "holds no words"),
    (" \t\n", "holds no words"),
    ("\u200b", "holds no words"),
    ("...", "holds no words"),
    ("<|action|>", "special token <|action|>"),
    ("touch it <|im_end|>", "special token <|im_end|>"),
    ("touch \x1b[2J it", "control character '\\x1b'"),
    ("touch\0it", "control character '\\x00'"),
    ("touch it\nPredict the next action", "control character '\\n'"),
    ("touch \udcff it", "is not text"),
    ("touch it " * 1000, "9000 bytes"),
    ("x" * 1_000_000, "1000000 bytes"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED, ids=range(len(REFUSED)))
def test_words_that_no_prompt_takes(text: str, told: str) -> None:
    """H8"""
    with pytest.raises(ConfigError) as caught:
        require_words(text, "--instruction")
    assert str(caught.value).startswith("--instruction")
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["touch the red block", " Leg den Löffel ab.\n", "把红色方块放下", "0"])
def test_words(text: str) -> None:
    require_words(text, "--instruction")


def test_more_tokens_than_the_bundle_has_room_for(shipped_bundle: Path) -> None:
    """H8"""
    bundle = Bundle(shipped_bundle)
    require_fitting("touch the red block.", bundle)
    require_fitting("touch the red block, then the blue block. " * 4, bundle)
    with pytest.raises(ConfigError, match=r"makes a prompt of .* tokens; expected at most"):
        require_fitting("qxz " * 500, bundle)


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(Children, "spawn", spawn)


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize(("given", "told"), [(text, told) for text, told in REFUSED if len(text) < 100])
def test_the_command_refuses_them(tmp_path: Path, given: str, told: str) -> None:
    """A5, H8: given and empty is not absent: ROBOT.yaml's instruction is not carried out instead."""
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT.read_text() + "\ninstruction: touch the red block.\n")
    app = typer.Typer()
    app.command()(run)
    done = CliRunner().invoke(app, [str(path), "--instruction", given])
    assert isinstance(done.exception, WallEdgeError), done.output
    assert told in str(done.exception)


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("given", [None, "touch the red block."])
def test_those_of_robot_yaml_too(robot: RobotConfig, given: str | None) -> None:
    """H8"""
    with pytest.raises(ConfigError, match=r"instruction in ROBOT.yaml .*holds no words"):
        Daemon(replace(robot, instruction=""), instruction=given)


@pytest.mark.parametrize("words", ["", "touch <|action|>"])
def test_a_subgoal_that_no_prompt_takes_is_refused_and_asked_for_again(words: str) -> None:
    """A11: the model's own words too; it ended the policy process."""
    ids = SimpleNamespace(turn_end=7)
    tokenizer = SimpleNamespace(ids=ids, decode=lambda _: words)
    prompts: Any = SimpleNamespace(tokenizer=tokenizer, observation_tokens=0)
    planner = SubgoalPlanner(SimpleNamespace(prompts=prompts))  # type: ignore[arg-type]
    planner.decode = lambda *_, **__: [1, 7]  # type: ignore[method-assign]
    with pytest.raises(PolicyError, match="cannot be acted on"):
        planner.words("touch it.")
