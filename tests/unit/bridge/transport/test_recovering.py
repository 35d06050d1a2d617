"""Adapters that are unplugged and plugged in again: ports, buses, and their counts."""

from __future__ import annotations

import itertools
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from wall_edge_bridge.drives.settings import CanSettings, SerialSettings
from wall_edge_bridge.kinds.registry import kind_named
from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.sim.hub import HubStation
from wall_edge_bridge.sim.pty import PtyPort
from wall_edge_bridge.sim.slcan import SlcanAdapter
from wall_edge_bridge.sim.stations import PtyStation, serve, serving, serving_frames
from wall_edge_bridge.sim.wires import FrameWire, VirtualClock
from wall_edge_bridge.transport.base import BusHealth, ByteTransport, Frame, FrameTransport
from wall_edge_bridge.transport.opening import open_wire
from wall_edge_bridge.transport.recovering import RETRY_NS, RecoveringFrames, tell_reopenings

from tests.doubles.echo_motors import EchoTwin
from wall_edge.errors import BusError, BusTimeout
from wall_edge.runtime.servo.drives import open_drives

FRAME = Frame(0x10, b"\1\2")


def soon(seconds: float = 30.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def until_well(action: Callable[[], object]) -> None:
    deadline_ns = soon()
    while True:
        try:
            action()
            return
        except BusError:
            assert time.monotonic_ns() < deadline_ns
            time.sleep(0.005)


def link(place: Path, target: str) -> None:
    """As udev does when an adapter comes back under another number."""
    new = place.with_suffix(".new")
    new.symlink_to(target)
    new.replace(place)


def serial(tmp_path: Path, first: PtyPort) -> tuple[ByteTransport, Path]:
    place = tmp_path / "arm"
    link(place, first.path)
    wire = open_wire(SerialSettings("any", port=str(place), on_loss="recover"))
    assert not isinstance(wire, RecoveringFrames)
    bytes_wire: ByteTransport = wire  # type: ignore[assignment]
    return bytes_wire, place


def arrived(port: PtyPort) -> bytes:
    """What the motors' end has, once a thread of the kernel has handed it over."""
    assert select.select([port.fd], [], [], 30)[0]
    return port.read()


def test_a_serial_adapter_that_comes_back_under_another_number(tmp_path: Path) -> None:
    first, second = PtyPort(), PtyPort()
    wire, place = serial(tmp_path, first)
    wire.send(b"one", soon())
    assert arrived(first) == b"one"
    first.close()
    with pytest.raises(BusError, match="arm at 1000000 baud vanished"):
        wire.receive(10, soon())
    place.unlink()
    with pytest.raises(BusError, match="is not there; plug the adapter in again"):
        wire.send(b"lost", soon())
    link(place, second.path)
    until_well(lambda: wire.send(b"two", soon()))
    assert arrived(second) == b"two"
    second.write(b"back")
    assert wire.receive(10, soon()) == b"back"
    assert wire.reopened == 1
    wire.close()
    second.close()


def test_while_it_is_gone_nothing_waits(tmp_path: Path) -> None:
    """The other buses of the tick must not."""
    port = PtyPort()
    wire, place = serial(tmp_path, port)
    port.close()
    place.unlink()
    start_ns = time.monotonic_ns()
    for _ in range(20):
        with pytest.raises(BusError):
            wire.receive(10, soon())
    assert time.monotonic_ns() - start_ns < 15e9  # one wait alone lasts 30 s
    wire.close()


def test_an_slcan_adapter_that_comes_back(tmp_path: Path) -> None:
    place = tmp_path / "adapter"
    first = PtyStation(SlcanAdapter(EchoTwin()))
    link(place, first.place)
    settings = CanSettings("any", channel=str(place), interface="slcan", on_loss="recover")
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=([first], stop))
    thread.start()
    wire = open_wire(settings)
    assert isinstance(wire, RecoveringFrames)
    stop.set()
    thread.join()
    first.close()
    with pytest.raises(BusError, match=r"adapter .* vanished"):
        wire.receive(soon())
    place.unlink()
    with pytest.raises(BusError, match="is not there"):
        wire.receive(soon())
    with serving(SlcanAdapter(EchoTwin())) as (second,):
        link(place, second.place)
        until_well(lambda: wire.send([FRAME], soon()))
        assert [frame.id for frame in wire.receive(soon())] == [0x11]
        assert wire.reopened == 1
        wire.close()


def test_a_bus_that_comes_back(tmp_path: Path) -> None:
    place = str(tmp_path / "can")
    settings = CanSettings("any", channel=place, interface="unix", on_loss="recover")
    hub = HubStation(EchoTwin(), place)
    wire = open_wire(settings)
    assert isinstance(wire, RecoveringFrames)
    hub.close()
    with pytest.raises(BusError, match="vanished"):
        wire.receive(soon())
    with pytest.raises(BusError, match="is not there"):
        wire.send([FRAME], soon())
    assert wire.health().state == "unknown"
    again = HubStation(EchoTwin(), place)
    until_well(lambda: wire.send([FRAME], soon()))
    assert wire.health().state == "active"
    assert wire.reopened == 1
    wire.close()
    again.close()
    assert not Path(place).exists()


@contextmanager
def serving_at(twin: FrameTwin, place: str) -> Iterator[None]:
    station, stop = HubStation(twin, place), threading.Event()
    thread = threading.Thread(target=serve, args=([station], stop))
    thread.start()
    yield
    stop.set()
    thread.join()
    station.close()


def test_a_drive_counts_that_its_bus_was_opened_again(tmp_path: Path) -> None:
    kind = kind_named("damiao")
    place = str(tmp_path / "can")
    joints = [kind.joint("elbow", 1, -1.0, 1.0, 1.0, drive="arm")]
    settings = replace(kind.settings("damiao").at(place), on_loss="recover", timeout_ms=1000)
    config = SimpleNamespace(
        drives={"arm": settings},
        joints=tuple(joints),
        joints_of=lambda _: tuple(joints),
        control=SimpleNamespace(start_slack_rad=0.1, rate_hz=250.0),
    )
    twin = kind.make_twin(settings, joints, [0.0], timed=False)
    with serving_at(twin, place):
        group = open_drives(config, {})  # type: ignore[arg-type]  # what it needs of one
        group.connect()
        assert group.counters.reopened == 0
    with pytest.raises(BusError):
        group.look(soon())
    with serving_at(twin, place):
        until_well(lambda: group.look(soon()))
        assert group.counters.reopened == 1
    group.close()


def test_a_bus_that_is_off_is_not_opened_again() -> None:
    """The socket is well: a new one would not know that the controller is off."""
    with serving_frames(EchoTwin()) as hub:
        settings = replace(CanSettings("any", channel="can0"), on_loss="recover")
        wire = open_wire(settings.at(hub.place))
        assert isinstance(wire, RecoveringFrames)
        wire.send([FRAME], soon())
        wire.receive(soon())
        hub.go_off()
        for _ in range(3):
            with pytest.raises(BusError, match="off the bus"):
                wire.receive(soon(0.01))
        hub.restart()
        wire.send([FRAME], soon())
        assert wire.receive(soon())
        assert (wire.reopened, wire.health().bus_off) == (0, 1)
        wire.close()


# --- in virtual time ---------------------------------------------------------------------------------------


class Adapter:
    """Where wires come from: none while it is unplugged."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.there = clock, True
        self.opened: list[int] = []
        self.failure: BusError | None = None
        self.wires: list[FrameWire] = []

    def open(self) -> FrameTransport:
        self.opened.append(self.clock())
        if not self.there:
            raise BusError("no adapter")
        wire = FrameWire(EchoTwin(), self.clock, self.clock.sleep)
        wire.send = self._send  # type: ignore[method-assign]
        self.wires.append(wire)
        return wire

    def _send(self, frames: object, deadline_ns: int) -> None:  # noqa: ARG002
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def adapter(clock: VirtualClock) -> Adapter:
    return Adapter(clock)


@pytest.fixture
def wire(adapter: Adapter, clock: VirtualClock) -> RecoveringFrames:
    return RecoveringFrames(adapter.open(), adapter.open, clock)


def attempt(wire: RecoveringFrames) -> bool:
    try:
        wire.send([FRAME], 0)
    except BusError:
        return False
    return True


def test_it_is_tried_every_20_ms_at_most(
    wire: RecoveringFrames, adapter: Adapter, clock: VirtualClock
) -> None:
    told: list[int] = []
    tell_reopenings(wire, lambda: told.append(clock()))
    adapter.failure, adapter.there = BusError("it vanished"), False
    for _ in range(250):
        assert not attempt(wire)
        clock.sleep(clock() + 4_000_000)
    times = adapter.opened[1:]
    assert len(times) == 50
    assert min(b - a for a, b in itertools.pairwise(times)) >= RETRY_NS
    adapter.failure, adapter.there = None, True
    clock.sleep(clock() + RETRY_NS)
    assert attempt(wire)
    assert wire.reopened == 1
    assert told == adapter.opened[-1:]


def test_a_timeout_is_no_loss(wire: RecoveringFrames, adapter: Adapter) -> None:
    adapter.failure = BusTimeout("full")
    assert not attempt(wire)
    adapter.failure = None
    assert attempt(wire)
    assert len(adapter.opened) == 1


def test_health_is_counted_over_all_openings(wire: RecoveringFrames, adapter: Adapter) -> None:
    adapter.wires[0].trouble = BusHealth(1, 2, 3, 4, 5, "passive")
    adapter.failure = BusError("it vanished")
    assert not attempt(wire)
    assert wire.health() == BusHealth(1, 2, 3, 4, 5, "unknown")
    adapter.failure = None
    assert attempt(wire)
    adapter.wires[1].trouble = BusHealth(10, 10, 10, 10, 10, "warning")
    assert wire.health() == BusHealth(11, 12, 13, 14, 15, "warning")


def test_a_closed_one_is_not_opened_again(wire: RecoveringFrames, adapter: Adapter) -> None:
    adapter.failure = BusError("it vanished")
    assert not attempt(wire)
    adapter.failure = None
    wire.close()
    wire.close()
    with pytest.raises(BusError, match="is closed"):
        wire.send([FRAME], 0)
    assert len(adapter.opened) == 1
