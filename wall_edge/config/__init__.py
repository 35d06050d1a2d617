"""ROBOT.yaml: everything that differs from one robot to the next."""

from wall_edge.config.bounds import Bounds, stopping_distance
from wall_edge.config.camera import CameraConfig
from wall_edge.config.control import ControlConfig
from wall_edge.config.embodiment import (
    EmbodimentConfig,
    Entry,
    HeldEntry,
    JointEntry,
    PaddingEntry,
    PositionEntry,
    RotationEntry,
    SinkConfig,
    SinkEntry,
    entry_size,
    expand,
)
from wall_edge.config.kinematics import KinematicsConfig, UrdfJoint
from wall_edge.config.model import ModelConfig
from wall_edge.config.places import can_channels, serial_devices
from wall_edge.config.policy import PolicyConfig
from wall_edge.config.robot import RobotConfig, load_robot, robot_from_mapping
from wall_edge.config.scheduler import (
    SCHEDULERS,
    AsyncScheduler,
    EnsembleScheduler,
    NaiveScheduler,
    RollforwardScheduler,
    RtcScheduler,
    SchedulerConfig,
    SyncScheduler,
)
from wall_edge.config.simulation import SimulationConfig
from wall_edge.config.workspace import Box, PoseBounds, WorkspaceConfig

__all__ = [
    "SCHEDULERS",
    "AsyncScheduler",
    "Bounds",
    "Box",
    "CameraConfig",
    "ControlConfig",
    "EmbodimentConfig",
    "EnsembleScheduler",
    "Entry",
    "HeldEntry",
    "JointEntry",
    "KinematicsConfig",
    "ModelConfig",
    "NaiveScheduler",
    "PaddingEntry",
    "PolicyConfig",
    "PoseBounds",
    "PositionEntry",
    "RobotConfig",
    "RollforwardScheduler",
    "RotationEntry",
    "RtcScheduler",
    "SchedulerConfig",
    "SimulationConfig",
    "SinkConfig",
    "SinkEntry",
    "SyncScheduler",
    "UrdfJoint",
    "WorkspaceConfig",
    "can_channels",
    "entry_size",
    "expand",
    "load_robot",
    "robot_from_mapping",
    "serial_devices",
    "stopping_distance",
]
