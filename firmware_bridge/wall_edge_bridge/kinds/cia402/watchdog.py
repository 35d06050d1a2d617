"""The heartbeat that the drives watch: it goes out with commands, so that it stops where they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wall_edge.errors import DriveError
from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.network import Nodes
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint
from wall_edge_bridge.kinds.cia402.setup import arm
from wall_edge_bridge.transport import Frame

_MS = 1_000_000
_MAX_MS = 0xFFFF


class HostHeartbeat:
    """Of node ``host``, us."""

    def __init__(self, host: int, clock: Callable[[], int]) -> None:
        self._host, self._clock = host, clock
        self._frame = codec.heartbeat(host, obj.OPERATIONAL)
        self._timeout_ns: int | None = None
        self._due_ns = 0
        self.note = ""
        """Which drives have none."""

    def arm(self, nodes: Nodes, joints: Sequence[Cia402Joint], timeout_s: float) -> float | None:
        """What every drive has, read back [s]; None where one cannot watch. Raises DriveError, BusError."""
        if not 0.001 <= timeout_s <= _MAX_MS / 1000:
            raise DriveError(f"a watchdog of {timeout_s:g} s", expected=f"0.001 to {_MAX_MS / 1000} s")
        timeout_ms = round(timeout_s * 1000)
        armed = [arm(nodes, index, joint, self._host, timeout_ms) for index, joint in enumerate(joints)]
        self._timeout_ns = timeout_ms * _MS if any(armed) else None
        bare = [joint.name for joint, has_one in zip(joints, armed, strict=True) if not has_one]
        self.note = f"no heartbeat is watched by {', '.join(bare)}" if bare else ""
        return None if bare else timeout_ms / 1000

    def due(self) -> list[Frame]:
        """Three times within the watchdog's time; none where nobody watches."""
        now_ns = self._clock()
        if self._timeout_ns is None or now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + self._timeout_ns // 3
        return [self._frame]
