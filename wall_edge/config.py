"""The schema of ROBOT.yaml: everything that differs from one robot to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from wall_edge.braking import Bounds
from wall_edge.checks import (
    MAX_CAMERAS,
    MAX_DOF,
    MAX_SIDE,
    between,
    check_frame,
    counted,
    positive,
    require_name,
    require_text,
    require_title,
    require_unique,
)
from wall_edge.files import shown
from wall_edge.flow import check_grid
from wall_edge.loader import Invalid, from_mapping, read_yaml
from wall_edge.manifest_checks import MAX_STEPS
from wall_edge.places import absolute, same_device

__all__ = [
    "CameraConfig",
    "ControlConfig",
    "DriveConfig",
    "Invalid",
    "JointConfig",
    "ModelConfig",
    "PolicyConfig",
    "RobotConfig",
    "SchedulerName",
    "SimulationConfig",
    "from_mapping",
    "load_robot",
    "read_yaml",
]


MAX_MS = 3_600_000.0
"""An hour: nothing that the daemon waits for takes longer."""
_MAX_VELOCITY = 1000.0
_MAX_ANGLE = 100.0
"""A servo in multi-turn mode counts a few turns."""
_MAX_PATH = 1024

SchedulerName = Literal["sync", "async", "ensemble", "rollforward", "rtc", "naive"]
"""``naive`` starts a chunk at its first step whenever it arrives: a baseline, for the simulated arm only."""


@dataclass(frozen=True)
class ControlConfig:
    """The servo loop."""

    rest: tuple[float, ...]
    """Where the arm goes before its torque is released [rad], one a joint."""
    rate_hz: float = 250.0
    """Setpoints a second, 10 to 1000."""
    fifo_priority: int | None = 80
    """SCHED_FIFO priority, 1 to 99; null leaves the scheduler alone."""
    cpu: int | None = None
    """The core that the servo process is tied to; null for any."""
    lock_memory: bool = True
    """mlockall, so that no tick waits for a page."""
    wake_latency_us: int | None = 0
    """How long a core may take to wake from idling [µs]; null lets them sleep, which saves power."""
    rest_velocity: float = 0.8
    """Speed of the way to ``rest`` [rad/s]."""
    feedback_timeout_ms: float = 100.0
    """Joint feedback older than this is a fault [ms]."""
    blend_ms: float = 50.0
    """Within what time the motion so far gives way to a new chunk [ms]."""
    starved_fault_ms: float = 2000.0
    """How long the arm waits at a standstill for the next chunk before that is a fault [ms]."""
    first_chunk_ms: float = 30_000.0
    """How long it waits for the first chunk of an instruction before that is a fault [ms]."""
    heartbeat_timeout_ms: float = 1000.0
    """A supervisor silent for longer is dead: the arm goes to rest by itself [ms]."""
    settle_ms: float = 1000.0
    """How long the joints may trail behind ``rest`` before torque goes off anyway [ms]."""
    settled_rad: float = 0.05
    """How near to ``rest`` counts as there [rad]."""
    fault_hold_ms: float = 1000.0
    """How long a faulted arm is held, so that a person sees it stop before it goes limp [ms]."""
    start_slack_rad: float = 0.05
    """How far outside its limits a joint may be found at the start [rad]."""
    following_error_rad: float = 0.35
    """A joint farther than this from its setpoint, for longer than feedback_timeout_ms, is a fault [rad]."""
    impossible_velocity: float = 3.0
    """A joint seen to move faster than this multiple of its max_velocity was not seen right."""

    def __post_init__(self) -> None:
        between("rate_hz", self.rate_hz, 10, 1000, "Hz")
        between("fifo_priority", self.fifo_priority, 1, 99)
        between("cpu", self.cpu, 0, 1023)
        between("wake_latency_us", self.wake_latency_us, 0, 10_000, "us")
        positive("rest_velocity", self.rest_velocity, "rad/s", _MAX_VELOCITY)
        between("following_error_rad", self.following_error_rad, 0.01, 10, "rad")
        between("impossible_velocity", self.impossible_velocity, 1, 100)
        for name in ("settle_ms", "settled_rad", "fault_hold_ms", "start_slack_rad"):
            between(name, getattr(self, name), 0, 60_000)
        for name in ("starved_fault_ms", "first_chunk_ms", "heartbeat_timeout_ms"):
            positive(name, getattr(self, name), "ms", MAX_MS)
        for name in ("blend_ms", "feedback_timeout_ms"):
            between(name, getattr(self, name), 0, 60_000, "ms")
        counted("rest", self.rest, 1, MAX_DOF)
        if self.blend_ms < 2000.0 / self.rate_hz:
            expected = f"at least two ticks ({2000.0 / self.rate_hz:g} ms at {self.rate_hz:g} Hz)"
            raise Invalid("blend_ms", self.blend_ms, expected=expected)
        if self.feedback_timeout_ms < 2000.0 / self.rate_hz:
            expected = f"at least two ticks ({2000.0 / self.rate_hz:g} ms at {self.rate_hz:g} Hz)"
            raise Invalid("feedback_timeout_ms", self.feedback_timeout_ms, expected=expected)


@dataclass(frozen=True)
class PolicyConfig:
    """The policy process."""

    threads: int = 1
    """Inference threads."""
    integration_steps: int | None = None
    """Flow integration steps; null takes the bundle's."""
    subgoals: bool = True
    """Whether the model words its own subgoals."""
    chunk_period_ms: float = 100.0
    """Time from one observation to the next [ms]."""
    subgoal_period_ms: float = 200.0
    """Pause between two subgoals [ms]."""
    max_chunk_age_ms: float = 1000.0
    """A chunk whose observation is older is refused [ms]."""
    scheduler: SchedulerName = "async"
    """How chunks that take time to compute are joined into one motion (runtime/schedulers.py)."""
    execute_steps: int | None = None
    """``sync``: steps of a chunk that are executed before the next observation; null for half of it."""
    ensemble_decay: float = 0.01
    """``ensemble``: how much faster each newer prediction fades in the average, m of exp(-m·i)."""
    rtc_form: Literal["elementwise", "jacobian"] = "elementwise"
    """``rtc``: guidance as is, or through the expert's Jacobian (a bundle exported with ``--guidance``)."""
    rtc_max_guidance: float = 5.0
    """``rtc``: bound of the guidance weight, the paper's beta."""

    def __post_init__(self) -> None:
        between("threads", self.threads, 1, 256)
        between("integration_steps", self.integration_steps, 1, 1000)
        positive("chunk_period_ms", self.chunk_period_ms, "ms", MAX_MS)
        positive("subgoal_period_ms", self.subgoal_period_ms, "ms", MAX_MS)
        between("execute_steps", self.execute_steps, 2, 1024, "steps")
        between("ensemble_decay", self.ensemble_decay, 0, 100)
        positive("rtc_max_guidance", self.rtc_max_guidance, "", 1000)
        between("max_chunk_age_ms", self.max_chunk_age_ms, 0, MAX_MS, "ms")
        if self.max_chunk_age_ms < self.chunk_period_ms:
            expected = f"at least chunk_period_ms ({self.chunk_period_ms:g})"
            raise Invalid("max_chunk_age_ms", self.max_chunk_age_ms, expected=expected)


@dataclass(frozen=True)
class JointConfig:
    """One motor and the limits of what it moves."""

    name: str
    id: int
    """Bus address, 0 to 253 (254 speaks to all)."""
    lower: float
    """Smallest setpoint [rad]."""
    upper: float
    """Largest setpoint [rad]."""
    max_velocity: float
    """Fastest setpoint change [rad/s]."""
    max_acceleration: float = 20.0
    """[rad/s²]"""
    max_jerk: float = 400.0
    """[rad/s³]"""
    zero_ticks: int = 2048
    """Encoder count at 0 rad, 0 to 4095."""
    direction: Literal[1, -1] = 1
    """-1 when the motor counts against the joint's angle."""
    homing_offset: int | None = None
    """What the motor's own memory must hold as its offset [ticks]; null does not compare."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        between("id", self.id, 0, 253)
        between("zero_ticks", self.zero_ticks, 0, 4095, "ticks")
        between("homing_offset", self.homing_offset, -2047, 2047, "ticks")
        positive("max_velocity", self.max_velocity, "rad/s", _MAX_VELOCITY)
        positive("max_acceleration", self.max_acceleration, "rad/s²", 1e5)
        positive("max_jerk", self.max_jerk, "rad/s³", 1e8)
        for name in ("lower", "upper"):
            between(name, getattr(self, name), -_MAX_ANGLE, _MAX_ANGLE, "rad")
        if self.lower >= self.upper:
            raise Invalid("lower", self.lower, expected=f"less than upper ({self.upper:g} rad)")


@dataclass(frozen=True)
class DriveConfig:
    """The bus and its joints, in the order of every position vector."""

    port: str
    """Serial device (/dev/ttyACM0, better /dev/serial/by-id/…), or ``sim`` for the simulated arm."""
    joints: tuple[JointConfig, ...]
    kind: Literal["feetech"] = "feetech"
    baudrate: int = 1_000_000
    """Bits a second."""
    timeout_ms: float = 20.0
    """How long one answer of a motor may take [ms]."""

    def __post_init__(self) -> None:
        between("baudrate", self.baudrate, 1200, 4_000_000, "bit/s")
        positive("timeout_ms", self.timeout_ms, "ms", 1000)
        if not 1 <= len(self.joints) <= MAX_DOF:
            raise Invalid("joints", list(self.joints), expected=f"at least one joint, at most {MAX_DOF}")
        require_text("port", self.port, _MAX_PATH)
        require_unique("joints", [joint.id for joint in self.joints], "id")
        require_unique("joints", [joint.name for joint in self.joints], "name")


@dataclass(frozen=True)
class CameraConfig:
    """One camera; its key in ``cameras`` is the view's name in the bundle."""

    kind: Literal["sim", "opencv"]
    """``sim``, or ``opencv`` for V4L2 devices, streams and video files."""
    width: int
    """[pixels]"""
    height: int
    """[pixels]"""
    rate_hz: float = 30.0
    """Frames a second."""
    timeout_ms: float = 1000.0
    """No frame for this long is a fault [ms]."""
    frozen_ms: float = 500.0
    """The same picture for longer, while the arm moves, is a fault [ms]."""
    frozen_rad: float = 0.05
    """How far a joint must have moved meanwhile [rad]."""
    device: int | str | None = None
    """For ``opencv``: a number (0 is /dev/video0), a path such as /dev/v4l/by-id/…, an address (rtsp://…) or
    a video file; a relative path is relative to ROBOT.yaml."""
    resolution: int | None = None
    """For export: longest side after the first resize [pixels]; null for ``model.resolution``."""

    def __post_init__(self) -> None:
        check_frame(self.width, self.height)
        between("resolution", self.resolution, 28, MAX_SIDE, "pixels")
        between("rate_hz", self.rate_hz, 0.1, 1000, "Hz")
        positive("timeout_ms", self.timeout_ms, "ms", MAX_MS)
        positive("frozen_ms", self.frozen_ms, "ms", MAX_MS)
        positive("frozen_rad", self.frozen_rad, "rad", _MAX_ANGLE)
        if isinstance(self.device, str):
            require_text("device", self.device, _MAX_PATH)
        else:
            between("device", self.device, 0, 255)
        if (self.device is None) != (self.kind == "sim"):
            raise Invalid("device", self.device, expected="a device for kind opencv, none for kind sim")


@dataclass(frozen=True)
class ModelConfig:
    """What export has to know where the checkpoint does not say it; null leaves it to the checkpoint."""

    robot: str | None = None
    """Whose normalisation statistics to take, in a checkpoint that holds several."""
    horizon: int | None = None
    """Steps in an action chunk."""
    action_rate_hz: float | None = None
    """Steps of a chunk a second."""
    action_reference: Literal["absolute", "state"] | None = None
    """Whether actions are joint positions or offsets from the observed joints."""
    integration_steps: int | None = None
    """Flow integration steps of equal length: 10 as LeRobot, 9 as upstream."""
    time_grid: tuple[float, ...] | None = None
    """Times of the integration steps, rising from 0 to 1; instead of integration_steps."""
    resolution: int | None = None
    """Longest side of a frame after the first resize [pixels]."""
    unit: Literal["rad", "deg"] | None = None
    """What the checkpoint's normalisation statistics are in; LeRobot's files do not say."""

    def __post_init__(self) -> None:
        between("horizon", self.horizon, 1, 1024, "steps")
        between("action_rate_hz", self.action_rate_hz, 0.1, 1000, "Hz")
        between("integration_steps", self.integration_steps, 1, 1000)
        between("resolution", self.resolution, 28, MAX_SIDE, "pixels")
        if self.robot is not None:
            require_text("robot", self.robot, 255)
        if self.time_grid is not None:
            counted("time_grid", self.time_grid, 2, MAX_STEPS + 1)
            if self.integration_steps is not None:
                raise Invalid("time_grid", list(self.time_grid), expected="none beside integration_steps")
            check_grid(self.time_grid)


@dataclass(frozen=True)
class SimulationConfig:
    """The simulated world."""

    world: Literal["tabletop"] = "tabletop"
    seed: int = 0
    drift_mm_s: float = 0.0
    """Speed at which every block wanders over the table [mm/s], 0 to 100."""
    time_limit_s: float = 12.0
    """An episode that takes longer has failed [s], 0.1 to 3600."""

    def __post_init__(self) -> None:
        between("seed", self.seed, 0, 2**32 - 1)
        between("drift_mm_s", self.drift_mm_s, 0, 100, "mm/s")
        between("time_limit_s", self.time_limit_s, 0.1, 3600, "s")


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
        require_text("bundle", str(self.bundle), _MAX_PATH)
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
        if self.policy.scheduler == "naive" and not self.simulated:
            expected = "a scheduler that aligns chunks: naive is a baseline for the simulated arm"
            raise Invalid("policy.scheduler", "naive", expected=expected)
        if self.drive.timeout_ms >= self.control.feedback_timeout_ms:
            expected = f"less than control.feedback_timeout_ms ({self.control.feedback_timeout_ms:g})"
            raise Invalid("drive.timeout_ms", self.drive.timeout_ms, expected=expected)
        for name, camera in self.cameras.items():
            if (camera.kind == "sim") != self.simulated:
                wanted = "sim, like drive.port" if self.simulated else "a real camera, as drive.port is real"
                # A real arm that follows pictures of a simulated table would move blindly.
                raise Invalid(f"cameras.{name}.kind", camera.kind, expected=wanted)
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
    """Reads ROBOT.yaml. Raises ConfigError.

    Relative paths in it (``bundle``, ``drive.port``, ``cameras.*.device``) are relative to the file, and
    absolute afterwards.
    """
    path = Path(path)
    config = from_mapping(RobotConfig, read_yaml(path), shown(path))
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
