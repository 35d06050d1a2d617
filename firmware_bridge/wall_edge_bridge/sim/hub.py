"""A simulated CAN bus between processes: a socket that carries the same structs as SocketCAN's.

Every client's frames reach the motors and all other clients, so that a monitor beside the daemon sees all;
the motors' frames reach everybody. ``transport.can_sockets.open_unix`` is the clients' end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.transport import Frame
from wall_edge_bridge.transport.can_errors import BUS_OFF, CONTROLLER, PASSIVE, RESTARTED
from wall_edge_bridge.transport.can_frame import FD_SIZE, ErrorFrame, pack_error, pack_frame, unpack_frame
from wall_edge_bridge.transport.can_sockets import unix_address

_PREFIX = "@wall-edge-can-"
_WAITING_CLIENTS = 16
_AT_ONCE = 256
"""Packets taken from a client in one step: none may keep the others out."""


def running_hubs() -> list[str]:
    """Places of the simulated buses of this machine that are in the abstract namespace."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return []
    # Num RefCount Protocol Flags Type St Inode Path; clients' ends of a connection have the path too
    words = [line.split() for line in lines]
    return sorted({word[7] for word in words if len(word) == 8 and word[7].startswith(_PREFIX)})


class HubStation:
    """A bus with ``twin``'s motors, for any number of clients; a ``sim.stations.Station``.

    ``place`` is a path, or a name in Linux's abstract namespace that begins with @ (the default, with
    ``name`` in it: nothing is left behind by a process that is killed). Frames that a client does not fetch
    until its queue is full are lost to it. Bytes that are no frame are not taken, and counted in ``refused``.
    """

    def __init__(self, twin: FrameTwin, place: str = "", name: str = "") -> None:
        self.twin = twin
        label = f"{name}-" if name else ""
        self._place = place or f"{_PREFIX}{label}{os.getpid()}-{secrets.token_hex(4)}"
        self.refused = 0
        self.lost = 0
        """Frames that some client's full queue did not take."""
        self._off = False
        self._clients: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind(unix_address(self._place))
        self._listener.listen(_WAITING_CLIENTS)

    @property
    def place(self) -> str:
        return self._place

    def fds(self) -> Sequence[int]:
        fd = self._listener.fileno()
        return () if fd < 0 else (fd, *self._clients)

    @property
    def due_ns(self) -> int | None:
        return self.twin.due_ns

    def step(self, ready: Collection[int]) -> None:
        if self._listener.fileno() < 0:
            return
        if self._listener.fileno() in ready:
            self._accept()
        for fd in [fd for fd in self._clients if fd in ready]:
            self._hear(self._clients[fd])
        self._say(self.twin.collect(time.monotonic_ns()))

    def release(self) -> None:
        for each in (self._listener, *self._clients.values()):
            each.close()
        self._clients = {}

    def close(self) -> None:
        if self._listener.fileno() >= 0 and not self._place.startswith("@"):
            with contextlib.suppress(OSError):
                os.unlink(self._place)  # noqa: PTH108 - a socket's name, not a file's
        self.release()

    # --- what goes wrong -----------------------------------------------------------------------------------

    def report(self, error: ErrorFrame) -> None:
        """As every client's own controller would say it."""
        self._send(pack_error(error), None)

    def go_passive(self) -> None:
        """Many errors on the bus."""
        self.report(ErrorFrame(CONTROLLER, bytes([0, PASSIVE, 0, 0, 0, 0, 128, 128])))

    def go_off(self) -> None:
        """Too many errors: from now on no frame passes, in either direction."""
        self._off = True
        self.report(ErrorFrame(BUS_OFF))

    def restart(self) -> None:
        """As ``restart-ms`` does some time after."""
        self._off = False
        self.report(ErrorFrame(RESTARTED))

    # --- traffic -------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                self._clients[client.fileno()] = client

    def _hear(self, client: socket.socket) -> None:
        """All that one client has sent."""
        for _ in range(_AT_ONCE):
            try:
                packet = client.recv(FD_SIZE + 1)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._clients.pop(client.fileno(), None)
                client.close()
                return
            now_ns = time.monotonic_ns()
            frame = unpack_frame(packet, now_ns)
            if not isinstance(frame, Frame):
                self.refused += 1
            elif not self._off:
                self._send(packet, client)
                self._say(self.twin.handle(frame, now_ns))

    def _say(self, frames: Sequence[Frame]) -> None:
        if not self._off:
            for frame in frames:
                self._send(pack_frame(frame), None)

    def _send(self, packet: bytes, sender: socket.socket | None) -> None:
        """To all but the sender. Who is gone is seen when it is read from."""
        for client in list(self._clients.values()):
            if client is not sender:
                try:
                    client.send(packet)
                except BlockingIOError:
                    self.lost += 1
                except OSError:
                    pass
