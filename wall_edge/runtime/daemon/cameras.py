"""A real camera as a process: V4L2 devices, network streams and video files through OpenCV."""

from __future__ import annotations

import importlib
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.config import CameraConfig
from wall_edge.errors import CameraError, ConfigError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.messages import Ready, Stop
from wall_edge.runtime.ipc.reporting import reporting


def run_camera(conn: Connection, name: str, camera: CameraConfig, frames: Mailbox) -> None:
    """The body of a camera process: every frame goes into ``frames`` with the time it arrived.

    A device that does not open or delivers another size is reported as Failed. One that falls silent is
    noticed by whoever waits for its frames.
    """
    with reporting(conn):
        capture = _open(name, camera)
        conn.send(Ready())
        _capture(name, camera, capture, frames, conn)


def _open(name: str, camera: CameraConfig) -> Any:
    try:
        cv2: Any = importlib.import_module("cv2")
    except ImportError as error:
        raise ConfigError(
            f"camera {name}: OpenCV is not installed", fix="pip install 'wall-edge[cameras]'"
        ) from error
    capture = cv2.VideoCapture(camera.device)
    if not capture.isOpened():
        raise CameraError(
            f"camera {name}: device {camera.device!r} does not open",
            expected="a video device such as 0 or /dev/video0, a stream or a file",
            fix=f"check the cable and cameras.{name}.device in ROBOT.yaml",
        )
    for setting, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, camera.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, camera.height),
        (cv2.CAP_PROP_FPS, camera.rate_hz),
        (cv2.CAP_PROP_BUFFERSIZE, 1),  # an old frame is worse than none
    ):
        capture.set(setting, value)
    return capture


def _is_file(camera: CameraConfig) -> bool:
    """A recording delivers as fast as it is read, and has to be slowed down to be a camera."""
    return isinstance(camera.device, str) and Path(camera.device).is_file()


def _capture(name: str, camera: CameraConfig, capture: Any, frames: Mailbox, conn: Connection) -> None:
    record = np.zeros(1, frames.dtype)[0]
    paced = _is_file(camera)
    while not (conn.poll() and isinstance(conn.recv(), Stop)):
        delivered, picture = capture.read()
        if paced or not delivered:
            time.sleep(1.0 / camera.rate_hz)
        if not delivered:
            continue
        height, width = picture.shape[:2]
        if (height, width) != (camera.height, camera.width):
            raise CameraError(
                f"camera {name} delivers {width}x{height} pixels",
                expected=f"{camera.width}x{camera.height}",
                fix=f"set cameras.{name}.width and height in ROBOT.yaml, and export for them",
            )
        record["time_ns"], record["index"] = time.monotonic_ns(), record["index"] + 1
        record["pixels"] = picture[:, :, ::-1]  # OpenCV delivers BGR
        frames.write(record)
