"""Simulated motors where other processes reach them: each behind a port or a hub, several in one loop."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from wall_edge_bridge.sim.base import ByteTwin, FrameTwin
from wall_edge_bridge.sim.hub import HubStation
from wall_edge_bridge.sim.pty import PtyPort, answer

_CHECK_NS = 50_000_000
"""How soon a loop sees that it is to stop, and a port that who held it is gone."""


class Station(Protocol):
    """The motors' end of one wire. Times are CLOCK_MONOTONIC ns."""

    @property
    def place(self) -> str:
        """Where clients find it: what ``DriveSettings.at`` takes."""

    def fds(self) -> Sequence[int]:
        """Descriptors to wait for; they change as clients come and go. Empty once it is closed."""

    @property
    def due_ns(self) -> int | None:
        """When it has something to say unasked; None when not."""

    def step(self, ready: Collection[int]) -> None:
        """Take what clients sent on the ``ready`` ones of its descriptors, say what is due by now."""

    def release(self) -> None:
        """Close this process's descriptors, as another process goes on serving them (after a fork)."""

    def close(self) -> None:
        """Unplug: the clients' next access fails. May be called twice."""


class PtyStation:
    """Motors on a serial port: a pseudo-terminal."""

    def __init__(self, twin: ByteTwin, port: PtyPort | None = None) -> None:
        self.twin = twin
        self.port = port or PtyPort()
        self._place = self.port.path
        self._checked_ns = 0

    @property
    def place(self) -> str:
        return self._place

    def fds(self) -> Sequence[int]:
        return () if self.port.fd < 0 else (self.port.fd,)

    @property
    def due_ns(self) -> int | None:
        return self.twin.due_ns

    def step(self, ready: Collection[int]) -> None:
        heard = self.port.fd in ready
        now_ns = time.monotonic_ns()
        if not heard and self.twin.due_ns is None and now_ns - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now_ns
            self.port.forget_the_dead()
        answer(self.twin, self.port, heard)

    def release(self) -> None:
        self.port.close()

    def close(self) -> None:
        self.port.close()


def station_for(twin: ByteTwin | FrameTwin, name: str = "") -> Station:
    """Of the kind that the twin speaks; the place of a simulated bus has ``name``, the drive's, in it."""
    return PtyStation(twin) if isinstance(twin, ByteTwin) else HubStation(twin, name=name)


def wait(stations: Sequence[Station], until_ns: int, others: Sequence[int] = ()) -> set[int]:
    """Descriptors, of stations and ``others``, that have something by ``until_ns`` or the first due time.

    A descriptor that is closed meanwhile ends the waiting with nothing.
    """
    fds = [fd for station in stations for fd in station.fds()]
    due_ns = min([until_ns, *(due for station in stations if (due := station.due_ns) is not None)])
    left_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
    try:
        return set(select.select([*fds, *others], [], [], left_s)[0])
    except (OSError, ValueError):
        return set()


def serve(stations: Sequence[Station], stop: threading.Event) -> None:
    """Answer all clients in real time, until ``stop`` is set or all stations are closed.

    Meant for a thread of its own.
    """
    while not stop.is_set() and any(station.fds() for station in stations):
        ready = wait(stations, time.monotonic_ns() + _CHECK_NS)
        for station in stations:
            station.step(ready)


@contextlib.contextmanager
def serving(*twins: ByteTwin | FrameTwin, names: Sequence[str] = ()) -> Iterator[tuple[Station, ...]]:
    """Stations of the twins for as long as the context lasts, in one background thread.

    ``names``, of the twins' drives, are in the places of simulated buses.
    """
    stations = tuple(
        station_for(twin, name) for twin, name in zip(twins, names or [""] * len(twins), strict=True)
    )
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(stations, stop), daemon=True)
    thread.start()
    try:
        yield stations
    finally:
        stop.set()
        thread.join()
        for station in stations:
            station.close()


@contextlib.contextmanager
def serving_port(twin: ByteTwin) -> Iterator[PtyPort]:
    """A port that answers from the twin for as long as the context lasts, in a background thread."""
    with serving(twin) as (station,):
        assert isinstance(station, PtyStation)
        yield station.port


@contextlib.contextmanager
def serving_frames(twin: FrameTwin) -> Iterator[HubStation]:
    """A simulated CAN bus for as long as the context lasts, in a background thread."""
    with serving(twin) as (station,):
        assert isinstance(station, HubStation)
        yield station
