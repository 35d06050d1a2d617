"""CAN buses to listen to: a robot's, a simulated robot's while it runs, or one named on the command line."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import get_args, get_type_hints

from wall_edge_bridge.drives import CanSettings
from wall_edge_bridge.transport import FrameTransport
from wall_edge_bridge.transport.can_frame import ErrorFrame
from wall_edge_bridge.transport.can_link import read_link
from wall_edge_bridge.transport.candump import LogEntry, format_entry
from wall_edge_bridge.transport.opening import open_can
from wall_edge_bridge.transport.socketcan import RawCanTransport

from wall_edge.checks import one_of
from wall_edge.config import load_robot
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusError, ConfigError

_LOOK_NS = 50_000_000
_BITRATE = 1_000_000


def channels_of(robot: Path, drive: str | None) -> dict[str, CanSettings]:
    """The CAN drives of ROBOT.yaml by name, or the one named. Raises ConfigError where there is none."""
    config = load_robot(robot)
    channels = {
        name: each
        for name, each in config.drives.items()
        # Behind a serial port of its own sits a bus that only its drive can open.
        if isinstance(each, CanSettings) and getattr(each, "serial_port", None) is None
    }
    if drive is not None:
        channels = {name: each for name, each in channels.items() if name == drive}
    if not channels:
        names = ", ".join(config.drives)
        what = f"{config.name} has no CAN drive{f' {drive}' if drive is not None else ''}"
        raise ConfigError(what, expected=f"one on CAN among its drives ({names})")
    if config.simulated:
        return {name: each.at(_simulated(name, len(channels))) for name, each in channels.items()}
    return channels


def _simulated(drive: str, count: int) -> str:
    """Where the bus of a simulated robot is that runs now."""
    from wall_edge_bridge.sim.hub import running_hubs  # a real robot never loads the simulated world

    places = running_hubs()
    named = [place for place in places if f"-{drive}-" in place] or (places if count == 1 else [])
    if len(named) == 1:
        return named[0]
    running = ", ".join(places) or "none"
    raise ConfigError(
        f"simulated drive {drive}: {len(named)} buses of its name are running",
        expected=f"one (running: {running})",
        fix="start the robot first, or name a bus with --interface unix --channel",
    )


def one_channel(interface: str, channel: str, bitrate: int | None, data_bitrate: int | None) -> CanSettings:
    """A channel by name; of a network interface the bit rates that it has."""
    choices = get_args(get_type_hints(CanSettings)["interface"])
    one_of("--interface", interface, choices)
    if not channel:
        raise Invalid("--channel", channel, expected="can0, a port or an address")
    link = read_link(channel) if interface == "socketcan" else None
    if link is not None:
        bitrate, data_bitrate = bitrate or link.bitrate, data_bitrate or link.data_bitrate
    return CanSettings(
        "any",
        channel=channel,
        interface=interface,  # type: ignore[arg-type]  # one of the choices
        bitrate=bitrate or _BITRATE,
        data_bitrate=data_bitrate,
    )


@contextmanager
def tapped(channels: Mapping[str, CanSettings]) -> Iterator[Iterator[str | None]]:
    """Lines of all channels, by their drives, as they come; None whenever nothing is there. Raises BusError.

    The log calls a channel by its name, and a drive's simulated bus by the drive's.
    """
    lines: queue.SimpleQueue[str | BusError] = queue.SimpleQueue()
    stop = threading.Event()
    with _opened(channels) as wires:
        threads = [
            threading.Thread(target=_listen, args=(wire, name, lines.put, stop), daemon=True)
            for wire, name in wires
        ]
        for thread in threads:
            thread.start()
        try:
            yield _until_failure(lines)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@contextmanager
def _opened(channels: Mapping[str, CanSettings]) -> Iterator[list[tuple[FrameTransport, str]]]:
    wires: list[tuple[FrameTransport, str]] = []
    try:
        for drive, settings in channels.items():
            label = drive if drive and settings.interface == "unix" else settings.channel
            wires.append((open_can(settings, listen_only=True), label))
        yield wires
    finally:
        for wire, _ in wires:
            wire.close()


def _until_failure(lines: queue.SimpleQueue[str | BusError]) -> Iterator[str | None]:
    while True:
        if lines.empty():
            yield None
        try:
            line = lines.get(timeout=_LOOK_NS * 1e-9)
        except queue.Empty:
            continue
        if isinstance(line, BusError):
            raise line
        yield line


def _listen(
    wire: FrameTransport, channel: str, put: Callable[[str | BusError], None], stop: threading.Event
) -> None:
    """One bus, in a thread of its own. A controller that is off is listened to until it restarts."""
    offset_ns = time.time_ns() - time.monotonic_ns()

    def log_error(error: ErrorFrame, now_ns: int) -> None:
        put(format_entry(LogEntry(now_ns + offset_ns, channel, error)))

    if isinstance(wire, RawCanTransport):
        wire.on_error = log_error
    while not stop.is_set():
        try:
            frames = wire.receive(time.monotonic_ns() + _LOOK_NS)
        except BusError as error:
            if wire.health().state == "off":
                continue
            put(error)
            return
        for frame in frames:
            put(format_entry(LogEntry(frame.received_ns + offset_ns, channel, frame)))
