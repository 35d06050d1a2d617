"""The kinds of drive that ROBOT.yaml may name. A new one: a package beside this file, a line in ``KINDS``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wall_edge.errors import ConfigError
from wall_edge_bridge.drives import Capabilities, Drive, DriveSettings, Joint
from wall_edge_bridge.sim import ByteTwin, FrameTwin

KINDS = {
    "cia402": "wall_edge_bridge.kinds.cia402",
    "damiao": "wall_edge_bridge.kinds.damiao",
    "dynamixel": "wall_edge_bridge.kinds.dynamixel",
    "feetech": "wall_edge_bridge.kinds.feetech",
    "moteus": "wall_edge_bridge.kinds.moteus",
    "odrive": "wall_edge_bridge.kinds.odrive",
    "robstride": "wall_edge_bridge.kinds.robstride",
}
"""Where each kind's ``KIND`` is; imported when it is asked for, as some need a library of their own."""


class Found(NamedTuple):
    """A motor that answered."""

    id: int
    kind: str
    model: str = ""
    """By its maker's name, or its number."""
    detail: str = ""
    """What else it said: firmware, voltage, its feedback id."""


@dataclass(frozen=True)
class Kind:
    """All that the rest of wall-edge knows of a kind of drive. Functions import what they need when called.

    A robot never loads ``twin``. ``settings`` and ``joint`` are frozen dataclasses; their fields are the keys
    of ROBOT.yaml.
    """

    name: str
    settings: type[DriveSettings]
    joint: type[Joint]
    capabilities: Capabilities
    open_drive: Callable[..., Drive]
    """``(settings, joints, wire, *, clock, start_slack_rad) → Drive``; it opens nothing and sends nothing."""
    make_twin: Callable[..., ByteTwin | FrameTwin]
    """``(settings, joints, positions [dof] rad, *, timed) → Twin``: motors on the other side of the wire,
    torque off. ``timed``: requests and replies take their time on the line (``replies.duration``)."""
    cycle_ns: Callable[[Any, Sequence[Any]], int]
    """``(settings, joints)``: how long the requests and replies of one cycle occupy the line at least [ns],
    with worst-case stuffing: the ceiling of the rate."""
    scan: Callable[..., Iterator[Found]]
    """``(settings, wire, ids, *, clock=time.monotonic_ns)``: who answers. Reads only: never torque, never a
    write."""
    ids: range
    """Those that a motor may have, and that a scan asks for."""
    set_id: Callable[..., None] | None = None
    """``(settings, wire, old, new, *, clock=time.monotonic_ns)``: written to the motor's memory and read
    back; None where the maker's own tool must do it. Raises DriveError, BusError."""


def kind_named(name: str) -> Kind:
    """Raises ConfigError for a name that is none, or whose library is not installed."""
    if name not in KINDS:
        raise ConfigError(f"drive kind {name!r}", expected=" or ".join(KINDS))
    try:
        kind: Kind = importlib.import_module(KINDS[name]).KIND
    except ImportError as error:
        raise ConfigError(
            f"drive kind {name} needs {error.name or error}", fix=f"run `pip install 'wall-edge[{name}]'`"
        ) from None
    return kind
