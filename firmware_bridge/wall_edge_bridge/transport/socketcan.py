"""A raw CAN socket with absolute deadlines: SocketCAN for the servo loop, and simulated buses (``sim.hub``).

Both carry the same structs; ``transport.can_sockets`` opens either, and all above is the same code.

Sources: the kernel's ``Documentation/networking/can.rst`` and ``net/can/raw.c``.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from wall_edge.errors import BusError, BusTimeout
from wall_edge_bridge.transport.base import BusHealth, Frame
from wall_edge_bridge.transport.can_errors import HealthRecord
from wall_edge_bridge.transport.can_frame import FD_SIZE, ErrorFrame, pack_frame, unpack_frame

SO_RXQ_OVFL = 40
_DROPS = struct.Struct("=I")
_ANCILLARY = socket.CMSG_SPACE(_DROPS.size)
_RETRY_S = 0.0002
"""A full device queue (ENOBUFS) cannot be waited for; about the time of one frame at 1 Mbit/s."""
_AT_ONCE = 1024
"""Packets read before they are handed on: another program may send faster than we read."""
_GONE = {
    errno.ENETDOWN: "went down",
    errno.ENODEV: "vanished",
    errno.ENXIO: "vanished",
    errno.ECONNRESET: "vanished",
    errno.EPIPE: "vanished",
    errno.EBADF: "is closed",
}


class RawCanTransport:
    """CAN frames over a connected socket; implements ``transport.base.FrameTransport``.

    ``fix`` is what to do when the channel is gone. A channel that is gone stays so: a new one of these opens
    it again (``transport.recovering``).
    """

    def __init__(self, raw: socket.socket, description: str, fix: str) -> None:
        self._socket, self._description, self._fix = raw, description, fix
        raw.setblocking(False)
        self._health = HealthRecord()
        self._kernel_drops = 0
        self._backlog: list[Frame] = []
        """Frames that came while only the state of the bus was looked for."""
        self._loss = ""
        self.on_error: Callable[[ErrorFrame, int], None] | None = None
        """Told each error frame and when it came, for logs."""

    @property
    def description(self) -> str:
        return self._description

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        """Frames in their order; what the queue takes goes out even after the deadline."""
        packets = [pack_frame(frame) for frame in frames]
        if self._loss or self._health.state == "off":
            # A controller off the bus drops what it is given, and says nothing.
            self._drain(self._backlog)
            self._require_bus()
        for index, packet in enumerate(packets):
            while True:
                try:
                    self._socket.send(packet)
                    break
                except OSError as error:
                    if not self._may_retry(error, deadline_ns):
                        raise self._full(len(packets) - index) from None

    def receive(self, deadline_ns: int) -> list[Frame]:
        frames, self._backlog = self._backlog, []
        while not frames:
            if self._loss:
                raise self._gone()
            self._drain(frames)
            if not frames and not self._wait(deadline_ns):
                self._require_bus()
                break
        return frames

    def health(self) -> BusHealth:
        return self._health.snapshot()

    def close(self) -> None:
        self._loss = self._loss or _GONE[errno.EBADF]
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, to wait for several; -1 once it is closed."""
        return self._socket.fileno()

    def _drain(self, frames: list[Frame]) -> None:
        """All packets that are there: frames to ``frames``, error frames to the bus's health."""
        receive, health = self._socket.recvmsg, self._health
        for _ in range(_AT_ONCE):
            try:
                packet, ancillary, _, _ = receive(FD_SIZE, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            if ancillary:
                self._count_drops(ancillary)
            now_ns = time.monotonic_ns()
            frame = unpack_frame(packet, now_ns)
            if isinstance(frame, Frame):
                frames.append(frame)
            elif frame is not None:
                health.take(frame)
                if self.on_error is not None:
                    self.on_error(frame, now_ns)
            elif not packet:  # how a simulated bus looks that ended
                self._lose(OSError(errno.ECONNRESET, ""))
                return

    def _count_drops(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL and len(data) == _DROPS.size:
                total = _DROPS.unpack(data)[0]
                self._health.lost += (total - self._kernel_drops) & 0xFFFFFFFF
                self._kernel_drops = total

    def _wait(self, deadline_ns: int, *, for_writing: bool = False) -> bool:
        """Whether the socket became ready before the deadline."""
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns <= 0:
            return False
        waiting = [self._socket]
        try:
            ready = select.select(
                [] if for_writing else waiting, waiting if for_writing else [], [], left_ns * 1e-9
            )
        except (OSError, ValueError):  # ValueError: the descriptor is closed
            self._loss = self._loss or _GONE[errno.EBADF]
            raise self._gone() from None
        return any(ready)

    def _may_retry(self, error: OSError, deadline_ns: int) -> bool:
        """After a send that failed: whether the queue may take the frame now. Raises BusError."""
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):  # the socket's own buffer
            return self._wait(deadline_ns, for_writing=True)
        if error.errno == errno.ENOBUFS:  # the device's queue: the socket counts as writable all the while
            left_s = (deadline_ns - time.monotonic_ns()) * 1e-9
            time.sleep(max(0.0, min(_RETRY_S, left_s)))
            return left_s > 0
        if error.errno in (errno.EINVAL, errno.EMSGSIZE):
            raise BusError(
                f"{self.description} takes no CAN FD frames",
                expected="a channel brought up with fd on, as data_bitrate says",
                fix=self._fix,
            ) from error
        self._lose(error)
        raise self._gone() from error

    def _full(self, frames_left: int) -> BusTimeout:
        self._health.full += frames_left
        return BusTimeout(
            f"{self.description} takes no frames, {frames_left} were left at the deadline",
            fix="check that a motor is powered and acknowledges, or lower the loop rate",
        )

    def _require_bus(self) -> None:
        if self._loss:
            raise self._gone()
        if self._health.state == "off":
            raise BusError(
                f"{self.description} is off the bus: too many errors (last: {self._health.last})",
                fix=f"check wires, 120 ohm at both ends and the bit rate, then {self._fix}",
            )

    def _lose(self, error: OSError) -> None:
        self._loss = self._loss or _GONE.get(error.errno or 0, f"fails ({error})")
        self._health.state = "unknown"

    def _gone(self) -> BusError:
        return BusError(f"{self.description} {self._loss}", fix=self._fix)
