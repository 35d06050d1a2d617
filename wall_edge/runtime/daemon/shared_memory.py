"""The mailboxes between the processes of one daemon."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle import Manifest
from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import chunk_dtype, command_dtype, feedback_dtype, frame_dtype


@dataclass(frozen=True)
class SharedMemory:
    """One writer each: cameras (or the world), policy, supervisor, servo."""

    frames: dict[str, Mailbox]
    chunks: Mailbox
    command: Mailbox
    feedback: Mailbox

    @classmethod
    def of(cls, config: RobotConfig, manifest: Manifest) -> SharedMemory:
        """Empty ones, of the sizes that robot and bundle have."""
        cameras = config.cameras.items()
        return cls(
            frames={name: Mailbox(frame_dtype(camera.height, camera.width)) for name, camera in cameras},
            chunks=Mailbox(chunk_dtype(manifest.horizon, config.dof)),
            command=Mailbox(command_dtype()),
            feedback=Mailbox(feedback_dtype(config.dof)),
        )
