"""``wall-edge can``: the CAN interfaces of this computer."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wall_edge.errors import BusError, ConfigError, printable

if TYPE_CHECKING:  # --help needs none of it
    from wall_edge.board import Tree

app = typer.Typer(help="The CAN interfaces of this computer.", no_args_is_help=True)
_COMMAND_S = 10.0
Rates = tuple[int, int | None]


@app.callback()
def can() -> None:
    """The CAN interfaces of this computer."""


@app.command()
def setup(
    robot: Annotated[Path | None, typer.Argument(help="ROBOT.yaml: the channels of its CAN drives.")] = None,
    channel: Annotated[str, typer.Option(help="Without ROBOT.yaml: the interface.")] = "can0",
    bitrate: Annotated[int, typer.Option(help="Without ROBOT.yaml: of its bus [bit/s].")] = 1_000_000,
    data_bitrate: Annotated[
        int | None, typer.Option(help="Without ROBOT.yaml: of CAN FD's data [bit/s].")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Run the 'ip link' lines (and nothing else) and report.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Read another machine's files, below this folder.")
    ] = None,
) -> None:
    """Print the 'ip link' lines that bring CAN interfaces up with a robot's bit rates, and a Jetson's pins.

    They hold until the next start; 'wall-edge udev --can' prints what lasts. Exit code 1 when --apply fails.
    """
    from wall_edge.board import Tree

    if apply and root is not None:
        raise ConfigError("--apply with --root", expected="one of them: another machine is not set up")
    channels = {channel: (bitrate, data_bitrate)} if robot is None else _channels(robot)
    _check(channels)
    if apply:
        for name, rates in channels.items():
            _apply(name, rates)
        return
    tree = Tree.below(root)
    for line in _lines(tree, channels):
        print(printable(line))


def _channels(robot: Path) -> dict[str, Rates]:
    from wall_edge.config import can_channels, load_robot

    config = load_robot(robot)
    channels = {
        each.channel: (each.bitrate, each.data_bitrate) for each in can_channels(config.drives).values()
    }
    if config.simulated or not channels:
        what = "is simulated" if config.simulated else "has no drive on a CAN interface"
        raise ConfigError(f"{config.name} {what}", expected="a real robot with one", fix="or name --channel")
    return channels


def _check(channels: dict[str, Rates]) -> None:
    from wall_edge_bridge.drives import CanSettings
    from wall_edge_bridge.transport.can_link import is_interface_name

    from wall_edge.config_loader import Invalid

    for name, (bitrate, data_bitrate) in channels.items():
        if not is_interface_name(name):
            raise Invalid("--channel", name, expected="an interface such as can0")
        CanSettings("any", channel=name, bitrate=bitrate, data_bitrate=data_bitrate)


def _lines(tree: Tree, channels: dict[str, Rates]) -> list[str]:
    from wall_edge_bridge.transport.can_link import set_up_lines

    from wall_edge.board import read_facts
    from wall_edge.board.can import can_interfaces, pin_commands

    interfaces = {interface.name: interface for interface in can_interfaces(tree)}
    lines = []
    for name, rates in channels.items():
        if name not in interfaces:
            lines += _missing(tree, name)
        lines += [f"sudo {line}" for line in set_up_lines(name, *rates)]
        pins = pin_commands(read_facts(tree).part_number, interfaces[name]) if name in interfaces else []
        if pins:
            lines += [
                f"# {name}: pins of the AGX Orin's header are GPIO until this, or jetson-io.py, makes them",
                "# CAN; a 3.3 V transceiver goes between them and the bus:",
                *pins,
            ]
        data = f" --data-bitrate {rates[1]}" if rates[1] else ""
        options = f"--interface {shlex.quote(name)} --bitrate {rates[0]}{data}"
        lines.append(f"# At each start: wall-edge udev --can {options} | sudo sh")
    return lines


def _missing(tree: Tree, name: str) -> list[str]:
    """What may bring an interface that does not exist."""
    from wall_edge.board.can import controllers

    if (nodes := controllers(tree)) and not tree.exists("/sys/module/mttcan"):
        return [
            f"# {name} is not there. The board's own controllers ({', '.join(nodes)}) need their driver:",
            "sudo modprobe -a can can_raw mttcan",
        ]
    return [f"# {name} is not there: plug its adapter in, or load its driver"]


def _apply(name: str, rates: Rates) -> None:
    """Raises BusError for a command that failed, with what it said, or when its bit rates are not those."""
    from wall_edge_bridge.transport.can_link import problem, read_link, set_up_lines

    for line in set_up_lines(name, *rates):
        words = shlex.split(line) if os.geteuid() == 0 else ["sudo", *shlex.split(line)]
        try:
            done = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=_COMMAND_S, check=False)
            trouble = done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            trouble = str(error)
        print(printable(f"{shlex.join(words)}: {trouble or 'done'}"))
        if trouble:
            raise BusError(f"{name} was not set up: {trouble}", fix="wall-edge doctor says what it needs")
    link = read_link(name)
    if link is None or (what := problem(link, *rates)):
        raise BusError(
            f"{name} {'does not exist' if link is None else what}",
            expected="it up with the bit rates of the lines above",
        )
    print(printable(f"{name}: {link.summary}"))
