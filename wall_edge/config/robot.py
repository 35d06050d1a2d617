"""The schema of ROBOT.yaml: everything that differs from one robot to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wall_edge_bridge.drives import DriveSettings, Joint
from wall_edge_bridge.kinds import kind_named

from wall_edge.checks import MAX_CAMERAS, between, counted, require_name, require_text, require_title
from wall_edge.config.bounds import Bounds
from wall_edge.config.camera import CameraConfig
from wall_edge.config.control import ControlConfig
from wall_edge.config.document.extends import complete, read_document
from wall_edge.config.drives import check_drives, read_drives, read_joints
from wall_edge.config.embodiment import EmbodimentConfig, SinkConfig
from wall_edge.config.embodiment.agreement import check_entries, check_kinematics
from wall_edge.config.kinematics import KinematicsConfig
from wall_edge.config.limits import MAX_PATH
from wall_edge.config.model import ModelConfig
from wall_edge.config.places import absolute, same_device, with_absolute_place
from wall_edge.config.policy import PolicyConfig
from wall_edge.config.scheduler import nest_scheduler
from wall_edge.config.simulation import SimulationConfig
from wall_edge.config.workspace import WorkspaceConfig
from wall_edge.config_loader import Invalid, from_mapping


@dataclass(frozen=True)
class RobotConfig:
    """All of ROBOT.yaml."""

    name: str
    bundle: Path
    """Folder of the exported model; absolute after :func:`load_robot`."""
    control: ControlConfig
    drives: dict[str, DriveSettings]
    """The buses by name, each as its kind has it."""
    joints: tuple[Joint, ...]
    """In the order of every position vector, each as the kind of its drive has it."""
    cameras: dict[str, CameraConfig]
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    instruction: str | None = None
    """What to do when the command line does not say."""
    simulated: bool = False
    """Whether arm and cameras are simulated: together or not at all."""
    simulation: SimulationConfig | None = None
    model: ModelConfig | None = None
    kinematics: KinematicsConfig | None = None
    embodiment: EmbodimentConfig | None = None
    """null: the policy commands the joints by their own names, in rad."""
    workspace: WorkspaceConfig | None = None
    sinks: dict[str, SinkConfig] = field(default_factory=dict)

    @property
    def dof(self) -> int:
        """Number of joints."""
        return len(self.joints)

    def joints_of(self, drive: str) -> tuple[Joint, ...]:
        """Those that one drive moves, in the order of ``joints``."""
        return tuple(joint for joint in self.joints if joint.drive == drive)

    def bounds(self) -> list[Bounds]:
        """What each joint must never exceed. Raises ConfigError where limits contradict."""
        return [
            Bounds(j.lower, j.upper, j.max_velocity, j.max_acceleration, j.max_jerk, f"joint {j.name}")
            for j in self.joints
        ]

    def per_joint(self, value: Callable[[Joint], float]) -> tuple[float, ...]:
        """One value a joint: ``config.per_joint(lambda joint: joint.lower)``."""
        return tuple(value(joint) for joint in self.joints)

    def __post_init__(self) -> None:
        require_title("name", self.name)
        require_text("bundle", str(self.bundle), MAX_PATH)
        require_text("instruction", self.instruction)
        counted("cameras", self.cameras, 0, MAX_CAMERAS)
        for name in self.cameras:
            require_name(f"cameras.{name}", name)
        check_drives(self.drives, self.joints, simulated=self.simulated)
        self._check_rest()
        for bounds in self.bounds():
            bounds.inside(1 / self.control.rate_hz)
        self._check_times()
        self._check_simulated()
        self._check_embodiment()
        if twice := same_device({name: camera.device for name, camera in self.cameras.items()}):
            key, device = f"cameras.{twice[1]}.device", self.cameras[twice[1]].device
            raise Invalid(key, device, expected=f"another device than that of cameras.{twice[0]}")

    def _check_embodiment(self) -> None:
        check_kinematics(self.kinematics, self.workspace, self.joints)
        if self.embodiment is None:
            return
        sides = {"embodiment.action": self.embodiment.action, "embodiment.state": self.embodiment.state}
        for key, entries in sides.items():
            check_entries(key, entries or {}, self.joints, self.kinematics, self.sinks)
        if self.model is not None and self.model.unit is not None:
            expected = "none beside embodiment, where each joint has its unit"
            raise Invalid("model.unit", self.model.unit, expected=expected)

    def _check_rest(self) -> None:
        rest = self.control.rest
        if len(rest) != self.dof:
            raise Invalid("control.rest", list(rest), expected=f"{self.dof} angles, one for each of joints")
        for i, (angle, joint) in enumerate(zip(rest, self.joints, strict=True)):
            between(
                f"control.rest[{i}]", angle, joint.lower, joint.upper, f"rad (the limits of {joint.name})"
            )

    def _check_times(self) -> None:
        control = self.control
        if control.blend_ms >= self.policy.chunk_period_ms:
            # Seen on the tabletop: chunks that never win over the motion before them make the arm wander off.
            expected = f"less than policy.chunk_period_ms ({self.policy.chunk_period_ms:g})"
            raise Invalid("control.blend_ms", control.blend_ms, expected=expected)
        watchdog_ms = 1e3 * control.watchdog_s
        guarded = any(kind_named(each.kind).capabilities.watchdog for each in self.drives.values())
        # What several drives may wait in one tick does not add up: their deadlines run side by side.
        for name, settings in self.drives.items():
            key, timeout_ms = f"drives.{name}.timeout_ms", settings.timeout_ms
            if timeout_ms >= control.feedback_timeout_ms:
                expected = f"less than control.feedback_timeout_ms ({control.feedback_timeout_ms:g})"
                raise Invalid(key, timeout_ms, expected=expected)
            line_ms = kind_named(settings.kind).cycle_ns(settings, self.joints_of(name)) / 1e6
            if not self.simulated and timeout_ms <= line_ms:
                raise Invalid(
                    key, timeout_ms, expected=f"more than a cycle takes on the line ({line_ms:.3g} ms)"
                )
            if guarded and timeout_ms >= watchdog_ms:
                # One silent bus, of whatever kind, would trip the watchdogs of the others.
                expected = f"less than the watchdogs' time (control.watchdog_periods: {watchdog_ms:g} ms)"
                raise Invalid(key, timeout_ms, expected=expected)

    def _check_simulated(self) -> None:
        kind = self.policy.scheduler.kind
        if self.policy.scheduler.simulation_only and not self.simulated:
            expected = f"a scheduler that aligns chunks: {kind} is a baseline for the simulated arm"
            raise Invalid("policy.scheduler", kind, expected=expected)
        for name, camera in self.cameras.items():
            if (camera.kind == "sim") != self.simulated:
                expected = (
                    "sim, as simulated is true" if self.simulated else "a real camera, as simulated is false"
                )
                # A real arm that follows pictures of a simulated table would move blindly.
                raise Invalid(f"cameras.{name}.kind", camera.kind, expected=expected)
        if not self.simulated and self.simulation is not None:
            expected = "no such section beside simulated: false"
            raise Invalid("simulation", self.simulation.world, expected=expected)
        if self.simulated and self.simulation is None:
            fix = "add 'simulation: {world: tabletop, seed: 0}'"
            raise Invalid("simulation", None, expected="a section, because the arm is simulated", fix=fix)


def robot_from_mapping(data: object, where: str) -> RobotConfig:
    """The robot that plain data of either edition describes; ``where`` begins each message.

    The one way from data to a RobotConfig; paths stay as they are. Raises ConfigError.
    """
    return _robot(*complete(data, Path(where)))


def load_robot(path: str | Path) -> RobotConfig:
    """Reads ROBOT.yaml, of either edition, with what it ``extends``. Raises ConfigError.

    Relative paths (``bundle``, ``drives.*.port``, ``cameras.*.device`` and channels that are files) are
    relative to the file that they stand in, and absolute afterwards.
    """
    path = Path(path)
    return robot_from_document(*read_document(path), path)


def robot_from_document(document: object, where: str, path: Path) -> RobotConfig:
    """The robot of a complete document of the second edition that stands in ``path``. Raises ConfigError."""
    config, folder = _robot(document, where), path.parent
    cameras = {
        name: replace(camera, device=absolute(camera.device, folder))
        if isinstance(camera.device, str)
        else camera
        for name, camera in config.cameras.items()
    }
    drives = {name: with_absolute_place(settings, folder) for name, settings in config.drives.items()}
    kinematics = config.kinematics
    if kinematics is not None:
        kinematics = replace(kinematics, urdf=(folder / kinematics.urdf).resolve())
    sinks = {name: _in_folder(sink, folder) for name, sink in config.sinks.items()}
    bundle = (folder / config.bundle).resolve()
    return replace(config, bundle=bundle, drives=drives, cameras=cameras, kinematics=kinematics, sinks=sinks)


def _in_folder(sink: SinkConfig, folder: Path) -> SinkConfig:
    return sink if sink.path is None else replace(sink, path=str((folder / sink.path).absolute()))


def _robot(document: object, where: str) -> RobotConfig:
    if not isinstance(document, Mapping):
        return from_mapping(RobotConfig, document, where)  # which says what is wrong with it
    data = nest_scheduler(document, where)
    if "drives" in data:
        data["drives"] = read_drives(data["drives"], where)
        if "joints" in data:
            data["joints"] = read_joints(data["joints"], data["drives"], where)
    return from_mapping(RobotConfig, data, where)
