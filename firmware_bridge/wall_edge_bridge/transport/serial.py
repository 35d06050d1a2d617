"""A serial port with absolute deadlines."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time

import serial
from serial.tools import list_ports

from wall_edge.errors import BusError, BusTimeout


class SerialTransport:
    """An exclusively opened serial port, 8N1, raw; implements ``transport.base.Transport``.

    Exclusive twice over: flock keeps out programs that ask for a lock too, TIOCEXCL those that just open the
    port (but for root's). A port that vanished and came back is opened by a new one of these.

    pyserial opens and configures the port; bytes then go through ``os.read``, ``os.write`` and ``select`` on
    its descriptor. pyserial's own timeouts are relative, and setting one reprograms the whole port
    (``tcsetattr``): several system calls for every read of a servo loop.

    Raises BusError when the port is missing, not permitted, in use or not a serial port.
    """

    def __init__(self, port: str, baud: int = 1_000_000) -> None:
        self.port = port
        self.baud = baud
        try:
            self._serial = serial.Serial(port, baud, timeout=0, exclusive=True)
        except (
            OSError,
            ValueError,
        ) as error:  # SerialException is an OSError; ValueError: an impossible baud
            raise _cannot_open(port, baud, error) from error
        self._fd: int = self._serial.fileno()
        self._keep_to_ourselves(termios.TIOCEXCL)
        self._request_low_latency()

    @property
    def description(self) -> str:
        return f"{self.port} at {self.baud} baud"

    def send(self, data: bytes, deadline_ns: int) -> None:
        """Write all of ``data``; what fits into the driver's buffer goes out even after the deadline.

        Raises BusTimeout when the buffer stayed full until the deadline, BusError when the device vanished.
        """
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                if not self._wait(deadline_ns, for_writing=True):
                    raise BusTimeout(
                        f"{self.description} takes no bytes, {len(data)} were left at the deadline",
                        fix="check the adapter, or lower the loop rate: the wire is slower than the commands",
                    ) from None
            except OSError as error:
                raise self._vanished(error) from error

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        """1 to ``at_most`` bytes as soon as any arrive, or empty at the deadline.

        Raises BusError when the device vanished.
        """
        try:
            if not self._wait(deadline_ns):
                return b""
            data = os.read(self._fd, at_most)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._vanished(error) from error
        if not data:  # readable yet empty is how an unplugged adapter looks
            raise self._vanished(None)
        return data

    def close(self) -> None:
        """Release the port; may be called twice."""
        if self._fd >= 0:
            self._keep_to_ourselves(termios.TIOCNXCL)
        self._fd = -1
        self._serial.close()

    def _keep_to_ourselves(self, command: int) -> None:
        with contextlib.suppress(OSError):  # a device that vanished, or knows no such command
            fcntl.ioctl(self._fd, command)

    def _wait(self, deadline_ns: int, for_writing: bool = False) -> bool:
        # select, not poll: its timeout counts microseconds, and deadlines here are often less than 1 ms away.
        timeout = max(0.0, (deadline_ns - time.monotonic_ns()) * 1e-9)
        waiting = [self._fd]
        try:
            ready = (
                select.select([], waiting, [], timeout)
                if for_writing
                else select.select(waiting, [], [], timeout)
            )
        except (OSError, ValueError) as error:  # ValueError: the descriptor is closed
            raise self._vanished(error) from error
        return any(ready)

    def _request_low_latency(self) -> None:
        """Without the driver's low-latency flag an FTDI adapter holds bytes for 16 ms."""
        # Not Linux, or not that kind of port.
        with contextlib.suppress(AttributeError, OSError, ValueError, NotImplementedError):
            self._serial.set_low_latency_mode(True)

    def _vanished(self, error: Exception | None) -> BusError:
        if self._fd < 0:
            return BusError(f"{self.description} is closed", fix="open the transport again before using it")
        reason = f" ({error})" if error else ""
        return BusError(
            f"{self.description} vanished{reason}",
            fix="check the USB cable and the adapter's power, then start again",
        )


def _cannot_open(port: str, baud: int, error: Exception) -> BusError:
    """One line: the port, what there is instead, the likely fix."""
    ports = ", ".join(sorted(info.device for info in list_ports.comports())) or "none"
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        reason, fix = "does not exist", "plug the adapter in and power it, or set the port to one of those"
    elif code == errno.EACCES:
        reason, fix = "may not be opened", "run `sudo usermod -aG dialout $USER` and log in again"
    elif code in (errno.EBUSY, errno.EWOULDBLOCK):
        reason, fix = "is in use", "stop the other program (`fuser -v` names it)"
    else:
        reason, fix = (
            f"cannot be opened at {baud} baud ({error})",
            "set the port and baud rate of a serial adapter",
        )
    return BusError(
        f"serial port {port} {reason}", expected=f"a free serial port (present: {ports})", fix=fix
    )
