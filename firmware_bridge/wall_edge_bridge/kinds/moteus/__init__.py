"""mjbots moteus controllers on CAN FD. Commands are made and replies are read with mjbots' own library.

``pip install 'wall-edge[moteus]'``. A moteus has its id in its configuration (``id.id``), which only its
diagnostic stream reaches: mjbots' ``moteus_tool`` or ``tview`` changes it, not this kind.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives.joints import OffsetJoint
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.drives.values import Capabilities
from wall_edge_bridge.kinds.registry import Found, Kind

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.moteus.drive import MoteusDrive
    from wall_edge_bridge.kinds.moteus.twin import MoteusTwin

IDS = range(1, 127)
"""127 is everybody's."""
CAPABILITIES = Capabilities(
    velocity=True,
    effort=True,
    temperature=True,
    voltage=True,
    velocity_feedforward=True,
    effort_feedforward=True,
    watchdog=True,
)


@dataclass(frozen=True)
class MoteusSettings(CanSettings):
    """A CAN FD channel with moteus controllers."""

    kind: str = "moteus"
    data_bitrate: int | None = 5_000_000
    min_voltage: float = 10.0
    """A motor that stopped for too low a voltage is started again above it [V]."""
    max_voltage: float = 44.0
    """… and one that stopped for too high a voltage, below this [V]."""
    restart_temperature: float = 60.0
    """… and one that was too hot, below this [°C]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_bitrate is None:
            raise Invalid("data_bitrate", None, expected="bit/s: a moteus needs CAN FD")
        between("min_voltage", self.min_voltage, 4.0, 60.0, "V")
        between("max_voltage", self.max_voltage, self.min_voltage, 60.0, "V")
        between("restart_temperature", self.restart_temperature, 0.0, 150.0, "°C")


@dataclass(frozen=True)
class MoteusJoint(OffsetJoint):
    """A joint that a moteus moves. The gains are its own (``servo.pid_position``), scaled."""

    max_effort: float | None = None
    """Most torque [Nm], feed-forward and position control together; null: what the controller allows."""
    kp_scale: float = 1.0
    """Of the controller's kp."""
    kd_scale: float = 1.0
    """Of the controller's kd; never more than ``kp_scale`` in effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id not in IDS:
            raise Invalid("id", self.id, expected=f"{IDS.start} to {IDS.stop - 1}, as a moteus has")
        positive("max_effort", self.max_effort, "Nm", 327.0)
        between("kp_scale", self.kp_scale, 0.0, 1.0)
        between("kd_scale", self.kd_scale, 0.0, 1.0)


def _open_drive(
    settings: MoteusSettings, joints: Sequence[MoteusJoint], wire: Any, **more: Any
) -> MoteusDrive:
    from wall_edge_bridge.kinds.moteus.drive import MoteusDrive

    return MoteusDrive(settings, joints, wire, **more)


def _make_twin(
    settings: MoteusSettings, joints: Sequence[MoteusJoint], positions: Any, *, timed: bool = False
) -> MoteusTwin:
    from wall_edge_bridge.kinds.moteus.twin import MoteusTwin

    return MoteusTwin(settings, joints, positions, timed=timed)


def _cycle_ns(settings: MoteusSettings, joints: Sequence[MoteusJoint]) -> int:
    from wall_edge_bridge.kinds.moteus.frames import cycle_ns

    return cycle_ns(settings, joints)


def _scan(settings: MoteusSettings, wire: Any, ids: Iterable[int], **more: Any) -> Iterator[Found]:  # noqa: ARG001
    from wall_edge_bridge.kinds.moteus.scan import scan

    return scan(wire, ids, **more)


_KIND = Kind(
    name="moteus",
    settings=MoteusSettings,
    joint=MoteusJoint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=IDS,
)


def __getattr__(name: str) -> Kind:
    """``KIND``: ImportError without mjbots' library, which only ``kind_named`` then turns into advice."""
    if name != "KIND":
        raise AttributeError(name)
    if importlib.util.find_spec("moteus") is None:
        raise ImportError("no moteus", name="moteus")
    return _KIND
