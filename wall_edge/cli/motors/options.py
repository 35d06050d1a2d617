"""Which bus a command is about: one of ROBOT.yaml's, or one named by kind and place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wall_edge_bridge.drives import DriveSettings, SerialSettings
from wall_edge_bridge.kinds import KINDS, kind_named

from wall_edge.config import RobotConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import ConfigError

Robot = Annotated[Path | None, typer.Argument(help="ROBOT.yaml; or name --kind and --port or --channel.")]
DriveName = Annotated[str | None, typer.Option("--drive", help="Which of ROBOT.yaml's drives, if several.")]
KindName = Annotated[str | None, typer.Option("--kind", help=f"Kind of motor: {', '.join(KINDS)}.")]
Port = Annotated[str | None, typer.Option(help="Serial port.")]
Channel = Annotated[str | None, typer.Option(help="CAN channel.")]
Interface = Annotated[str | None, typer.Option(help="How the channel is reached: socketcan, slcan, …")]
Baudrate = Annotated[int | None, typer.Option(help="Of the serial port [bit/s].")]
Bitrate = Annotated[int | None, typer.Option(help="Of the CAN bus [bit/s].")]


def one_drive(config: RobotConfig, name: str | None) -> str:
    """The drive that is meant. Raises ConfigError when that is not clear."""
    if name is None and len(config.drives) == 1:
        return next(iter(config.drives))
    if name is None or name not in config.drives:
        what = "no --drive" if name is None else f"--drive {name}"
        raise ConfigError(what, expected=f"one of {', '.join(config.drives)}")
    return name


def require_no_other(robot: Path, **options: str | int | None) -> None:
    """Raises ConfigError for options of a bus beside a file that says where its motors are."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name} beside {robot}", expected="ROBOT.yaml or a bus by options, not both")


def named_settings(kind: str | None, **options: str | int | None) -> DriveSettings:
    """Of options that were given. Raises ConfigError for one that the kind does not have."""
    if kind is None:
        raise ConfigError(
            "neither ROBOT.yaml nor --kind", expected=f"a robot's file, or one of {', '.join(KINDS)}"
        )
    settings = kind_named(kind).settings
    place = "port" if issubclass(settings, SerialSettings) else "channel"
    keys = {name: value for name, value in options.items() if value is not None}
    if place not in keys:
        raise ConfigError(f"--kind {kind} without --{place}", expected=f"where its motors are: --{place}")
    return from_mapping(settings, {"kind": kind, **keys}, "the command line")
