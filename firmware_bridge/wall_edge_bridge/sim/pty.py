"""A pseudo-terminal: the simulated motors' end of a serial port that any program can open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
import time
import tty
from types import TracebackType

from wall_edge_bridge.sim.base import ByteTwin

_CHUNK = 4096
_STOP_CHECK_S = 0.05
_TCGETS2 = 0x802C542A
_TIOCGEXCL = 0x80045440
_TERMIOS2 = struct.Struct("4I20B2I")
"""Linux's struct termios2, whose last number is the output speed in bit/s."""


class PtyPort:
    """Both ends of a raw pseudo-terminal: clients open ``path``, the simulation selects on ``fd``."""

    def __init__(self) -> None:
        # The client's end stays open here too: without it, the motors' end fails whenever no client is there.
        self.fd, self._client_end = os.openpty()
        tty.setraw(self._client_end)
        settings = termios.tcgetattr(self._client_end)
        settings[4] = settings[5] = termios.B1000000  # for clients that do not set a speed
        termios.tcsetattr(self._client_end, termios.TCSANOW, settings)
        os.set_blocking(self.fd, False)
        self.path = os.ttyname(self._client_end)

    @property
    def baud(self) -> int | None:
        """The speed that the client has set [bit/s]; None when the port is closed."""
        with contextlib.suppress(OSError, ValueError):
            answer = fcntl.ioctl(self.fd, _TCGETS2, bytes(_TERMIOS2.size))
            return int(_TERMIOS2.unpack(answer)[-1])
        return None

    def read(self) -> bytes:
        """What the client has sent; empty when there is nothing or the port is closed."""
        with contextlib.suppress(OSError):  # BlockingIOError among them
            return os.read(self.fd, _CHUNK)
        return b""

    def write(self, data: bytes) -> None:
        """Send to the client. Bytes it leaves lying until the buffer is full are lost, as on a wire."""
        with contextlib.suppress(OSError):
            os.write(self.fd, data)

    def forget_the_dead(self) -> None:
        """Open the port to others when who held it exclusively is gone, as a real port does by itself."""
        with contextlib.suppress(OSError, ValueError):  # BlockingIOError: the holder's lock says it lives
            if any(fcntl.ioctl(self._client_end, _TIOCGEXCL, bytes(4))):
                fcntl.flock(self._client_end, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.ioctl(self._client_end, termios.TIOCNXCL)
                fcntl.flock(self._client_end, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unplug: the client's next access fails. May be called twice."""
        fds, self.fd, self._client_end = {self.fd, self._client_end}, -1, -1
        for fd in fds - {-1}:
            os.close(fd)

    def __enter__(self) -> PtyPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answer(bus: ByteTwin, port: PtyPort, ready: bool) -> None:
    """Hand over what the client has sent, if the port is ``ready``, and send what the servos say by now."""
    now = time.monotonic_ns()
    replies = bus.handle(port.read(), now, port.baud) if ready else bus.collect(now)
    if replies:
        port.write(replies)
