"""Several simulated buses in one loop, across a fork too."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.sim.hub import HubStation
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.slcan import SlcanAdapter
from wall_edge_bridge.sim.stations import PtyStation, Station, serve, serving, wait
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.opening import open_can

from tests.doubles.echo_motors import EchoTwin

FRAME = Frame(0x10, bytes(8))


def soon(seconds: float = 30.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def test_ports_and_buses_in_one_thread() -> None:
    twins = [EchoTwin(), EchoTwin(), EchoTwin()]
    with serving(twins[0], twins[1], SlcanAdapter(twins[2])) as stations:
        places = [station.place for station in stations]
        assert len(set(places)) == 3
        wires = [
            open_can(CanSettings("any", channel=place, interface=interface))
            for place, interface in zip(places, ("unix", "unix", "slcan"), strict=True)
        ]
        for index, wire in enumerate(wires):
            wire.send([FRAME._replace(id=2 * index)], soon())
        for index, wire in enumerate(wires):
            assert [frame.id for frame in wire.receive(soon())] == [2 * index + 1]
            wire.close()
    assert not any(station.fds() for station in stations)


def test_a_timed_twin_answers_when_its_line_allows() -> None:
    twin = EchoTwin()
    twin.replies.duration = can_duration(10_000)  # 13.5 ms a frame
    with serving(twin) as (hub,):
        wire = open_can(CanSettings("any", channel=hub.place, interface="unix"))
        start_ns = time.monotonic_ns()
        wire.send([FRAME], soon())
        (reply,) = wire.receive(soon())
        assert 27e6 <= reply.received_ns - start_ns < 15e9  # half of what it may wait for
        wire.close()


def test_waiting_ends_when_the_first_is_due_or_another_descriptor_speaks() -> None:
    twin = EchoTwin()
    hub = HubStation(twin)
    start_ns = time.monotonic_ns()
    twin.replies.put(FRAME, start_ns)
    twin.replies.latency_ns = 20_000_000
    twin.replies.put(FRAME, start_ns)
    assert wait([hub], soon()) == set()  # one is due
    hub.step(set())
    wait([hub], soon())
    assert 19e6 < time.monotonic_ns() - start_ns < 15e9
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    hub.step(set())
    assert wait([hub], soon(), [ours.fileno()]) == {ours.fileno()}
    ours.close()
    hub.close()


def _serve(stations: list[Station]) -> None:
    serve(stations, threading.Event())


def test_another_process_serves_what_this_one_made() -> None:
    """As the demo's motors: forked, then released here; killed, they leave nothing behind."""
    stations: list[Station] = [HubStation(EchoTwin()), PtyStation(SlcanAdapter(EchoTwin()))]
    places = [station.place for station in stations]
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(stations,), daemon=True)
    process.start()
    for station in stations:
        station.release()
    for place, interface in zip(places, ("unix", "slcan"), strict=True):
        wire = open_can(CanSettings("any", channel=place, interface=interface))
        wire.send([FRAME], soon())
        assert [frame.id for frame in wire.receive(soon())] == [0x11]
        wire.close()
    process.kill()
    process.join()
    assert places[0][1:] not in Path("/proc/net/unix").read_text()


def test_a_hub_at_a_path_takes_it_away_when_it_is_closed(tmp_path: Path) -> None:
    hub = HubStation(EchoTwin(), str(tmp_path / "can"))
    hub.release()
    assert (tmp_path / "can").exists()
    (tmp_path / "can").unlink()
    hub = HubStation(EchoTwin(), str(tmp_path / "can"))
    hub.close()
    hub.close()
    assert not (tmp_path / "can").exists()
    assert hub.fds() == ()
    hub.step({3, 4})


def test_a_bus_has_the_name_of_its_drive_in_its_place() -> None:
    with serving(EchoTwin(), EchoTwin(), names=("left", "right")) as (left, right):
        assert "left-" in left.place
        assert "right-" in right.place
