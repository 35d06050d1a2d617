"""``wall-edge udev``: rules for stable device names, printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wall_edge.errors import ConfigError, printable


def udev(
    robot: Annotated[Path | None, typer.Argument(help="ROBOT.yaml: its ports and cameras.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Read another machine's files, below this folder.")
    ] = None,
    can: Annotated[
        bool,
        typer.Option(
            "--can", help="Print what brings a CAN interface, or a robot's, up at each start instead."
        ),
    ] = False,
    interface: Annotated[str, typer.Option(help="The CAN interface.")] = "can0",
    bitrate: Annotated[int, typer.Option(help="Of the CAN bus [bit/s].")] = 1_000_000,
    data_bitrate: Annotated[int | None, typer.Option(help="Of CAN FD's data [bit/s].")] = None,
) -> None:
    """Print udev rules for a robot's devices as they are plugged in now: names, group, latency.

    Installs nothing; the first lines say how to.
    """
    from wall_edge.board import Tree
    from wall_edge.config import can_channels, load_robot
    from wall_edge.doctor.can_network import can_network
    from wall_edge.doctor.rules import rules

    config = None if robot is None else load_robot(robot)
    if config is not None and config.simulated:
        raise ConfigError(f"{config.name} is simulated", expected="a robot with simulated: false")
    if not can:
        lines = rules(Tree.below(root), config)
    elif config is None:
        lines = can_network(interface, bitrate, data_bitrate)
    else:
        lines = [
            line
            for drive in can_channels(config.drives).values()
            for line in can_network(drive.channel, drive.bitrate, drive.data_bitrate)
        ]
        if not lines:
            raise ConfigError(f"{config.name} has no drive on a CAN interface", expected="one with a channel")
    for line in lines:
        print(printable(line))
