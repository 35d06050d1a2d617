"""The commands and where they are: none is imported before it is called, so ``--help`` is fast.

The help that lists the commands reads their first paragraphs from the source files.
"""

from __future__ import annotations

import ast
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from inspect import cleandoc
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from wall_edge.errors import ConfigError
from wall_edge.signals import INTERRUPTED, blocked

COMMANDS = {
    "run": "wall_edge.cli.robot.run:run",
    "clear": "wall_edge.cli.robot.clear:clear",
    "release": "wall_edge.cli.robot.release:release",
    "service": "wall_edge.cli.robot.service:service",
    "init": "wall_edge.cli.robot.init:init",
    "config": "wall_edge.cli.robot.config:app",
    "inspect": "wall_edge.cli.bundle.inspect:inspect",
    "build": "wall_edge.cli.bundle.build:build",
    "probe": "wall_edge.cli.machine.probe:probe",
    "verify": "wall_edge.cli.bundle.verify:verify",
    "eval": "wall_edge.cli.robot.evaluate:evaluation",
    "bench": "wall_edge.cli.machine.bench:app",
    "doctor": "wall_edge.cli.machine.doctor:doctor",
    "udev": "wall_edge.cli.machine.udev:udev",
    "can": "wall_edge.cli.machine.can:app",
    "motors": "wall_edge.cli.motors:app",
    "deploy": "wall_edge.cli.bundle.deploy:deploy",
    "activate": "wall_edge.cli.bundle.activate:activate",
    "demo": "wall_edge.cli.robot.demo:demo",
}
"""The robot side's, by name: ``module:function``, or ``module:app`` of a :class:`typer.Typer`."""


@cache
def plugins() -> dict[str, str]:
    """What other installed rooms plug in (``export`` …), as ``COMMANDS``."""
    from importlib.metadata import entry_points  # slower than all else here

    return {plugin.name: plugin.value for plugin in entry_points(group="wall_edge.commands")}


class LazyGroup(TyperGroup):
    """Lists outlines of its commands; resolves, for a call or a shell's completion, to the commands.

    The types of the overridden methods differ between versions of typer, hence ``Any``.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS | plugins())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        target = _target(cmd_name)
        return None if target is None else TyperCommand(cmd_name, help=described(target))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        target = _target(args[0])
        if target is not None:
            return args[0], _load(args[0], target), args[1:]
        self.commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return super().resolve_command(ctx, args)  # which says what a misspelt name may mean

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _interruption_on_one_line():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _interruption_on_one_line():
            return super().invoke(ctx)


@contextmanager
def _interruption_on_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _target(name: str) -> str | None:
    return COMMANDS.get(name) or plugins().get(name)


def _load(name: str, target: str) -> Any:
    """The command, imported; stop signals wait until then, for what an extension module leaves half-made."""
    try:
        with blocked():
            return _command(name, pkgutil.resolve_name(target))
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "wall_edge":
            raise  # a name that this package lacks is a bug, and nothing to install
        raise ConfigError(
            f"{name} needs {error.name or error}",
            expected=f"the packages that {target.partition('.')[0]} imports",
            fix="install them",
        ) from error


def _command(name: str, command: Any) -> Any:
    holder = typer.Typer(add_completion=False)
    holder.callback()(_nothing)
    if isinstance(command, typer.Typer):
        holder.add_typer(command, name=name)
    else:
        holder.command(name)(command)
    return _with_brackets(get_group(holder).commands[name])


def _with_brackets(command: Any) -> Any:
    """The command, its help escaped: rich takes the unit ``[rad]`` for markup and leaves it out."""
    for each in (*command.params, *getattr(command, "commands", {}).values()):
        if hasattr(each, "params"):
            _with_brackets(each)
        elif getattr(each, "help", None):
            each.help = escape(each.help)
    return command


def _nothing() -> None:
    """A callback makes a group of a :class:`typer.Typer` with one command."""


def described(target: str) -> str:
    """The help of a command, from its source file alone: a docstring, or ``help=`` of a typer.Typer."""
    module, _, name = target.partition(":")
    try:
        loader = getattr(find_spec(module), "loader", None)
        source = loader.get_source(module) if loader is not None else None
    except ImportError:
        return ""
    for node in ast.parse(source or "").body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            texts = {word.arg: word.value for word in node.value.keywords}
            if name in {getattr(variable, "id", None) for variable in node.targets} and "help" in texts:
                return cleandoc(ast.literal_eval(texts["help"]))
    return ""


app = typer.Typer(
    name="wall-edge",
    cls=LazyGroup,
    help="From a WALL-OSS checkpoint to a moving arm.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(_nothing)
