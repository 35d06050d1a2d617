"""Feetech STS servos (SO-100, SO-101 and kin) on a half-duplex serial bus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wall_edge.checks import between
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.drives.settings import SerialSettings
from wall_edge_bridge.drives.values import Capabilities
from wall_edge_bridge.kinds.registry import Found, Kind


@dataclass(frozen=True)
class FeetechSettings(SerialSettings):
    """A half-duplex bus of STS servos."""


@dataclass(frozen=True)
class FeetechJoint(Joint):
    """One servo."""

    zero_ticks: int = 2048
    """Encoder count at 0 rad, 0 to 4095."""
    homing_offset: int | None = None
    """What the motor's own memory must hold as its offset [ticks]; null does not compare."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, 0, 253)
        between("zero_ticks", self.zero_ticks, 0, 4095, "ticks")
        between("homing_offset", self.homing_offset, -2047, 2047, "ticks")


def _open_drive(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError


def _make_twin(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError


def _cycle_ns(settings: Any, joints: Sequence[Any]) -> int:
    raise NotImplementedError


def _scan(settings: Any, wire: Any, ids: Iterable[int]) -> Iterator[Found]:
    raise NotImplementedError


# Until branch feetech is merged, whose file this is.
KIND = Kind(
    name="feetech",
    settings=FeetechSettings,
    joint=FeetechJoint,
    capabilities=Capabilities(),
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=range(254),
)
