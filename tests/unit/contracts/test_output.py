"""H14: text from files is text on a terminal: no markup, no control codes, no traceback."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from wall_edge.cli.console import SafeConsole
from wall_edge.errors import ConfigError, WallEdgeError, plural, printable


def printed(*objects: object) -> str:
    stream = io.StringIO()
    SafeConsole(file=stream, width=200, force_terminal=False).print(*objects)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["[/bold]", "[red]a[/red]", ":smile:", "[link=http://x]y"])
def test_markup_in_a_name_is_printed_as_it_is(name: str) -> None:
    table = Table(title=name, caption=name)
    table.add_column(name)
    table.add_row(name)
    assert printed(table).count(name) == 4
    assert printed(name) == f"{name}\n"


@pytest.mark.parametrize("name", ["\x1b[31mred", "bell\a", "\x9b31m", "\u202eabc", "nul\0"])
def test_control_codes_are_spelt(name: str) -> None:
    table = Table()
    table.add_column("name")
    table.add_row(name)
    for text in (printed(table), printed(name)):
        assert printable(name) in text
        assert all(character.isprintable() or character == "\n" for character in text)


def test_an_error_is_one_printable_line_of_bounded_length() -> None:
    error = str(WallEdgeError("x\x1b[1m\n" + "y" * 10**6, expected="z\0" * 10**5, fix="mend\ud800 it"))
    assert error.isprintable()
    assert len(error) < 3000
    assert r"x\x1b[1m y" in error
    assert error.endswith(r"mend\ud800 it")


def test_short_errors_are_as_they_were() -> None:
    assert str(ConfigError("a  is\n1", expected="2", fix="write 2")) == "a is 1; expected 2; write 2"


def test_one_of_a_thing_is_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    """``wall-edge tune`` said that 1 steps stay within an error."""
    assert [plural(count, "step") for count in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    tune = pytest.importorskip("wall_edge_export.cli.tune")
    tune._report([], 1, 0.02, 10, as_json=False)
    assert "1 step within 0.02: set policy.integration_steps: 1" in capsys.readouterr().out
