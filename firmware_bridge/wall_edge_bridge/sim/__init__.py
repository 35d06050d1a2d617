"""The same protocols, spoken from the motors' side."""

from wall_edge_bridge.sim.base import SimulatedBus
from wall_edge_bridge.sim.drive import SimulatedDrive
from wall_edge_bridge.sim.feetech import SimulatedServoBus
from wall_edge_bridge.sim.feetech_servo import SimulatedServo
from wall_edge_bridge.sim.pty import PtyPort, answer, serve, serving
from wall_edge_bridge.sim.twin import TwinDrive, Wire

__all__ = [
    "PtyPort",
    "SimulatedBus",
    "SimulatedDrive",
    "SimulatedServo",
    "SimulatedServoBus",
    "TwinDrive",
    "Wire",
    "answer",
    "serve",
    "serving",
]
