"""``wall-edge motors scan``: who answers on a bus."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from wall_edge_bridge.drives import DriveSettings
from wall_edge_bridge.kinds import MotorIdentity

from wall_edge.cli.console import SafeConsole
from wall_edge.cli.motors.options import (
    Baudrate,
    Bitrate,
    Channel,
    Interface,
    KindName,
    Port,
    Robot,
    named_settings,
    require_no_other,
)
from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import BusError, BusTimeout
from wall_edge.motors.access import motor_places
from wall_edge.motors.roll_call import Line, at_every_baudrate, compared, look_for
from wall_edge.signals import interruptible


def scan(
    robot: Robot = None,
    kind: KindName = None,
    port: Port = None,
    channel: Channel = None,
    interface: Interface = None,
    baudrate: Baudrate = None,
    bitrate: Bitrate = None,
    every_baudrate: Annotated[
        bool, typer.Option("--every-baudrate", help="Ask at every speed that motors may have.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Look for motors on the buses of a robot, or on one bus, by questions that change nothing.

    Nothing is powered or written. Exit code 1 when a motor of ROBOT.yaml is missing.
    """
    closed: list[BusError] = []
    with interruptible():
        options = {
            "port": port,
            "channel": channel,
            "interface": interface,
            "baudrate": baudrate,
            "bitrate": bitrate,
        }
        if robot is not None:
            require_no_other(robot, kind=kind, **options)
            lines = _of_robot(load_robot(robot), every_baudrate, closed)
        else:
            settings = named_settings(kind, **options)
            lines = [Line("", "", motor.id, "here", motor) for motor in _motors_at(settings, every_baudrate)]
    print(json.dumps([_plain(line) for line in lines])) if as_json else SafeConsole().print(_table(lines))
    if closed:
        raise BusError("; ".join(map(str, closed)))
    if missing := [
        f"{line.joint} (id {line.id}, drive {line.drive})" for line in lines if line.verdict == "missing"
    ]:
        raise BusTimeout(
            f"no answer from {', '.join(missing)}",
            fix="check power, cable and id; --every-baudrate looks at other speeds",
        )


def _of_robot(config: RobotConfig, every_baudrate: bool, closed: list[BusError]) -> list[Line]:
    """Of several buses, one that is not there goes to ``closed``, and the others are looked at."""
    lines = []
    with motor_places(config) as (places, _):
        for name, settings in config.drives.items():
            there = settings.at(places[name]) if name in places else settings
            try:
                motors = _motors_at(there, every_baudrate)
            except BusError as error:
                if len(config.drives) == 1:
                    raise
                closed.append(error)
                motors = []
            lines += compared(config, name, motors)
    return lines


def _motors_at(settings: DriveSettings, every_baudrate: bool) -> list[MotorIdentity]:
    if not every_baudrate:
        return look_for(settings)
    return [motor for at_rate in at_every_baudrate(settings) for motor in _with_rate(at_rate)]


def _with_rate(settings: DriveSettings) -> list[MotorIdentity]:
    rate = f"{getattr(settings, 'baudrate', 0)} baud"
    return [motor._replace(detail=f"{motor.detail}, {rate}".lstrip(", ")) for motor in look_for(settings)]


def _plain(line: Line) -> dict[str, object]:
    motor = None if line.motor is None else line.motor._asdict()
    return {**asdict(line), "motor": motor}


def _table(lines: list[Line]) -> Table:
    table = Table()
    for column in ("drive", "id", "joint", "", "kind", "model", "says"):
        table.add_column(column, justify="right" if column == "id" else "left")
    for line in lines:
        kind, model, detail = ("", "", "") if line.motor is None else line.motor[1:]
        verdict = "in no joint" if line.verdict == "unknown" else line.verdict
        table.add_row(line.drive, str(line.id), line.joint, verdict, kind, model, detail)
    return table
