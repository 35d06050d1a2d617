"""What decides a policy's sizes: a checkpoint without its weights, or less than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.checkpoint.settings.training_file import TrainingFile
from wall_edge_export.model.shapes import ModelShape


class Outline(Protocol):
    """Settings and shape; a :class:`Checkpoint` is one."""

    @property
    def folder(self) -> Path:
        """Whose it is, for messages."""

    @property
    def config_folder(self) -> Path | None:
        """Where the files beside ``config.json`` are; None where there are none."""

    @property
    def training(self) -> TrainingFile:
        """Upstream's ``config.yml`` among them."""

    @property
    def config(self) -> dict[str, Any]: ...

    @property
    def policy(self) -> LeRobotPolicy | None: ...

    @property
    def shape(self) -> ModelShape: ...
