"""The schema of ROBOT.yaml: everything that differs from one robot to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wall_edge.checks import (
    MAX_CAMERAS,
    between,
    counted,
    require_name,
    require_text,
    require_title,
)
from wall_edge.config.bounds import Bounds
from wall_edge.config.camera import CameraConfig
from wall_edge.config.control import ControlConfig
from wall_edge.config.document import read_document
from wall_edge.config.drive import DriveConfig, JointConfig
from wall_edge.config.limits import MAX_PATH
from wall_edge.config.model import ModelConfig
from wall_edge.config.places import absolute, same_device
from wall_edge.config.policy import PolicyConfig
from wall_edge.config.scheduler import nest_scheduler
from wall_edge.config.simulation import SimulationConfig
from wall_edge.config_loader import Invalid, from_mapping


@dataclass(frozen=True)
class RobotConfig:
    """All of ROBOT.yaml."""

    name: str
    bundle: Path
    """Folder of the exported model; absolute after :func:`load_robot`."""
    control: ControlConfig
    drive: DriveConfig
    cameras: dict[str, CameraConfig]
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    instruction: str | None = None
    """What to do when the command line does not say."""
    simulation: SimulationConfig | None = None
    model: ModelConfig | None = None

    @property
    def dof(self) -> int:
        """Number of joints."""
        return len(self.drive.joints)

    @property
    def simulated(self) -> bool:
        """Whether this is the simulated robot: arm and cameras are simulated together or not at all."""
        return self.drive.port == "sim"

    def bounds(self) -> list[Bounds]:
        """What each joint must never exceed, in bus order. Raises ConfigError where limits contradict."""
        return [
            Bounds(j.lower, j.upper, j.max_velocity, j.max_acceleration, j.max_jerk, f"joint {j.name}")
            for j in self.drive.joints
        ]

    def per_joint(self, value: Callable[[JointConfig], float]) -> tuple[float, ...]:
        """One value a joint, in bus order: ``config.per_joint(lambda joint: joint.lower)``."""
        return tuple(value(joint) for joint in self.drive.joints)

    def __post_init__(self) -> None:
        require_title("name", self.name)
        require_text("bundle", str(self.bundle), MAX_PATH)
        require_text("instruction", self.instruction)
        counted("cameras", self.cameras, 0, MAX_CAMERAS)
        for name in self.cameras:
            require_name(f"cameras.{name}", name)
        if len(self.control.rest) != self.dof:
            expected = f"{self.dof} angles, one for each joint of drive.joints"
            raise Invalid("control.rest", list(self.control.rest), expected=expected)
        for i, (angle, joint) in enumerate(zip(self.control.rest, self.drive.joints, strict=True)):
            between(
                f"control.rest[{i}]", angle, joint.lower, joint.upper, f"rad (the limits of {joint.name})"
            )
        for bounds in self.bounds():
            bounds.inside(1 / self.control.rate_hz)
        if self.control.blend_ms >= self.policy.chunk_period_ms:
            # Seen on the tabletop: chunks that never win over the motion before them make the arm wander off.
            expected = f"less than policy.chunk_period_ms ({self.policy.chunk_period_ms:g})"
            raise Invalid("control.blend_ms", self.control.blend_ms, expected=expected)
        kind = self.policy.scheduler.kind
        if self.policy.scheduler.simulation_only and not self.simulated:
            expected = f"a scheduler that aligns chunks: {kind} is a baseline for the simulated arm"
            raise Invalid("policy.scheduler", kind, expected=expected)
        if self.drive.timeout_ms >= self.control.feedback_timeout_ms:
            expected = f"less than control.feedback_timeout_ms ({self.control.feedback_timeout_ms:g})"
            raise Invalid("drive.timeout_ms", self.drive.timeout_ms, expected=expected)
        for name, camera in self.cameras.items():
            if (camera.kind == "sim") != self.simulated:
                expected = (
                    "sim, like drive.port" if self.simulated else "a real camera, as drive.port is real"
                )
                # A real arm that follows pictures of a simulated table would move blindly.
                raise Invalid(f"cameras.{name}.kind", camera.kind, expected=expected)
        if twice := same_device({name: camera.device for name, camera in self.cameras.items()}):
            key, device = f"cameras.{twice[1]}.device", self.cameras[twice[1]].device
            raise Invalid(key, device, expected=f"another device than that of cameras.{twice[0]}")
        if not self.simulated and self.simulation is not None:
            expected = "no such section beside a real drive.port"
            raise Invalid("simulation", self.simulation.world, expected=expected)
        if self.simulated and self.simulation is None:
            fix = "add 'simulation: {world: tabletop, seed: 0}'"
            raise Invalid("simulation", None, expected="a section, because the arm is simulated", fix=fix)


def load_robot(path: str | Path) -> RobotConfig:
    """Reads ROBOT.yaml, with what it ``extends``. Raises ConfigError.

    Relative paths (``bundle``, ``drive.port``, ``cameras.*.device``) are relative to the file that they stand
    in, and absolute afterwards.
    """
    path = Path(path)
    data, where = read_document(path)
    data = nest_scheduler(data, where) if isinstance(data, Mapping) else data
    config = from_mapping(RobotConfig, data, where)
    folder = path.parent
    port = config.drive.port if config.simulated else absolute(config.drive.port, folder)
    cameras = {
        name: replace(camera, device=absolute(camera.device, folder))
        if isinstance(camera.device, str)
        else camera
        for name, camera in config.cameras.items()
    }
    bundle = (folder / config.bundle).resolve()
    return replace(config, bundle=bundle, drive=replace(config.drive, port=port), cameras=cameras)
