"""Tiny LeRobot datasets, v2.1 and v3.0, whose frames carry their number as brightness."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wall_edge.bundle import Embodiment, joint_layout

SIZE, FPS, LENGTH, HORIZON = 84, 10, 20, 6
JOINTS = ("shoulder_pan", "gripper")
CAMERAS = ("face_view", "wrist_view")
TASKS = ("touch the red block.", "touch the blue block.")
EMBODIMENT = Embodiment(
    name="two_joints",
    state=joint_layout(JOINTS, (0.0, 0.0), (2.0, 2.0), clip=1.0),
    action=joint_layout(JOINTS, (0.0, 0.0), (2.0, 2.0)),
)


@dataclass
class Recipe:
    """A dataset of two episodes; what a test wants otherwise, it sets."""

    version: str = "v2.1"
    names: Any = JOINTS
    cameras: Sequence[str] = CAMERAS
    size: int = SIZE
    stored: str = "video"
    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0
    shift: int = 0

    def rows(self, episode: int) -> dict[str, Any]:
        """Row n of an episode has state n/100 and action n/10 + episode, in rad times ``scale``."""
        n = np.arange(LENGTH)
        state, action = np.stack([n / 100, -n / 100], 1), np.stack([n / 100 + episode, -n / 100], 1)
        rows = {
            "observation.state": list((self.scale * state).astype(np.float32)),
            "action": list((self.scale * action).astype(np.float32)),
            "timestamp": (n / FPS).astype(np.float32),
            "frame_index": n,
            "episode_index": np.full(LENGTH, episode),
            "index": n + episode * LENGTH,
            "task_index": np.full(LENGTH, episode),
        }
        for number, camera in enumerate(self.cameras if self.stored == "image" else ()):
            images = [png(picture(brightness(episode, int(i), number), self.size)) for i in n]
            rows[f"observation.images.{camera}"] = [{"bytes": data, "path": None} for data in images]
        return rows

    def info(self) -> dict[str, Any]:
        vector = {"dtype": "float32", "shape": [2], "names": self.names}
        images = {"dtype": self.stored, "shape": [self.size, self.size, 3], "names": ["height", "width", "c"]}
        old = self.version == "v2.1"
        data = "chunk-{episode_chunk:03d}/episode_{episode_index:06d}"
        new = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        return {
            "codebase_version": self.version,
            "robot_type": "two_joints",
            "fps": FPS,
            "total_episodes": 2,
            "chunks_size": 1000,
            "data_path": f"data/{data if old else new}.parquet",
            "video_path": (
                "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
                if old
                else "videos/{video_key}/" + new + ".mp4"
            ),
            "features": {
                "observation.state": vector,
                "action": vector,
                **{f"observation.images.{camera}": images for camera in self.cameras},
            },
        }

    def make(self, root: Path) -> Path:
        write(root / "meta" / "info.json", json.dumps(self.info()))
        if self.version == "v2.1":
            self._make_v21(root)
        else:
            self._make_v30(root)
        return root

    def _make_v21(self, root: Path) -> None:
        episodes = [{"episode_index": e, "tasks": [TASKS[e]], "length": LENGTH} for e in (0, 1)]
        write(root / "meta" / "episodes.jsonl", "".join(json.dumps(line) + "\n" for line in episodes))
        tasks = [{"task_index": e, "task": TASKS[e]} for e in (0, 1)]
        write(root / "meta" / "tasks.jsonl", "".join(json.dumps(line) + "\n" for line in tasks))
        for e in (0, 1):
            parquet(root / f"data/chunk-000/episode_{e:06d}.parquet", self.rows(e))
            for number, camera in enumerate(self.cameras if self.stored == "video" else ()):
                path = root / f"videos/chunk-000/observation.images.{camera}/episode_{e:06d}.mp4"
                self._film(path, [brightness(e, n, number) for n in range(LENGTH)])

    def _make_v30(self, root: Path) -> None:
        tasks = {"task_index": [0, 1], "__index_level_0__": list(TASKS)}
        parquet(root / "meta/tasks.parquet", tasks)
        episodes: dict[str, Any] = {
            "episode_index": [0, 1],
            "tasks": [[TASKS[0]], [TASKS[1]]],
            "length": [LENGTH, LENGTH],
            "data/chunk_index": [0, 0],
            "data/file_index": [0, 0],
        }
        for number, camera in enumerate(self.cameras if self.stored == "video" else ()):
            key = f"videos/observation.images.{camera}"
            episodes |= {f"{key}/chunk_index": [0, 0], f"{key}/file_index": [0, 0]}
            episodes |= {f"{key}/from_timestamp": [0.0, LENGTH / FPS]}
            film = [brightness(e, n, number) for e in (0, 1) for n in range(LENGTH)]
            self._film(root / f"{key}/chunk-000/file-000.mp4", film)
        parquet(root / "meta/episodes/chunk-000/file-000.parquet", episodes)
        both = [self.rows(0), self.rows(1)]
        parquet(
            root / "data/chunk-000/file-000.parquet",
            {key: [*both[0][key], *both[1][key]] for key in both[0]},
        )

    def _film(self, path: Path, levels: Sequence[int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(self.codec, rate=FPS, options=dict(self.options))
            stream.width = stream.height = self.size
            stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
            for number, level in enumerate(levels):
                frame = av.VideoFrame.from_ndarray(picture(level, self.size), format="rgb24")
                frame.pts = number + self.shift
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def brightness(episode: int, frame: int, camera: int) -> int:
    """Different for each frame of both episodes; the second camera counts down."""
    level = 20 + 5 * (episode * LENGTH + frame)
    return level if camera == 0 else 240 - level


def picture(level: int, size: int) -> npt.NDArray[np.uint8]:
    return np.full((size, size, 3), level, dtype=np.uint8)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def parquet(path: Path, columns: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
