"""Every kind of drive: its codec, its drive, its twin and its keys of ROBOT.yaml, a package each."""

from wall_edge_bridge.kinds.registry import KINDS, Kind, MotorIdentity, kind_named

__all__ = ["KINDS", "Kind", "MotorIdentity", "kind_named"]
