"""The raw socket's ends: full queues, error frames, a bus that is off, down or gone. Over a simulated bus."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from wall_edge_bridge.sim.hub import HubStation
from wall_edge_bridge.sim.stations import serving_frames
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_errors import BUS_ERROR, NO_ACK
from wall_edge_bridge.transport.can_frame import ErrorFrame, pack_frame
from wall_edge_bridge.transport.can_sockets import open_socketcan, open_unix
from wall_edge_bridge.transport.socketcan import RawCanTransport

from tests.doubles.echo_motors import EchoTwin
from wall_edge.errors import BusError, BusTimeout

FRAME = Frame(0x10, b"\1\2")
FIX = "run `sudo ip link set can0 up`"


def soon(seconds: float = 30.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


@pytest.fixture
def hub() -> Iterator[HubStation]:
    with serving_frames(EchoTwin()) as station:
        yield station


@pytest.fixture
def wire(hub: HubStation) -> Iterator[RawCanTransport]:
    transport = open_unix(hub.place, "can9", FIX)
    transport.send([FRAME], soon())
    assert transport.receive(soon())  # the hub knows us
    yield transport
    transport.close()


def joined(hub: HubStation) -> RawCanTransport:
    """One more client, that the hub knows."""
    before = len(hub.fds())
    client = open_unix(hub.place, "can9", FIX)
    while len(hub.fds()) == before:
        time.sleep(0.001)
    return client


class KernelQueue:
    """A CAN socket whose device queue is full for ``refusals`` sends; AF_UNIX knows no ENOBUFS."""

    def __init__(self, real: socket.socket, refusals: int, code: int = errno.ENOBUFS) -> None:
        self._real, self.refusals, self.code = real, refusals, code
        self.ancillary: list[tuple[int, int, bytes]] = []

    def send(self, packet: bytes) -> int:
        if self.refusals > 0:
            self.refusals -= 1
            raise OSError(self.code, os.strerror(self.code))
        return self._real.send(packet)

    def recvmsg(self, size: int, ancillary: int) -> Any:
        packet, _, flags, address = self._real.recvmsg(size, ancillary)
        return packet, self.ancillary, flags, address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def kernel(hub: HubStation, refusals: int, code: int = errno.ENOBUFS) -> tuple[RawCanTransport, KernelQueue]:
    real = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    real.connect(f"\0{hub.place[1:]}")
    queue: Any = KernelQueue(real, refusals, code)
    return RawCanTransport(queue, "can9", FIX), queue


# --- full queues -------------------------------------------------------------------------------------------


def test_a_device_queue_that_has_room_in_time_takes_the_frame(hub: HubStation) -> None:
    wire, _ = kernel(hub, refusals=5)
    wire.send([FRAME], soon())
    assert wire.receive(soon())[0].id == 0x11
    assert wire.health().full == 0
    wire.close()


def test_a_device_queue_that_stays_full_is_a_timeout_and_counted(hub: HubStation) -> None:
    wire, _ = kernel(hub, refusals=10**9)
    start_ns = time.monotonic_ns()
    with pytest.raises(BusTimeout, match="can9 takes no frames, 3 were left"):
        wire.send([FRAME] * 3, start_ns + 10_000_000)
    assert 9e6 < time.monotonic_ns() - start_ns < 10e9  # a busy machine may stall for a second
    assert wire.health().full == 3
    wire.close()


def test_a_queue_that_nobody_empties_is_a_timeout() -> None:
    hub = HubStation(EchoTwin())  # which nobody serves
    wire = open_unix(hub.place, "can9", FIX)
    with pytest.raises(BusTimeout, match="takes no frames"):
        wire.send([FRAME] * 100_000, soon(0.02))
    assert 0 < wire.health().full < 100_000
    wire.close()
    hub.close()


def test_after_the_deadline_what_the_queue_takes_goes_out(wire: RawCanTransport) -> None:
    wire.send([FRAME], 0)
    assert wire.receive(soon())[0].id == 0x11


# --- what the kernel tells ---------------------------------------------------------------------------------


def test_frames_that_the_kernel_dropped_are_counted_once(hub: HubStation) -> None:
    wire, queue = kernel(hub, refusals=0)
    for total, lost in ((3, 3), (3, 3), (7, 7)):
        queue.ancillary = [(socket.SOL_SOCKET, 40, struct.pack("=I", total))]
        wire.send([FRAME], soon())
        wire.receive(soon())
        assert wire.health().lost == lost
    wire.close()


def test_a_classic_channel_that_takes_no_fd_frames_says_so(hub: HubStation) -> None:
    wire, _ = kernel(hub, refusals=1, code=errno.EINVAL)
    with pytest.raises(BusError, match=r"takes no CAN FD frames; expected .* fd on"):
        wire.send([FRAME._replace(fd=True)], soon())
    wire.close()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENETDOWN, "went down"), (errno.ENODEV, "vanished"), (errno.EIO, "fails")]
)
def test_an_interface_that_is_gone_stays_gone(hub: HubStation, code: int, words: str) -> None:
    """The kernel says so once on reading: a second look must not find a silent bus."""
    wire, _ = kernel(hub, refusals=1, code=code)
    for _ in range(2):
        with pytest.raises(BusError, match=f"can9 {words}.*ip link set can0 up"):
            wire.send([FRAME], soon())
    with pytest.raises(BusError, match=words):
        wire.receive(soon())
    assert wire.health().state == "unknown"
    wire.close()


def test_error_frames_are_no_frames_and_do_not_end_the_waiting(
    hub: HubStation, wire: RawCanTransport
) -> None:
    hub.report(ErrorFrame(NO_ACK | BUS_ERROR))
    start_ns = time.monotonic_ns()
    assert wire.receive(start_ns + 20_000_000) == []
    assert time.monotonic_ns() - start_ns > 19e6
    assert wire.health().error_frames == 1


# --- states of the bus -------------------------------------------------------------------------------------


def test_an_error_passive_controller_is_counted_and_goes_on(hub: HubStation, wire: RawCanTransport) -> None:
    hub.go_passive()
    wire.send([FRAME], soon())
    assert wire.receive(soon())[0].id == 0x11
    assert (wire.health().state, wire.health().error_passive) == ("passive", 1)


def test_off_the_bus_until_the_controller_restarts(hub: HubStation, wire: RawCanTransport) -> None:
    hub.go_off()
    with pytest.raises(BusError, match=r"can9 is off the bus.*120 ohm"):
        wire.receive(soon(0.02))
    with pytest.raises(BusError, match="off the bus"):
        wire.send([FRAME], soon(0.02))
    hub.restart()
    wire.send([FRAME], soon())  # which looks for the restart itself
    assert wire.receive(soon())[0].id == 0x11
    assert wire.health()[2:] == (1, 0, 0, "active")


def test_nothing_passes_a_bus_that_is_off(hub: HubStation, wire: RawCanTransport) -> None:
    twin = hub.twin
    assert isinstance(twin, EchoTwin)
    hub.go_off()
    wire.send([FRAME], soon())  # it has not heard yet
    with pytest.raises(BusError, match="off"):
        wire.receive(soon(0.02))
    assert len(twin.heard) == 1  # the one before


def test_a_frame_that_came_before_the_bus_went_off_is_not_lost(
    hub: HubStation, wire: RawCanTransport
) -> None:
    wire.send([FRAME], soon())
    assert select.select([wire], [], [], 30)[0]  # the answer is there, unread
    hub.go_off()
    assert [frame.id for frame in wire.receive(soon())] == [0x11]


# --- the simulated bus -------------------------------------------------------------------------------------


def test_a_monitor_sees_both_sides_and_the_sender_does_not_hear_itself(
    hub: HubStation, wire: RawCanTransport
) -> None:
    monitor = joined(hub)
    wire.send([FRAME], soon())
    assert [frame.id for frame in wire.receive(soon())] == [0x11]
    ids: list[int] = []
    while len(ids) < 2 and (frames := monitor.receive(soon())):
        ids += [frame.id for frame in frames]
    assert ids == [0x10, 0x11]
    monitor.close()


def test_bytes_that_are_no_frame_are_not_taken(hub: HubStation, wire: RawCanTransport) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rogue:
        rogue.connect(f"\0{hub.place[1:]}")
        for packet in (b"x", bytes(15), pack_frame(FRAME) + b"\0", bytes(100)):
            rogue.send(packet)
        rogue.send(pack_frame(FRAME))
        rogue.settimeout(30)
        assert rogue.recv(100)
    assert hub.refused == 4
    assert wire.receive(soon())


def test_a_client_that_never_reads_does_not_keep_the_others(hub: HubStation, wire: RawCanTransport) -> None:
    sleeper = joined(hub)
    for _ in range(600):
        wire.send([FRAME], soon())
        assert wire.receive(soon())
    assert hub.lost > 0
    sleeper.close()


def test_the_end_of_a_simulated_bus_is_told(hub: HubStation, wire: RawCanTransport) -> None:
    hub.close()
    with pytest.raises(BusError, match="can9 vanished"):
        wire.receive(soon())
    with pytest.raises(BusError, match="can9 vanished"):
        wire.send([FRAME], soon())


def test_what_cannot_be_opened() -> None:
    with pytest.raises(BusError, match="can9 does not exist"):
        open_unix("@nobody-is-there", "can9", FIX)
    with pytest.raises(BusError, match="can9 does not exist"):
        open_unix("/nowhere/at/all", "can9", FIX)
    with pytest.raises(BusError, match="can9 cannot be opened"):
        open_unix("/" + "x" * 200, "can9", FIX)
    with pytest.raises(BusError, match=r"does not exist|no CAN socket"):
        open_socketcan("nocan7", "nocan7", FIX)


# --- AF_CAN, as far as a kernel without it allows ----------------------------------------------------------


class CanSocket:
    """Takes what ``socket(7)`` and ``can.rst`` say that a CAN socket takes, and keeps it."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        assert (family, kind, protocol) == (29, socket.SOCK_RAW, 1)
        self.options: dict[tuple[int, int], int] = {}
        self.address: tuple[str] | None = None
        self.blocking = True

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert self.address is None, "before frames can arrive"
        self.options[level, option] = value

    def bind(self, address: tuple[str]) -> None:
        if address[0] != "can0":
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.address = address

    def setblocking(self, on: bool) -> None:
        self.blocking = on

    def close(self) -> None:
        self.address = None


def test_a_can_socket_is_opened_with_the_options_of_the_kernels_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[CanSocket] = []

    def make(*arguments: int) -> CanSocket:
        opened.append(CanSocket(*arguments))
        return opened[-1]

    monkeypatch.setattr(socket, "socket", make)
    open_socketcan("can0", "can0", FIX)
    (raw,) = opened
    # linux/can/raw.h: error filter, no frames of our own, FD frames; asm-generic/socket.h: SO_RXQ_OVFL
    assert raw.options == {(101, 2): 0x1FFFFFFF, (101, 4): 0, (101, 5): 1, (socket.SOL_SOCKET, 40): 1}
    assert (raw.address, raw.blocking) == (("can0",), False)
    with pytest.raises(BusError, match="can8 does not exist"):
        open_socketcan("can8", "can8", FIX)
