"""What a simulated world is to its process and to virtual time: a stage on which a robot plays episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy.typing as npt

from wall_edge.array_types import Floats, Frame
from wall_edge.config import RobotConfig, SimulationConfig
from wall_edge.errors import ConfigError


class Episode(Protocol):
    """One attempt at a task."""

    @property
    def status(self) -> str:
        """running, success, or why it failed."""

    @property
    def instruction(self) -> str:
        """The whole task in words."""

    @property
    def touched(self) -> int:
        """How much of the task is done."""

    @property
    def subgoal(self) -> str:
        """The true current subgoal in words."""

    @property
    def seconds(self) -> float:
        """Time on the episode's clock."""

    @property
    def least_tip_distance_m(self) -> float | None:
        """How near two tips came (m); None for a robot with one."""


class Stage(Protocol):
    """Call `step` at 30 Hz with the true joints; `frames` whenever a camera is read."""

    @property
    def episode(self) -> Episode:
        """The one under way, or the last."""

    def new_episode(self, index: int) -> Episode:
        """Lay out episode ``index`` and start its clock."""

    def frames(self, q: npt.ArrayLike) -> dict[str, Frame]:
        """A frame [height, width, 3] of every camera for joints ``q`` [dof] (rad)."""

    def step(self, q: npt.ArrayLike) -> str:
        """Advance by 1/30 s with the true joints ``q`` [dof] (rad); the episode's status."""


@dataclass(frozen=True)
class StageKind:
    """A world by its name: the robot that lives in it, and how it is built.

    ``joints`` in their order, where they stand at first (``rest``, rad), ``cameras`` with width and height.
    ``drifts``: its blocks can wander. ``open`` takes the simulation's settings.
    """

    name: str
    joints: tuple[str, ...]
    rest: Floats
    cameras: Mapping[str, tuple[int, int]]
    open: Callable[[SimulationConfig], Stage]
    drifts: bool = False

    def require(self, config: RobotConfig) -> None:
        """Raises ConfigError for a ROBOT.yaml that describes another robot than the one that lives here."""
        names = tuple(joint.name for joint in config.joints)
        if names != self.joints:
            raise ConfigError(f"simulated joints {', '.join(names)}", expected=", ".join(self.joints))
        for name, camera in config.cameras.items():
            size = camera.width, camera.height
            if camera.kind == "sim" and self.cameras.get(name) != size:
                cameras = ", ".join(
                    f"{camera_name} of {w}x{h}" for camera_name, (w, h) in self.cameras.items()
                )
                raise ConfigError(
                    f"simulated camera {name} of {camera.width}x{camera.height} pixels", expected=cameras
                )
        if config.simulation is not None and config.simulation.drift_mm_s and not self.drifts:
            raise ConfigError(
                f"simulation.drift_mm_s of {config.simulation.drift_mm_s:g} in the world {self.name}",
                expected="0: its blocks lie still",
            )
