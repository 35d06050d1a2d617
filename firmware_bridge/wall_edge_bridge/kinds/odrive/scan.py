"""Which ODrives are there, and a new node id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.exchange import FrameExchange
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import BROADCAST, Command, Heartbeat, Version
from wall_edge_bridge.kinds.odrive.errors import State
from wall_edge_bridge.kinds.odrive.settings import IDS, ODriveSettings
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import Frame, FrameTransport

_HEARTBEATS_S = 0.25
_AT_ONCE = 16
_RESTART_S = 3.0


class _Census:
    """Who is on a bus, by what they say and are asked."""

    def __init__(self, wire: FrameTransport, clock: Callable[[], int]) -> None:
        self._exchange = FrameExchange(wire, BusCounters(), clock, 0.02, self._hear)
        self.heartbeats: dict[int, Heartbeat] = {}
        self.versions: dict[int, Version] = {}
        self.serials: dict[int, set[int]] = {}

    def take(self, nodes: Sequence[int]) -> None:
        """Listens for heartbeats, and asks ``nodes`` for their version and all for their serial numbers."""
        for start in range(0, len(nodes), _AT_ONCE):
            self.send(*(codec.request(node, Command.VERSION) for node in nodes[start : start + _AT_ONCE]))
        self.send(codec.request(BROADCAST, Command.ADDRESS), pause_s=_HEARTBEATS_S)

    def send(self, *frames: Frame, pause_s: float = 0.005) -> None:
        """Frames, and what is said in a while after them."""
        self._exchange.send(*frames)
        self._exchange.listen(pause_s)

    def _hear(self, frame: Frame) -> None:
        if frame.extended or frame.remote:
            return
        node, command = frame.id >> 5, frame.id & 0x1F
        if (said := codec.parse_address(frame)) is not None:
            self.serials.setdefault(said[0], set()).add(said[1])
        elif command == Command.HEARTBEAT and len(frame.data) == 8:
            self.heartbeats[node] = codec.parse_heartbeat(frame.data)
        elif command == Command.VERSION and (version := codec.parse_version(frame.data)):
            self.versions[node] = version


def scan(
    settings: ODriveSettings,  # noqa: ARG001 - a scan is the same for all
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Nodes that have a heartbeat, or tell their firmware's version. Raises BusError."""
    nodes = sorted(set(ids) & set(IDS))
    census = _Census(wire, clock)
    census.take(nodes)
    for node in nodes:
        heartbeat, version = census.heartbeats.get(node), census.versions.get(node)
        if heartbeat is None and version is None:
            continue
        details = [f"axis state {heartbeat.state}"] if heartbeat else ["no heartbeat"]
        model = f"firmware {version}" if version else "firmware 0.5"
        numbers = [[f"serial {serial:012X}"] for serial in sorted(census.serials.get(node, ()))]
        for number in numbers or [[]]:
            yield MotorIdentity(node, "odrive", model, ", ".join(details + number))


def set_id(
    settings: ODriveSettings,  # noqa: ARG001
    wire: FrameTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """By serial number; the ODrive saves its configuration and restarts.

    Raises DriveError, BusTimeout, BusError.
    """
    if new not in IDS or old == new:
        raise DriveError(f"node id {new}", expected=f"{IDS[0]} to {IDS[-1]}, other than {old}")
    before = _Census(wire, clock)
    before.take([node for node in (old, new) if node in IDS])
    serial = _require_movable(before, wire, old, new)
    before.send(codec.address(new, serial), pause_s=0.05)
    before.send(codec.reboot(new, 1), pause_s=_RESTART_S)
    after = _Census(wire, clock)
    after.take([old, new])
    if after.serials.get(new) != {serial} or old in after.serials:
        nodes = [node for node, serials in after.serials.items() if serial in serials]
        raise DriveError(
            f"after a change of node id {old} to {new}, the ODrive {serial:012X} is at {nodes or 'none'}",
            expected=f"{new}",
            fix="set axis0.config.can.node_id with odrivetool",
        )


def _require_movable(census: _Census, wire: FrameTransport, old: int, new: int) -> int:
    """The serial number of the ODrive at ``old``."""
    if new in census.heartbeats or new in census.versions:
        raise DriveError(f"node id {new} has an ODrive already", expected="a free one")
    heartbeat = census.heartbeats.get(old)
    if heartbeat is None and old not in census.versions:
        raise BusTimeout(f"no answer from node {old} on {wire.description}", fix="check power, cable and id")
    serials = census.serials.get(old, set())
    if len(serials) != 1:
        raise DriveError(
            f"{len(serials)} serial numbers at node {old}",
            expected="one; firmware 0.5 tells none",
            fix="connect one at a time; with firmware 0.5 use odrivetool",
        )
    if heartbeat is None or heartbeat.state != State.IDLE:
        raise DriveError(f"node {old} is not idle", expected="axis state 1", fix="disable it first")
    return next(iter(serials))
