"""The kinds of drive that ROBOT.yaml may name. A new one: a package beside this file, a line in ``KINDS``.

Such a package has ``KIND`` in its ``__init__``, ``settings`` (what ROBOT.yaml says; light), and what
:class:`Kind` imports when it is asked for: ``drive``, ``twin``, ``timing`` and ``scan``.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

from wall_edge.errors import ConfigError
from wall_edge_bridge.drives import Capabilities, Drive, DriveSettings, Joint
from wall_edge_bridge.sim import ByteTwin, FrameTwin
from wall_edge_bridge.transport import Wire

KINDS = {
    "cia402": "wall_edge_bridge.kinds.cia402",
    "damiao": "wall_edge_bridge.kinds.damiao",
    "dynamixel": "wall_edge_bridge.kinds.dynamixel",
    "feetech": "wall_edge_bridge.kinds.feetech",
    "moteus": "wall_edge_bridge.kinds.moteus",
    "odrive": "wall_edge_bridge.kinds.odrive",
    "robstride": "wall_edge_bridge.kinds.robstride",
}
"""Where each kind's ``KIND`` is; imported when it is asked for."""


class MotorIdentity(NamedTuple):
    """A motor that answered."""

    id: int
    kind: str
    model: str = ""
    """By its maker's name, or its number."""
    detail: str = ""
    """What else it said: firmware, voltage, its feedback id."""


@dataclass(frozen=True)
class Kind:
    """All that the rest of wall-edge knows of a kind of drive; a robot never loads its ``twin``.

    ``settings`` and ``joint`` are frozen dataclasses; their fields are the keys of ROBOT.yaml. All methods
    take them in that order, joints as a sequence.
    """

    name: str
    settings: type[DriveSettings]
    joint: type[Joint]
    capabilities: Capabilities
    ids: range
    """Those that a motor may have, and that a scan asks for."""
    package: str
    """Its modules: ``drive``, ``twin``, ``timing`` and ``scan``, with functions of the methods' names."""
    sets_id: bool = False
    """``scan`` has ``set_id``."""
    mends_id: bool = False
    """To set a motor's own id again mends what goes with it: the identifier that a Damiao answers on."""
    needs: tuple[str, ...] = ()
    """Libraries of its own, which wall-edge does not bring."""

    def open_drive(
        self,
        settings: Any,
        joints: Sequence[Any],
        wire: Wire,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> Drive:
        """It opens nothing and sends nothing."""
        drive: Drive = self._module("drive").open_drive(
            settings, joints, wire, clock=clock, start_slack_rad=start_slack_rad
        )
        return drive

    def make_twin(
        self, settings: Any, joints: Sequence[Any], positions: npt.ArrayLike, *, timed: bool = False
    ) -> ByteTwin | FrameTwin:
        """Motors on the other side of the wire, torque off, standing at ``positions`` [dof] rad.

        ``timed``: requests and replies take their time on the line (``replies.duration``).
        """
        twin: ByteTwin | FrameTwin = self._module("twin").make_twin(settings, joints, positions, timed=timed)
        return twin

    def cycle_ns(self, settings: Any, joints: Sequence[Any]) -> int:
        """How long the requests and replies of one cycle occupy the line at least [ns].

        With worst-case stuffing: the ceiling of the rate.
        """
        duration_ns: int = self._module("timing").cycle_ns(settings, joints)
        return duration_ns

    def scan(
        self, settings: Any, wire: Wire, ids: Iterable[int], *, clock: Callable[[], int] = time.monotonic_ns
    ) -> Iterator[MotorIdentity]:
        """Who answers. Reads only: never torque, never a write. Raises BusError."""
        motors: Iterator[MotorIdentity] = self._module("scan").scan(settings, wire, ids, clock=clock)
        return motors

    @property
    def set_id(self) -> Callable[..., None] | None:
        """``(settings, wire, old, new, *, clock=time.monotonic_ns)``: written to the motor's memory and read
        back; None where the maker's own tool must do it. Raises DriveError, BusError."""
        return self._module("scan").set_id if self.sets_id else None

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package}.{name}")


def kind_named(name: str) -> Kind:
    """Raises ConfigError for a name that is none, or whose library is not installed."""
    if name not in KINDS:
        raise ConfigError(f"drive kind {name!r}", expected=" or ".join(KINDS))
    try:
        kind: Kind = importlib.import_module(KINDS[name]).KIND
    except ImportError as error:
        raise _missing(name, error.name or str(error)) from None
    for library in kind.needs:
        if importlib.util.find_spec(library) is None:
            raise _missing(name, library)
    return kind


def _missing(name: str, library: str) -> ConfigError:
    return ConfigError(f"drive kind {name} needs {library}", fix=f"run `pip install 'wall-edge[{name}]'`")
