"""D: the command line imports a command when it is called; Ctrl-C is one line at any moment."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from wall_edge.cli import app
from wall_edge.cli import commands as command_line

EVERY = {**command_line.COMMANDS, **command_line.plugins()}

_WATCHED = """
import json, sys
from wall_edge.cli import main
sys.argv = ["wall-edge", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
_INTERRUPTED = """
import os, signal, sys
wanted = sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from wall_edge.cli import main
main()
"""


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_list_of_commands_imports_none_of_them() -> None:
    done = python(_WATCHED, "--help")
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stderr))
    heavy = {"numpy", "yaml", "PIL", "tokenizers", "torch", "wall_edge_engines", "wall_edge.config"}
    assert not imported & (heavy | {target.partition(":")[0] for target in EVERY.values()})
    assert all(f" {name} " in done.stdout for name in EVERY)


def test_the_help_of_run_does_without_the_daemon() -> None:
    done = python(_WATCHED, "run", "--help")
    assert done.returncode == 0, done.stderr
    assert not {"wall_edge.runtime.daemon.supervisor", "tokenizers"} & set(json.loads(done.stderr))


@pytest.mark.parametrize("name", EVERY)
def test_what_is_listed_is_what_is_called(name: str) -> None:
    group, context = _root()
    _, called, rest = group.resolve_command(context, [name, "--option"])
    outline = group.get_command(context, name)
    assert (called.name, rest) == (name, ["--option"])
    assert called.help
    assert outline.get_short_help_str(500) == called.get_short_help_str(500)


def test_a_misspelt_command_is_guessed() -> None:
    done = CliRunner().invoke(app, ["exprot"])
    assert done.exit_code == 2
    assert "'export'" in done.output


@pytest.mark.parametrize(("typed", "offered"), [(["ex"], "export"), (["run", "--rec"], "--record-period")])
def test_a_shell_completes_commands_and_their_options(typed: list[str], offered: str) -> None:
    from typer._completion_classes import completion_init

    completion_init()
    words = {"_WALL_EDGE_COMPLETE": "complete_bash", "COMP_CWORD": str(len(typed))}
    words["COMP_WORDS"] = " ".join(["wall-edge", *typed])
    done = CliRunner().invoke(app, prog_name="wall-edge", env=words)
    assert offered in done.output.split()


def test_a_plugin_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "plugins", lambda: {"absent": "no_such_room.cli:app"})
    listed = CliRunner().invoke(app, ["--help"])
    assert listed.exit_code == 0
    assert "absent" in listed.output
    called = CliRunner().invoke(app, ["absent"])
    assert str(called.exception) == (
        "absent needs no_such_room; expected the packages that no_such_room imports; install them"
    )


def test_a_name_that_our_own_module_lacks_is_no_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by who forgot a name in ``wall_edge/config/__init__.py``: "eval needs wall_edge.config"."""

    def import_it(_: str) -> None:
        raise ImportError("cannot import name 'Half' from 'wall_edge.config'", name="wall_edge.config")

    monkeypatch.setattr(command_line.pkgutil, "resolve_name", import_it)
    assert isinstance(CliRunner().invoke(app, ["eval"]).exception, ImportError)


@pytest.mark.workstation
def test_the_readme_has_every_command() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert [name for name in EVERY if f"\n| `wall-edge {name}" not in readme] == []


def test_plugins_are_the_installed_entry_points() -> None:
    found = importlib.metadata.entry_points(group="wall_edge.commands")
    assert command_line.plugins() == {entry.name: entry.value for entry in found}
    assert {"export", "checkpoint", "tune"} <= set(found.names)


@pytest.mark.parametrize("imported", ["typer", "wall_edge.cli.robot.run", "numpy", "tokenizers"])
def test_a13_ctrl_c_during_the_imports_is_one_line(imported: str) -> None:
    done = python(_INTERRUPTED, imported, "run", os.devnull)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def _root() -> tuple[Any, Any]:
    from typer.main import get_group

    group = get_group(command_line.app)
    return group, group.make_context("wall-edge", ["run"])
