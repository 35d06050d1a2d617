"""WALL-OSS as torch modules: vision tower, decoder with hard-routed experts, action head."""

from wall_edge_export.model.config import ExpertShape, ModelShape, VisionShape, model_shape
from wall_edge_export.model.wall import WallModel

__all__ = ["ExpertShape", "ModelShape", "VisionShape", "WallModel", "model_shape"]
