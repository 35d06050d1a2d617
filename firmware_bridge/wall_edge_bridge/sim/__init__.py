"""The same protocols, spoken from the motors' side."""

from wall_edge_bridge.sim.drive import SimulatedDrive
from wall_edge_bridge.sim.feetech import SimulatedServoBus
from wall_edge_bridge.sim.feetech_servo import SimulatedServo
from wall_edge_bridge.sim.pty import PtyPort, serve, serving

__all__ = ["PtyPort", "SimulatedDrive", "SimulatedServo", "SimulatedServoBus", "serve", "serving"]
