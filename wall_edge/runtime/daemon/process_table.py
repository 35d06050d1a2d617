"""The processes of the daemon as data: what each runs, when, and what its end means for the arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon.cameras import run_camera
from wall_edge.runtime.daemon.shared_memory import SharedMemory
from wall_edge.runtime.daemon.world import World
from wall_edge.runtime.policy.process import run_policy
from wall_edge.runtime.servo.process import run_servo
from wall_edge.runtime.telemetry.ring.ring import Ring
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions
from wall_edge.runtime.telemetry.writer import run_writer


class Started(Enum):
    """How it shows that a process has started."""

    READY = "it says so"
    PLACES = "its motors answer"
    HOLDING = "the arm holds"


class Death(Enum):
    """What the end of a process that nobody told to end means."""

    REST = "the arm moves to rest and is released"
    TORQUE_OFF = "the supervisor takes the torque off where the arm stands"
    RESTART = "another takes over; the arm goes on"


@dataclass
class Plant:
    """What the processes of one daemon are started with."""

    config: RobotConfig
    bundle: Bundle
    """Checked by the supervisor: the policy process only asks whether its files still are those."""
    memory: SharedMemory
    places: Mapping[str, str] = field(default_factory=dict)
    """Where simulated motors are, by the drive's name: known once their world has started; empty for real
    ones."""
    world: World | None = None
    recording: RecordingOptions | None = None
    log: Path | None = None
    """Where the event log goes; None for none."""


@dataclass(frozen=True)
class ProcessRow:
    """One row of the table. ``instances``: the names of those that a plant needs, none or several."""

    name: str
    task: str
    body: Callable[[Plant], Callable[..., None]]
    arguments: Callable[[Plant, str], tuple[object, ...]]
    instances: Callable[[Plant], Sequence[str]]
    when: str
    started: Started
    start_s: float
    """How long starting may take [s]."""
    death: Death
    rings: Callable[[Plant], Sequence[Ring]] = lambda _: ()
    """Where it alone writes, so that readers know who is to come."""
    restarts: int = 0
    """How often another is started in its place; then the robot goes on without."""


def _real_cameras(plant: Plant) -> list[str]:
    return [f"camera {name}" for name, camera in plant.config.cameras.items() if camera.kind == "opencv"]


def _world_body(plant: Plant) -> Callable[..., None]:
    assert plant.world is not None
    return plant.world.body


def _camera(plant: Plant, instance: str) -> tuple[object, ...]:
    name = instance.removeprefix("camera ")
    return name, plant.config.cameras[name], plant.memory.frames[name]


def _policy(plant: Plant, _: str) -> tuple[object, ...]:
    memory = plant.memory
    return (
        plant.config,
        plant.bundle,
        memory.frames,
        memory.feedback,
        memory.chunks,
        memory.events["policy"],
        plant.recording,
    )


def _servo(plant: Plant, _: str) -> tuple[object, ...]:
    memory = plant.memory
    return plant.config, plant.places, memory.chunks, memory.command, memory.feedback, memory.rings


def _writer(plant: Plant, _: str) -> tuple[object, ...]:
    return plant.memory.rings, plant.memory.events, plant.log, plant.memory.writer


TABLE = (
    ProcessRow(
        name="writer",
        task="the event log, from every process's ring",
        body=lambda _: run_writer,
        arguments=_writer,
        instances=lambda plant: () if plant.log is None else ("writer",),
        when="with an event log",
        started=Started.READY,
        start_s=60.0,
        death=Death.RESTART,
        restarts=5,
    ),
    ProcessRow(
        name="world",
        task="simulated servos, cameras and referee",
        body=_world_body,
        arguments=lambda plant, _: (plant.config, plant.memory.frames),
        instances=lambda plant: () if plant.world is None else ("world",),
        when="in simulation",
        started=Started.PLACES,
        start_s=60.0,
        death=Death.REST,
    ),
    ProcessRow(
        name="camera",
        task="frames of a real camera",
        body=lambda _: run_camera,
        arguments=_camera,
        instances=_real_cameras,
        when="one for each real camera",
        started=Started.READY,
        start_s=60.0,
        death=Death.REST,
    ),
    ProcessRow(
        name="policy",
        task="action chunks, and subgoals beside them",
        body=lambda _: run_policy,
        arguments=_policy,
        instances=lambda _: ("policy",),
        rings=lambda plant: (plant.memory.events["policy"].ring,),
        when="always",
        started=Started.READY,
        start_s=600.0,  # a full-size bundle takes minutes to load on an embedded board
        death=Death.REST,
    ),
    ProcessRow(
        name="servo",
        task="joint setpoints on absolute deadlines; talks to the bus",
        body=lambda _: run_servo,
        arguments=_servo,
        instances=lambda _: ("servo",),
        rings=lambda plant: (plant.memory.rings.status, plant.memory.rings.events),
        when="always",
        started=Started.HOLDING,
        start_s=60.0,
        death=Death.TORQUE_OFF,
    ),
)
"""In order of starting: the arm is powered last, and released first."""
