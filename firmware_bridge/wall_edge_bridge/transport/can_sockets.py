"""Sockets for ``transport.socketcan``: a CAN interface of the kernel, or a simulated bus (``sim.hub``).

AF_CAN itself is untested where this was written, for want of a kernel with CAN:
``tests/contract/test_can_transport.py`` runs on ``vcan0`` where there is one (``sudo modprobe vcan && sudo ip
link add vcan0 type vcan && sudo ip link set vcan0 mtu 72 up``).

Sources: the kernel's ``Documentation/networking/can.rst`` and ``include/uapi/linux/can/raw.h``.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from wall_edge.errors import BusError
from wall_edge_bridge.transport.can_errors import ALL_CLASSES
from wall_edge_bridge.transport.socketcan import SO_RXQ_OVFL, RawCanTransport

_AF_CAN, _CAN_RAW, _SOL_CAN_RAW = 29, 1, 101
_CAN_RAW_ERR_FILTER, _CAN_RAW_RECV_OURS, _CAN_RAW_FD_FRAMES = 2, 4, 5
_MISSING = (errno.ENODEV, errno.ENOENT, errno.ECONNREFUSED)


def open_socketcan(channel: str, description: str, fix: str) -> RawCanTransport:
    """A network interface, which ``fix`` brings up. Raises BusError when there is none, or no CAN at all."""
    raw = _socket(
        _AF_CAN, socket.SOCK_RAW, _CAN_RAW, fix="run `sudo modprobe -a can can_raw` (a Jetson: and mttcan)"
    )
    raw.setsockopt(_SOL_CAN_RAW, _CAN_RAW_FD_FRAMES, 1)
    raw.setsockopt(_SOL_CAN_RAW, _CAN_RAW_ERR_FILTER, ALL_CLASSES)
    raw.setsockopt(_SOL_CAN_RAW, _CAN_RAW_RECV_OURS, 0)
    raw.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    return _connected(raw, lambda: raw.bind((channel,)), description, fix)


def open_unix(path: str, description: str, fix: str) -> RawCanTransport:
    """A simulated bus at a socket's path; one that begins with @ is in Linux's abstract namespace."""
    raw = _socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fix="")
    return _connected(raw, lambda: raw.connect(unix_address(path)), description, fix)


def unix_address(path: str) -> str:
    """What ``bind`` and ``connect`` take."""
    return f"\0{path[1:]}" if path.startswith("@") else path


def _socket(family: int, kind: int, protocol: int, *, fix: str) -> socket.socket:
    try:
        return socket.socket(family, kind, protocol)
    except OSError as error:
        raise BusError(f"this kernel opens no CAN socket ({error})", fix=fix) from error


def _connected(
    raw: socket.socket, connect: Callable[[], object], description: str, fix: str
) -> RawCanTransport:
    try:
        connect()
    except (OSError, ValueError) as error:  # ValueError: a NUL; OSError also says that a path is too long
        with contextlib.suppress(OSError):
            raw.close()
        missing = isinstance(error, OSError) and error.errno in _MISSING
        reason = "does not exist" if missing else f"cannot be opened ({error})"
        raise BusError(f"{description} {reason}", fix=fix) from error
    return RawCanTransport(raw, description, fix)
