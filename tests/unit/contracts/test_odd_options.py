"""Options that are empty, endless or no words: refused, where they were taken for left out or for granted."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_export.inputs.export_inputs import subgoal_tokens

from wall_edge.cli import app
from wall_edge.errors import ConfigError, WallEdgeError

ROBOT = str(Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "tiny", "--target", "thor", "--precision", ""), "precision ''"),
        (("probe", "--device", ""), "device is ''"),
        (("bench", "policy", "/nowhere", "--device", ""), "''"),
        (("eval", ROBOT, "--fault", ""), "fault ''"),
        (("eval", ROBOT, "--scheduler", ""), "scheduler ''"),
    ],
)
def test_an_empty_option_is_not_one_that_was_left_out(arguments: tuple[str, ...], words: str) -> None:
    """``eval --fault ""`` ran without a fault and ended with code 0."""
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, WallEdgeError), done.output
    assert words in str(done.exception)


@pytest.mark.parametrize("value", ["inf", "1e308", "99999999999"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", ROBOT, "--seconds"),
        ("run", ROBOT, "--record-period"),
        ("eval", ROBOT, "--jitter-ms"),
        ("eval", ROBOT, "--subgoal-delay-ms"),
        ("eval", ROBOT, "--jobs"),
        ("bench", "loop", "--seconds"),
        ("motors", "watch", ROBOT, "--seconds"),
        ("motors", "monitor", ROBOT, "--seconds"),
    ],
)
def test_a_time_without_an_end_is_a_wrong_command_line(arguments: tuple[str, ...], value: str) -> None:
    """``bench loop --seconds inf`` measured for ever."""
    assert CliRunner().invoke(app, [*arguments, value]).exit_code == 2


@pytest.mark.parametrize(
    ("line", "words"), [("touch\0it", "control character"), ("touch <|image_pad|>", "special token")]
)
def test_a_vocabulary_holds_words(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "subgoals.txt"
    path.write_text(f"touch the red block.\n{line}\n")
    with pytest.raises(ConfigError, match=rf"subgoals.txt: line 2.*{words}"):
        subgoal_tokens(path, None)  # type: ignore[arg-type]
