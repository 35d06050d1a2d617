"""Twins in a process of their own that watches nothing else and never sleeps: the line's time counts."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from wall_edge_bridge.sim import ByteTwin, FrameTwin, station_for
from wall_edge_bridge.sim.stations import Station, wait


@contextmanager
def served(*twins: ByteTwin | FrameTwin) -> Iterator[list[str]]:
    """Where they answer, in their order, for as long as the context lasts."""
    stations = [station_for(twin) for twin in twins]
    ours, theirs = multiprocessing.Pipe()
    # Forked: twins are not to be pickled, and this process has no other thread.
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(stations, theirs, ours), daemon=True
    )
    process.start()
    theirs.close()
    for station in stations:
        station.release()
    try:
        yield [station.place for station in stations]
    finally:
        ours.close()
        process.join()


def _serve(stations: list[Station], parent: Connection, other: Connection) -> None:
    other.close()
    gc.freeze()  # what was there before is not looked through again and again
    while True:
        ready = wait(stations, 0, [parent.fileno()])
        if parent.fileno() in ready:
            return
        for station in stations:
            station.step(ready)
