"""Damiao motors behind Damiao's USB bridge, from the far end of the serial line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.timing import SENT_BYTES
from wall_edge_bridge.kinds.damiao.twin.bus import DamiaoTwin
from wall_edge_bridge.kinds.damiao.usb_bridge import HEAD, pack_arrived, parse_sent
from wall_edge_bridge.sim import ByteTwin
from wall_edge_bridge.sim.line import serial_duration
from wall_edge_bridge.transport import Frame


class BridgeTwin(ByteTwin):
    """``bus`` has the motors. Both directions of the serial line are busy at once.

    The CAN bus behind it is faster than the line, and its own time is not counted: a frame that has arrived
    at the bridge is answered at once. On a real one a cycle's last answer is about 0.3 ms later.
    """

    def __init__(
        self,
        settings: DamiaoSettings,
        joints: Sequence[DamiaoJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        self.bus = DamiaoTwin(settings, joints, positions)
        self._baudrate = settings.usb_baudrate
        self._timed = timed
        self._input = b""
        self._heard_ns = 0
        if timed:
            self.replies.duration = serial_duration(settings.usb_baudrate)

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        if baud is None or baud == self._baudrate:
            self._input += data
        packet_ns = serial_duration(self._baudrate)(bytes(SENT_BYTES)) if self._timed else 0
        while (at := self._input.find(HEAD)) >= 0 and len(self._input) - at >= SENT_BYTES:
            frame = parse_sent(self._input[at : at + SENT_BYTES])
            self._input = self._input[at + (SENT_BYTES if frame else 1) :]
            if frame:
                self._heard_ns = max(self._heard_ns, now_ns) + packet_ns
                self._forward(frame._replace(received_ns=0))
        # What cannot begin a packet is none: it does not pile up.
        self._input = self._input[at:] if at >= 0 else self._input[1 - len(HEAD) :]
        return b"".join(self.replies.collect(now_ns))

    def _forward(self, frame: Frame) -> None:
        for reply in self.bus.handle(frame, self._heard_ns):
            self.replies.put(pack_arrived(reply), self._heard_ns)

    def advance(self, now_ns: int) -> None:
        self.bus.advance(now_ns)

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        return self.bus.positions(now_ns)

    def set_positions(self, positions: npt.ArrayLike) -> None:
        self.bus.set_positions(positions)

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        return self.bus.powered(now_ns)

    def silence(self, index: int, silent: bool = True) -> None:
        self.bus.silence(index, silent)

    def lose_torque(self, index: int) -> None:
        self.bus.lose_torque(index)

    def reboot(self, index: int, now_ns: int) -> None:
        self.bus.reboot(index, now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.bus.shift_zero(index, radians)

    def set_fault(self, index: int, name: str) -> None:
        self.bus.set_fault(index, name)


def make_twin(
    settings: DamiaoSettings, joints: Sequence[DamiaoJoint], positions: npt.ArrayLike, *, timed: bool = False
) -> BridgeTwin | DamiaoTwin:
    """Behind the USB bridge where the settings name it, else on a CAN bus."""
    twin = BridgeTwin if settings.interface == "damiao-usb" else DamiaoTwin
    return twin(settings, joints, positions, timed=timed)
