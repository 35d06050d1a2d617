"""One suite over every way to a CAN bus. Real time: a wire is the subject."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.sim.slcan import SlcanAdapter
from wall_edge_bridge.sim.stations import serving, serving_frames
from wall_edge_bridge.transport.base import Frame, FrameTransport
from wall_edge_bridge.transport.can_sockets import open_socketcan
from wall_edge_bridge.transport.opening import open_can
from wall_edge_bridge.transport.python_can import open_python_can

from tests.doubles.echo_motors import EchoTwin, answering
from wall_edge.errors import BusError

PATIENCE_S = 30.0
GROUP = f"239.74.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
"""Not always the same: other machines of the network may run these tests at this moment."""
VCAN = "sudo modprobe vcan && sudo ip link add vcan0 type vcan && sudo ip link set vcan0 mtu 72 up"
Bus = tuple[FrameTransport, EchoTwin]

CLASSIC = Frame(0x120, b"\1\2\3\4\5\6\7\x08")
EXTENDED = Frame(0x1200FD00, b"\x16\x70\0\0\0\0\x80\x3f", extended=True)
EMPTY = Frame(0x7F0, b"")
REMOTE = Frame(0x122, bytes(4), remote=True)
FD = Frame(0x124, bytes(range(64)), fd=True)
BRS = Frame(0x8000, bytes(range(12)), extended=True, fd=True, brs=True)
FRAMES = [CLASSIC, EXTENDED, EMPTY, REMOTE, FD, BRS]


@contextmanager
def on_a_hub() -> Iterator[Bus]:
    twin = EchoTwin()
    with serving_frames(twin) as hub:
        wire = open_can(CanSettings("any", channel=hub.place, interface="unix"))
        yield wire, twin
        wire.close()


@contextmanager
def on_slcan() -> Iterator[Bus]:
    twin = EchoTwin()
    with serving(SlcanAdapter(twin, 1_000_000, 5_000_000)) as (port,):
        wire = open_can(
            CanSettings("any", channel=port.place, interface="slcan", data_bitrate=5_000_000), details=False
        )
        yield wire, twin
        wire.close()


@contextmanager
def on_slcan_by_python_can() -> Iterator[Bus]:
    pytest.importorskip("can")
    twin = EchoTwin()
    with serving(SlcanAdapter(twin, 1_000_000, 5_000_000)) as (port,):
        wire = open_python_can("slcan", port.place, 1_000_000, 5_000_000)
        # On a busy machine this process may stall behind a write, which pyserial calls a timeout after 50 ms.
        wire._room_s = PATIENCE_S
        yield wire, twin
        wire.close()


def by_python_can(interface: str, channel: str) -> Iterator[Bus]:
    can = pytest.importorskip("can", reason="pip install 'wall-edge[can]'")
    twin = EchoTwin()
    with answering(can.Bus(interface=interface, channel=channel, ignore_config=True), twin):
        wire = open_can(CanSettings("any", channel=channel, interface=interface))
        yield wire, twin
        wire.close()


@contextmanager
def on_a_virtual_bus() -> Iterator[Bus]:
    yield from by_python_can("virtual", f"test-{secrets.token_hex(4)}")


@contextmanager
def on_multicast() -> Iterator[Bus]:
    can = pytest.importorskip("can", reason="pip install 'wall-edge[can]'")
    pytest.importorskip("msgpack", reason="pip install msgpack")
    try:
        with can.Bus(interface="udp_multicast", channel=GROUP, ignore_config=True) as bus:
            bus.send(can.Message(arbitration_id=1))
    except can.CanError as error:
        pytest.skip(f"this machine has no multicast ({error.__cause__ or error})")
    yield from by_python_can("udp_multicast", GROUP)


@contextmanager
def on_socketcan() -> Iterator[Bus]:
    if not Path("/sys/class/net/vcan0").exists():
        pytest.skip(f"needs a kernel with CAN and a vcan0: {VCAN}")
    can = pytest.importorskip("can", reason="pip install 'wall-edge[can]'")
    twin = EchoTwin()
    with answering(can.Bus(interface="socketcan", channel="vcan0", fd=True, ignore_config=True), twin):
        wire = open_socketcan("vcan0", "vcan0", VCAN)
        yield wire, twin
        wire.close()


WAYS: dict[str, Callable[[], AbstractContextManager[Bus]]] = {
    "hub": on_a_hub,
    "slcan": on_slcan,
    "python-can slcan": on_slcan_by_python_can,
    "python-can virtual": on_a_virtual_bus,
    "python-can udp_multicast": on_multicast,
    "socketcan": on_socketcan,
}


@pytest.fixture(params=WAYS)
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    with WAYS[request.param]() as pair:
        yield pair


def soon(seconds: float = PATIENCE_S) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def receive(wire: FrameTransport, count: int) -> list[Frame]:
    frames: list[Frame] = []
    deadline_ns = soon()
    while len(frames) < count and time.monotonic_ns() < deadline_ns:
        frames += wire.receive(deadline_ns)
    return frames


def without_time(frames: list[Frame]) -> list[Frame]:
    return [frame._replace(received_ns=0) for frame in frames]


def test_every_kind_of_frame_goes_and_comes_back_whole(bus: Bus) -> None:
    wire, twin = bus
    for frame in FRAMES:
        before_ns = time.monotonic_ns()
        wire.send([frame], soon())
        (reply,) = receive(wire, 1)
        assert reply._replace(received_ns=0) == EchoTwin.reply(frame)
        assert before_ns < reply.received_ns <= time.monotonic_ns()
    assert twin.heard == FRAMES


def test_a_burst_keeps_its_order(bus: Bus) -> None:
    wire, twin = bus
    burst = [Frame(2 * i, bytes([i])) for i in range(20)]
    wire.send(burst, soon())
    assert without_time(receive(wire, 20)) == [EchoTwin.reply(frame) for frame in burst]
    assert twin.heard == burst


def test_nothing_is_there_until_the_deadline(bus: Bus) -> None:
    wire, _ = bus
    start_ns = time.monotonic_ns()
    assert wire.receive(start_ns + 20_000_000) == []
    took_ms = (time.monotonic_ns() - start_ns) / 1e6
    assert 19 < took_ms < 5000  # a busy machine may stall for a second


def test_a_deadline_that_has_passed_gives_what_is_there(bus: Bus) -> None:
    wire, _ = bus
    wire.send([CLASSIC], soon())
    deadline_ns = soon()
    while not (frames := wire.receive(0)) and time.monotonic_ns() < deadline_ns:
        time.sleep(0.001)
    assert without_time(frames) == [EchoTwin.reply(CLASSIC)]


def test_a_frame_that_no_bus_carries_is_refused_with_all_of_its_burst(bus: Bus) -> None:
    wire, twin = bus
    for frame in (Frame(0x800, b""), Frame(1, bytes(9)), Frame(1, bytes(13), fd=True)):
        with pytest.raises(BusError, match="expected"):
            wire.send([CLASSIC, frame], soon())
    wire.send([EMPTY], soon())
    receive(wire, 1)
    assert twin.heard == [EMPTY]


def test_health_is_well_and_closing_twice_is_no_harm(bus: Bus) -> None:
    wire, _ = bus
    assert sum(wire.health()[:-1]) == 0
    assert wire.health().state in ("active", "unknown")
    wire.close()
    wire.close()
    with pytest.raises(BusError, match="closed"):
        wire.receive(soon(0.01))
    with pytest.raises(BusError, match="closed"):
        wire.send([CLASSIC], soon(0.01))
