"""ROBOT.yaml: everything that differs from one robot to the next."""

from wall_edge.config.bounds import Bounds, stopping_distance
from wall_edge.config.camera import CameraConfig
from wall_edge.config.control import ControlConfig
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

__all__ = [
    "SCHEDULERS",
    "AsyncScheduler",
    "Bounds",
    "CameraConfig",
    "ControlConfig",
    "EnsembleScheduler",
    "ModelConfig",
    "NaiveScheduler",
    "PolicyConfig",
    "RobotConfig",
    "RollforwardScheduler",
    "RtcScheduler",
    "SchedulerConfig",
    "SimulationConfig",
    "SyncScheduler",
    "can_channels",
    "load_robot",
    "robot_from_mapping",
    "serial_devices",
    "stopping_distance",
]
