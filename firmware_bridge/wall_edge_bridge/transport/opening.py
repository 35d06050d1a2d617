"""From a drive's settings to its wire, refused while anything is wrong with the port or the channel."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from wall_edge.errors import BusError, ConfigError
from wall_edge_bridge.transport.base import FrameTransport, Wire
from wall_edge_bridge.transport.can_link import can_names, problem, read_link, set_up_fix
from wall_edge_bridge.transport.can_sockets import open_socketcan, open_unix
from wall_edge_bridge.transport.recovering import RecoveringBytes, RecoveringFrames
from wall_edge_bridge.transport.serial import SerialTransport
from wall_edge_bridge.transport.slcan import open_slcan


@runtime_checkable
class PortPlace(Protocol):
    """What is needed of a serial port's settings: ``drives.settings.SerialSettings`` has it."""

    @property
    def port(self) -> str: ...

    @property
    def baudrate(self) -> int: ...

    @property
    def on_loss(self) -> str: ...


@runtime_checkable
class CanPlace(Protocol):
    """What is needed of a CAN channel's settings: ``drives.settings.CanSettings`` has it."""

    @property
    def channel(self) -> str: ...

    @property
    def interface(self) -> str: ...

    @property
    def bitrate(self) -> int: ...

    @property
    def data_bitrate(self) -> int | None: ...

    @property
    def on_loss(self) -> str: ...


def open_wire(settings: object, clock: Callable[[], int] = time.monotonic_ns) -> Wire:
    """The wire of a drive's settings; sends nothing.

    With ``on_loss: recover`` it is opened again when its adapter vanished (``transport.recovering``). Raises
    BusError for a port or a channel that does not exist, may not be opened, is in use, is down or has another
    bit rate, with what was found; ConfigError for settings without a place, or without their library. A kind
    whose CAN bus is behind a serial port says so by ``serial_port``: settings of that port.
    """
    if (port := getattr(settings, "serial_port", None)) is not None:
        return open_wire(port, clock)
    if isinstance(settings, CanPlace):
        _require_place("channel", settings.channel)
        frames = open_can(settings)
        if settings.on_loss != "recover":
            return frames
        return RecoveringFrames(frames, partial(_open_can_again, settings), clock)
    if isinstance(settings, PortPlace):
        _require_place("port", settings.port)
        wire = SerialTransport(settings.port, settings.baudrate)
        if settings.on_loss != "recover":
            return wire
        return RecoveringBytes(wire, partial(_open_port_again, settings), clock)
    raise ConfigError(f"settings of {type(settings).__name__}", expected="a serial port's or a CAN channel's")


def open_can(settings: CanPlace, *, details: bool = True, listen_only: bool = False) -> FrameTransport:
    """A channel. ``details``: whether its bit rates are compared too, which takes another program some ms.

    ``listen_only``: for who never sends; a serial adapter then acknowledges nothing either.
    """
    if settings.interface == "unix":
        return open_unix(settings.channel, f"simulated bus {settings.channel}", "start the simulated motors")
    if settings.interface == "socketcan":
        return _open_interface(settings, details)
    if settings.interface == "slcan":
        return open_slcan(settings.channel, settings.bitrate, settings.data_bitrate, listen_only=listen_only)
    from wall_edge_bridge.transport.python_can import open_python_can  # a library of its own

    return open_python_can(settings.interface, settings.channel, settings.bitrate, settings.data_bitrate)


def _open_port_again(settings: PortPlace) -> SerialTransport:
    _require_file(settings.port)
    return SerialTransport(settings.port, settings.baudrate)


def _open_can_again(settings: CanPlace) -> FrameTransport:
    if settings.interface == "slcan":
        _require_file(settings.channel.partition("@")[0])
    return open_can(settings, details=False)


def _require_file(port: str) -> None:
    """Sooner than pyserial would, and without a list of all ports: a servo loop waits for it."""
    if not os.path.exists(port):  # noqa: PTH110 - a Path costs more than the look
        raise BusError(f"serial port {port} does not exist")


def _open_interface(settings: CanPlace, details: bool) -> FrameTransport:
    channel, rates = settings.channel, (settings.bitrate, settings.data_bitrate)
    words = f"{rates[0]} bit/s" + (f" and {rates[1]} bit/s of data" if rates[1] else "")
    link = read_link(channel, details=details)
    if link is None:
        present = ", ".join(can_names()) or "none"
        raise BusError(
            f"CAN channel {channel} does not exist",
            expected=f"an interface (present: {present})",
            fix="plug the adapter in; a Jetson's own controllers need `sudo modprobe -a can can_raw mttcan`",
        )
    if trouble := problem(link, *rates):
        raise BusError(
            f"CAN channel {channel} {trouble}",
            expected=f"it up at {words}",
            fix=set_up_fix(channel, *rates) if link.is_can else "name one such as can0",
        )
    return open_socketcan(channel, f"{channel} at {words}", set_up_fix(channel, *rates))


def _require_place(key: str, place: str) -> None:
    if not place:
        raise ConfigError(f"a drive without {key}", expected=f"{key} of a real robot's drive in ROBOT.yaml")
