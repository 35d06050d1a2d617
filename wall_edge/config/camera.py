"""One entry of the ``cameras`` section of ROBOT.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import (
    MAX_SIDE,
    between,
    check_frame,
    positive,
    require_text,
)
from wall_edge.config.limits import MAX_ANGLE, MAX_MS, MAX_PATH
from wall_edge.config_loader import Invalid


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
        positive("frozen_rad", self.frozen_rad, "rad", MAX_ANGLE)
        if isinstance(self.device, str):
            require_text("device", self.device, MAX_PATH)
        else:
            between("device", self.device, 0, 255)
        if (self.device is None) != (self.kind == "sim"):
            raise Invalid("device", self.device, expected="a device for kind opencv, none for kind sim")
