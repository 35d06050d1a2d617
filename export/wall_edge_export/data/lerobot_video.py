"""One frame of an mp4 by its time, decoding no more than is needed."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from wall_edge.array_types import Frame
from wall_edge.errors import ConfigError

_DAMAGED = (av.error.FFmpegError, OSError, ValueError, IndexError)
"""What PyAV raises on bytes that are no video; IndexError when there is no video stream."""


def frame_at(path: Path, time_s: float, tolerance_s: float) -> Frame:
    """The frame [h, w, 3] uint8 RGB that is shown nearest to ``time_s`` after the start of the file.

    Raises :class:`ConfigError` naming the file when none is within ``tolerance_s`` or it is damaged.
    """
    try:
        with av.open(str(path)) as container:
            nearest = _seek(container, time_s, tolerance_s)
            pixels = np.asarray(nearest.to_ndarray(format="rgb24"), np.uint8) if nearest is not None else None
            nearest_s = nearest.time if nearest is not None else None
    except _DAMAGED as error:
        raise ConfigError(
            f"{path}: damaged or not a video ({error})",
            expected="an mp4 that FFmpeg decodes",
            fix="copy the dataset again",
        ) from error
    if pixels is None or nearest_s is None or abs(nearest_s - time_s) > tolerance_s:
        shown = f"the nearest is at {nearest_s:.3f} s" if nearest_s is not None else "it shows none"
        raise ConfigError(
            f"{path}: no frame at {time_s:.3f} s, {shown}",
            expected=f"one within {tolerance_s * 1e3:.0f} ms",
            fix="the video is shorter than its episodes: copy the dataset again",
        )
    return pixels


def _seek(container: av.container.InputContainer, time_s: float, tolerance_s: float) -> av.VideoFrame | None:
    """From the keyframe before ``time_s`` on; from the start where the container's index misses it."""
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError("of a codec that FFmpeg does not know")
    # A decoder that hides damage would hand out grey or stale pixels as if they had been seen.
    stream.codec_context.options = {"err_detect": "explode"}
    nearest: av.VideoFrame | None = None
    for begin_s in (time_s, 0.0):
        container.seek(round(max(0.0, begin_s) / float(stream.time_base or 1)), stream=stream)
        for frame in container.decode(stream):
            if frame.time is None or frame.is_corrupt:
                continue
            if nearest is None or abs(frame.time - time_s) < abs(nearest.time - time_s):
                nearest = frame
            if frame.time >= time_s:
                break
        if nearest is not None and abs(nearest.time - time_s) <= tolerance_s:
            break
    return nearest
