"""Any interface of python-can as a ``FrameTransport``: udp_multicast, virtual buses, adapters of many makers.

A servo loop is better served by SocketCAN (``transport.socketcan``) or slcan (``transport.slcan``). Optional:
the extra ``can``. python-can is LGPL-3.0.
"""

from __future__ import annotations

import errno
import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

from wall_edge.errors import BusError, BusTimeout, ConfigError
from wall_edge_bridge.transport.base import BusHealth, Frame
from wall_edge_bridge.transport.can_errors import HealthRecord
from wall_edge_bridge.transport.can_frame import ErrorFrame, pack_frame

_ROOM_S = 0.005
"""How long python-can may wait for room; always the same, for a serial adapter is reprogrammed by another."""
_SERIAL_ROOM_S = 0.05
"""The same of a serial adapter: pyserial asks the time after its write, and calls what a stalled process has
written in full a timeout, after which nobody knows whether the frame went."""
_AT_ONCE = 1024
_OPTIONS: dict[str, dict[str, Any]] = {"slcan": {"sleep_after_open": 0.0}}


class PythonCanTransport:
    """Frames over a ``can.BusABC`` that is open; closes it. Damaged frames are counted, and not handed on."""

    def __init__(self, bus: Any, description: str) -> None:
        import can

        self._library = can
        self._bus, self._description = bus, description
        self._closed = False
        self._room_s = _SERIAL_ROOM_S if hasattr(bus, "serialPortOrig") else _ROOM_S
        self._health = HealthRecord()
        self._health.state = "unknown"
        self._token = secrets.token_hex(8)
        """Marks our frames where the interface hands them back to us: udp_multicast does."""

    @property
    def description(self) -> str:
        return self._description

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        messages = [self._message(frame) for frame in frames]
        for index, message in enumerate(messages):
            while True:
                self._require_open()
                try:
                    self._bus.send(message, timeout=self._room_s)
                    break
                except Exception as error:
                    if not self._is_full(error):
                        raise self._failed("does not send", error) from error
                    if time.monotonic_ns() >= deadline_ns:
                        raise self._full(len(messages) - index) from error

    def receive(self, deadline_ns: int) -> list[Frame]:
        frames: list[Frame] = []
        for _ in range(_AT_ONCE):
            left_s = 0.0 if frames else max(0.0, (deadline_ns - time.monotonic_ns()) * 1e-9)
            message = self._next(left_s)
            if message is not None:
                self._take(message, frames)
            elif frames or time.monotonic_ns() >= deadline_ns:
                break
        return frames

    def health(self) -> BusHealth:
        return self._health.snapshot()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._bus.shutdown()
            except Exception:  # noqa: BLE001 - what is gone cannot be closed any better
                logging.getLogger(__name__).debug("%s was gone when it was closed", self._description)

    def _next(self, timeout_s: float) -> Any:
        self._require_open()
        try:
            return self._bus.recv(timeout_s)
        except Exception as error:
            if not _is_damage(error):
                raise self._failed("does not receive", error) from error
            self._health.error_frames += 1
            return None

    def _take(self, message: Any, frames: list[Frame]) -> None:
        now_ns = time.monotonic_ns()
        if message.channel == self._token:
            return
        if message.is_error_frame:
            self._health.take(ErrorFrame(message.arbitration_id, bytes(message.data).ljust(8, b"\0")))
            return
        data = bytes(message.dlc) if message.is_remote_frame else bytes(message.data)
        frame = Frame(
            message.arbitration_id,
            data,
            message.is_extended_id,
            message.is_fd,
            message.bitrate_switch,
            now_ns,
            message.is_remote_frame,
        )
        if len(data) == message.dlc and _is_whole(frame):
            frames.append(frame)
        else:
            self._health.error_frames += 1

    def _message(self, frame: Frame) -> Any:
        pack_frame(frame)  # what no bus can carry is refused here as everywhere
        return self._library.Message(
            arbitration_id=frame.id,
            is_extended_id=frame.extended,
            is_remote_frame=frame.remote,
            is_fd=frame.fd,
            bitrate_switch=frame.brs,
            dlc=len(frame.data),
            data=None if frame.remote else frame.data,
            channel=self._token,
        )

    def _is_full(self, error: Exception) -> bool:
        timeout = isinstance(error, self._library.CanTimeoutError)
        return timeout or getattr(error, "error_code", None) in (errno.ENOBUFS, errno.EAGAIN)

    def _full(self, frames_left: int) -> BusTimeout:
        self._health.full += frames_left
        return BusTimeout(
            f"{self.description} takes no frames, {frames_left} were left at the deadline",
            fix="check that a motor is powered and acknowledges, or lower the loop rate",
        )

    def _require_open(self) -> None:
        if self._closed:
            raise BusError(f"{self.description} is closed", fix="open the transport again before using it")

    def _failed(self, what: str, error: Exception) -> BusError:
        return BusError(
            f"{self.description} {what} ({error})", fix="check the adapter and its cable, then start again"
        )


def _is_damage(error: Exception) -> bool:
    """Whether something arrived that is no frame: the channel itself is well."""
    cause = error.__cause__
    return isinstance(error, ValueError) or not (cause is None or isinstance(cause, OSError))


def _is_whole(frame: Frame) -> bool:
    try:
        pack_frame(frame)
    except BusError:
        return False
    return True


def open_python_can(
    interface: str, channel: str, bitrate: int, data_bitrate: int | None = None
) -> PythonCanTransport:
    """Opens a channel [bit/s]. Raises ConfigError without python-can, BusError when it cannot be opened."""
    try:
        import can
    except ImportError as error:
        raise ConfigError(
            f"CAN interface {interface} needs {error.name or error}", fix="run `pip install 'wall-edge[can]'`"
        ) from None
    # It words a message a frame for its log, whose level is the root's unless it is said.
    logging.getLogger("can").setLevel(logging.WARNING)
    description = f"{interface} channel {channel} at {bitrate} bit/s"
    try:
        bus: Any = can.Bus(
            interface=interface,
            channel=channel,
            ignore_config=True,
            bitrate=bitrate,
            **_OPTIONS.get(interface, {}),
        )
        if interface == "slcan" and data_bitrate is not None:
            bus.set_bitrate(bitrate, data_bitrate)
    except Exception as error:
        raise BusError(
            f"{description} cannot be opened ({error})",
            fix="check that the channel exists, is yours to open, not in use, and knows this bit rate",
        ) from error
    return PythonCanTransport(bus, description)
