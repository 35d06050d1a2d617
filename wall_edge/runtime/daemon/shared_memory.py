"""The memory that the processes of one daemon share: mailboxes, and rings of telemetry."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle import Manifest
from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import chunk_dtype, command_dtype, feedback_dtype, frame_dtype
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.writer import WriterMemory


@dataclass(frozen=True)
class SharedMemory:
    """One writer each: cameras (or the world), policy, supervisor, servo."""

    frames: dict[str, Mailbox]
    chunks: Mailbox
    command: Mailbox
    feedback: Mailbox
    rings: ServoRings
    """What the servo process tells."""
    events: dict[str, EventRing]
    """What other processes tell, by name: ``supervisor`` and ``policy``."""
    writer: WriterMemory
    """What one writer of the log leaves to the next."""

    @classmethod
    def of(cls, config: RobotConfig, manifest: Manifest) -> SharedMemory:
        """Empty ones, of the sizes that robot and bundle have."""
        cameras = config.cameras.items()
        rings = ServoRings.of(
            config.dof,
            config.control.rate_hz,
            kinds={name: settings.kind for name, settings in config.drives.items()},
        )
        events = {name: EventRing() for name in ("supervisor", "policy")}
        return cls(
            frames={name: Mailbox(frame_dtype(camera.height, camera.width)) for name, camera in cameras},
            chunks=Mailbox(chunk_dtype(manifest.horizon, config.dof)),
            command=Mailbox(command_dtype()),
            feedback=Mailbox(feedback_dtype(config.dof)),
            rings=rings,
            events=events,
            writer=WriterMemory(rings, tuple(events)),
        )
