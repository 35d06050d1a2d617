"""``wall-edge motors set-id``: another address for one motor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wall_edge_bridge.drives import DriveSettings
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.transport.opening import open_wire

from wall_edge.cli.motors.options import (
    Baudrate,
    Bitrate,
    Channel,
    DriveName,
    Interface,
    KindName,
    Port,
    named_settings,
    one_drive,
    require_no_other,
)
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError, DriveError
from wall_edge.motors.access import motor_places
from wall_edge.motors.roll_call import look_for
from wall_edge.signals import stop_flag

_ATTEMPTS = 3
"""One reply may be late or lost: no reason to say that there is no motor."""


def set_id(
    old: Annotated[int, typer.Argument(help="The id that the motor has now.")],
    new: Annotated[int, typer.Argument(help="The id that it is to have.")],
    robot: Annotated[Path | None, typer.Option("--robot", help="ROBOT.yaml, instead of --kind.")] = None,
    drive: DriveName = None,
    kind: KindName = None,
    port: Port = None,
    channel: Channel = None,
    interface: Interface = None,
    baudrate: Baudrate = None,
    bitrate: Bitrate = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Write another id into one motor's memory, and read it back.

    Refused when no motor has the old id, or one has the new one. Connect a single motor, unpowered by torque.
    A Damiao answers on its id + 16 afterwards; with OLD for NEW that alone is mended.
    """
    options = {
        "port": port,
        "channel": channel,
        "interface": interface,
        "baudrate": baudrate,
        "bitrate": bitrate,
    }
    if robot is None:
        _renumber(named_settings(kind, **options), old, new, yes)
        return
    require_no_other(robot, kind=kind, **options)
    config = load_robot(robot)
    name = one_drive(config, drive)
    with motor_places(config) as (places, _):
        settings = config.drives[name]
        _renumber(settings.at(places[name]) if name in places else settings, old, new, yes)


def _renumber(settings: DriveSettings, old: int, new: int, yes: bool) -> None:
    _require_free(settings, old, new)
    if not yes:
        typer.confirm(
            f"{settings.kind} motor {old} on {settings.place} becomes {new}, kept when power goes. Write?",
            abort=True,
        )
    write = kind_named(settings.kind).set_id
    assert write is not None  # _require_free has seen to it
    wire = open_wire(settings)
    try:
        with stop_flag():  # broken off half-way, it would leave the motor unlocked, or answering elsewhere
            write(settings, wire, old, new)
    finally:
        wire.close()
    print(f"motor {old} is {new} now")


def _require_free(settings: DriveSettings, old: int, new: int) -> None:
    kind = kind_named(settings.kind)
    if kind.set_id is None:
        raise ConfigError(f"ids of {kind.name} motors", expected="its maker's own tool to set them")
    for name, value in (("OLD", old), ("NEW", new)):
        if value not in kind.ids:
            raise ConfigError(f"{name} {value}", expected=f"{kind.ids.start} to {kind.ids.stop - 1}")
    if old == new and not kind.mends_id:
        raise ConfigError(f"OLD and NEW are both {old}", expected="two ids")
    for _ in range(_ATTEMPTS):
        here = {motor.id for motor in look_for(settings, [old, new])}
        if old in here:
            break
    if old not in here:
        raise DriveError(
            f"no {kind.name} motor answers as id {old} on {settings.place}", expected="one", fix="scan"
        )
    if new in here and new != old:
        raise DriveError(
            f"a motor has id {new} already", expected="a free id", fix="give that one another id first"
        )
