"""What ROBOT.yaml says of a CAN channel with CiA 402 drives, and of each joint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import CanSettings, Capabilities, OffsetJoint

IDS = range(1, 128)
CAPABILITIES = Capabilities(watchdog=True)
"""A PDO of status and position leaves the rate at 601 Hz for seven joints; more would cost more of it."""


@dataclass(frozen=True)
class Cia402Settings(CanSettings):
    """A CAN channel with CiA 402 drives."""

    kind: str = "cia402"
    sync_ms: float | None = None
    """Over which time drives interpolate (object 60C2) [ms]; null: the servo loop's period."""
    host_node: int = 127
    """Our own id, under which the heartbeat goes out that the drives watch."""
    sdo_timeout_ms: float = 100.0
    """How long a drive may take to answer while it is configured [ms]."""

    def paced(self, period_s: float) -> Cia402Settings:
        return self if self.sync_ms is not None else replace(self, sync_ms=1e3 * period_s)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_bitrate is not None:
            raise Invalid("data_bitrate", self.data_bitrate, expected="null: CANopen is classic CAN")
        between("sync_ms", self.sync_ms, 0.1, 255, "ms")
        if self.host_node not in IDS:
            raise Invalid("host_node", self.host_node, expected="1 to 127")
        positive("sdo_timeout_ms", self.sdo_timeout_ms, "ms", 10_000)


@dataclass(frozen=True)
class Cia402Joint(OffsetJoint):
    """A joint that a CiA 402 drive moves."""

    counts_per_turn: int = 65536
    """Of the motor's encoder, as object 6064 counts."""
    gear_ratio: float = 1.0
    """Turns of the motor for one of the joint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id not in IDS:
            raise Invalid("id", self.id, expected="1 to 127, as a CANopen node has")
        between("counts_per_turn", self.counts_per_turn, 16, 1 << 30)
        positive("gear_ratio", self.gear_ratio, "", 10_000)
        furthest = max(abs(self.lower), abs(self.upper)) + abs(self.zero_rad)
        if furthest * self.counts_per_rad >= 1 << 31:
            expected = "limits within 2^31 counts, as object 607A has"
            raise Invalid("counts_per_turn", self.counts_per_turn, expected=expected)

    @property
    def counts_per_rad(self) -> float:
        """Of the joint."""
        return self.counts_per_turn * self.gear_ratio / 6.283185307179586
