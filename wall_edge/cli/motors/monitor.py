"""``wall-edge motors monitor``: what passes on CAN buses, as ``candump -L`` logs it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from wall_edge.errors import ConfigError, plural
from wall_edge.files import shown
from wall_edge.signals import interruptible


def monitor(
    robot: Annotated[
        Path | None, typer.Argument(help="ROBOT.yaml: all its CAN drives; a simulated one's while it runs.")
    ] = None,
    drive: Annotated[str | None, typer.Option(help="Only this drive of ROBOT.yaml.")] = None,
    interface: Annotated[
        str, typer.Option(help="Without ROBOT.yaml: socketcan, slcan, udp_multicast or unix.")
    ] = "socketcan",
    channel: Annotated[str | None, typer.Option(help="Without ROBOT.yaml: can0, a port, an address.")] = None,
    bitrate: Annotated[
        int | None, typer.Option(help="Of an slcan adapter's bus [bit/s]; others know theirs.")
    ] = None,
    data_bitrate: Annotated[int | None, typer.Option(help="Of CAN FD's data there [bit/s].")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this new file instead of printing.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.0, max=1e9, help="Stop after this time [s].")] = None,
) -> None:
    """Print every frame of CAN buses, a running robot's too, until Ctrl-C. Listens only: it sends nothing.

    The lines are those of 'candump -L', which can-utils, python-can and SavvyCAN read. Exit code 1 when a bus
    is not there or goes away.
    """
    from wall_edge.cli.motors.buses import channels_of, one_channel, tapped

    if (robot is None) == (channel is None):
        raise ConfigError("nothing to listen to", expected="ROBOT.yaml or --channel, one of them")
    if robot is None:
        settings = {"": one_channel(interface, channel or "", bitrate, data_bitrate)}
    else:
        settings = channels_of(robot, drive)
    deadline = None if seconds is None else time.monotonic() + seconds
    count = 0
    try:
        with interruptible(), _output(out) as stream, tapped(settings) as lines:
            for _ in _copied(lines, stream, deadline):
                count += 1
    except KeyboardInterrupt:  # the usual end of it
        pass
    print(plural(count, "frame"), file=sys.stderr)


def _copied(lines: Iterator[str | None], stream: TextIO, deadline: float | None) -> Iterator[None]:
    """Once a line that was written, until the deadline [s]. None among lines: no more is there for now."""
    for line in lines:
        if line is None:
            stream.flush()
        else:
            stream.write(f"{line}\n")
            yield
        if deadline is not None and time.monotonic() >= deadline:
            return


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        stream = out.open("x")
    except OSError as problem:
        raise ConfigError(f"{shown(out)}: {problem.strerror}", expected="a new file to write to") from None
    with stream:
        yield stream
