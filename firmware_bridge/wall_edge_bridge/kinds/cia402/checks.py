"""Whether the joints' drives are there, each alone under its id, and follow CiA 402."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.scan import uploads
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.exchange import bus_trouble
from wall_edge_bridge.transport import Frame, FrameTransport

_ATTEMPTS = 3
_SHOWN = 6


def require_identity(
    wire: FrameTransport,
    joints: Sequence[Cia402Joint],
    settings: Cia402Settings,
    clock: Callable[[], int],
) -> None:
    """Reads only. Raises BusTimeout naming the silent ones and what was there instead, DriveError."""
    strangers: list[Frame] = []
    rest = list(joints)
    for _ in range(_ATTEMPTS):
        if not rest:
            return
        timeout_ns = round(settings.timeout_ms * 1e6)
        ids = [joint.id for joint in rest]
        types = uploads(wire, ids, obj.DEVICE_TYPE, 0, timeout_ns, clock, strangers)
        for joint in rest:
            _require_one(joint, types[joint.id])
        rest = [joint for joint in rest if not types[joint.id]]
    if rest:
        raise _silent(wire, rest, strangers)


def _require_one(joint: Cia402Joint, types: Sequence[int]) -> None:
    if len(types) > 1:
        raise DriveError(
            f"joint {joint.name}: {len(types)} nodes answer as id {joint.id}",
            expected="one drive an id",
            fix="give every drive its own id, by its switches or its maker's tool",
        )
    if types and types[0] & 0xFFFF != obj.PROFILE_402:
        raise DriveError(
            f"joint {joint} follows CANopen profile {types[0] & 0xFFFF}",
            expected=f"{obj.PROFILE_402}, drives",
            fix="check the id: another device has it",
        )


def _silent(wire: FrameTransport, silent: Sequence[Cia402Joint], strangers: Sequence[Frame]) -> BusTimeout:
    names = ", ".join(map(str, silent))
    words = sorted({f"{frame.id:#x}" + (" (CAN FD)" if frame.fd else "") for frame in strangers})[:_SHOWN]
    instead = f"; seen: frames {', '.join(words)}" if words else ""
    return BusTimeout(
        f"no answer from {names} on {wire.description}{bus_trouble(wire)}{instead}",
        fix="check the drive's power, cable, termination, id and bit rate",
    )
