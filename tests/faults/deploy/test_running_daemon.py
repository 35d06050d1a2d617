"""A daemon that runs, or starts, while its ``current`` is switched: it keeps the bundle that it opened."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tests.patience import patient
from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.deploy.activation import activate_folder
from wall_edge.deploy.engine import EngineChoice, RobotEngine
from wall_edge.deploy.place import Place
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.sim.worlds import open_world


def _switch(bundle: Path, place: Place) -> tuple[bool, tuple[str, ...]]:
    """Whether the bundle before it was in use, and what was removed; no other is kept."""
    incoming = place.incoming / Bundle(bundle).digest
    shutil.copytree(bundle, incoming)
    engine = RobotEngine(EngineChoice("onnxruntime", threads=1))
    activation = activate_folder(incoming, place, engine, 1, lambda _: None)
    return activation.running, activation.removed


def test_a_switch_stops_no_daemon(robot: RobotConfig, old: Path, new: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    assert _switch(old, place) == (False, ())
    config = replace(patient(robot), bundle=place.current)
    world = open_world(config)
    assert world is not None
    daemon = Daemon(config, world=world)  # has checked the bundle; the policy process will load it
    assert _switch(new, place) == (True, ())
    with daemon:
        world.start_episode(0)
        while len(daemon.record.chunks) < 10:
            daemon.poll()
        assert _switch(old, place) == (False, (str(place.bundles / Bundle(new).digest),))
        assert _switch(new, place) == (True, ())
        while len(daemon.record.chunks) < 30:
            daemon.poll()
    assert daemon.record.servo["state"] == "RELEASED"
    assert Bundle(place.current).digest == Bundle(new).digest
    del daemon, world
    assert _switch(old, place)[1] == (str(place.bundles / Bundle(new).digest),)
