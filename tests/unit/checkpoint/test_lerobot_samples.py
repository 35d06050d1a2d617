"""LeRobot datasets as calibration data: the right frame, joints, actions and words for every row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from wall_edge_export.data.lerobot_samples import LeRobotSamples, joint_names
from wall_edge_export.data.lerobot_video import frame_at
from wall_edge_export.data.load import load_samples, spread
from wall_edge_export.data.samples import SampleSet

from tests.tiny_lerobot import (
    CAMERAS,
    EMBODIMENT,
    FPS,
    JOINTS,
    LENGTH,
    SIZE,
    TASKS,
    Recipe,
    brightness,
    parquet,
)
from wall_edge.bundle import Degree, Embodiment, ImageGeometry, Layout, joint_layout
from wall_edge.errors import ConfigError
from wall_edge.session_format import Sample

HORIZON = 6
# LeRobot's own, but for its crf of 30, which does not keep steps of 5 levels.
LEROBOT_CODEC = {"codec": "libsvtav1", "options": {"g": "2", "crf": "16", "preset": "11"}}


def moments(root: Path, rate_hz: float = FPS) -> LeRobotSamples:
    return LeRobotSamples(root, EMBODIMENT, dict.fromkeys(CAMERAS, (SIZE, SIZE)), HORIZON, rate_hz)


def load(root: Path, count: int = 10, seed: int = 0) -> SampleSet:
    cameras = dict.fromkeys(CAMERAS, ImageGeometry(SIZE, SIZE))
    return load_samples(
        root,
        embodiment=EMBODIMENT,
        cameras=cameras,
        horizon=HORIZON,
        action_rate_hz=FPS,
        count=count,
        seed=seed,
    )


def assert_right(sample: Sample, index: int) -> None:
    """Pictures, joints and words are those of row ``index`` of the dataset."""
    episode, row = divmod(index, LENGTH)
    assert list(sample.observation.frames) == list(CAMERAS)
    for number, camera in enumerate(CAMERAS):
        frame = sample.observation.frames[camera]
        assert frame.shape == (SIZE, SIZE, 3)
        assert frame.dtype == np.uint8
        assert abs(float(np.median(frame)) - brightness(episode, row, number)) < 2.4  # 5 to the next frame
    assert sample.observation.state == pytest.approx([row / 100, -row / 100])
    assert sample.words == TASKS[episode]
    assert sample.actions.shape == (HORIZON, 2)
    assert sample.actions[0] == pytest.approx([row / 100 + episode, -row / 100])


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="h264 with one keyframe and B-frames"),
        pytest.param({"options": {"g": "5", "bf": "0"}}, id="h264 with keyframes"),
        pytest.param(LEROBOT_CODEC, id="LeRobot's own AV1"),
        pytest.param({"stored": "image"}, id="pictures in the rows"),
    ],
)
def test_every_row_has_its_own_pictures(tmp_path: Path, version: str, how: dict[str, Any]) -> None:
    source = moments(Recipe(version, **how).make(tmp_path))
    assert source.total == 2 * LENGTH
    for index in range(0, 2 * LENGTH, 3):
        assert_right(source.sample(index), index)
    for index in (LENGTH - 1, LENGTH, 2 * LENGTH - 1, 0):  # where episodes meet, and backwards
        assert_right(source.sample(index), index)


@pytest.mark.parametrize(
    ("rate_hz", "row", "followed"),
    [
        (FPS, 0, [0, 1, 2, 3, 4, 5]),
        (FPS, 17, [17, 18, 19, 19, 19, 19]),  # the last row is repeated at the episode's end
        (FPS, 19, [19, 19, 19, 19, 19, 19]),
        (FPS / 2, 3, [3, 5, 7, 9, 11, 13]),
        (FPS * 3, 3, [3, 3, 4, 4, 4, 5]),  # nearest: at 0, 1/3, 2/3, 1, 4/3 and 5/3 rows
        (FPS * 3, 18, [18, 18, 19, 19, 19, 19]),
    ],
)
@pytest.mark.parametrize("episode", [0, 1])
def test_actions_follow_at_the_policys_rate(
    tmp_path: Path, rate_hz: float, row: int, followed: list[int], episode: int
) -> None:
    source = moments(Recipe("v3.0", stored="image").make(tmp_path), rate_hz)
    wanted = np.array([[n / 100 + episode, -n / 100] for n in followed])
    assert source.sample(episode * LENGTH + row).actions == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["shoulder_pan", "gripper"], JOINTS),
        (["shoulder_pan.pos", "gripper.pos"], JOINTS),
        ({"motors": ["shoulder_pan", "gripper"]}, JOINTS),
        ({"axes": ["shoulder_pan.pos", "gripper.pos"]}, JOINTS),
        ({"gripper": 1, "shoulder_pan": 0}, JOINTS),
        ([["shoulder_pan", "gripper"]], JOINTS),
        (["x"], ("x",)),
        ({"x": 0}, ("x",)),
        ([], ()),
        ({}, ()),
        (None, ()),
        ("shoulder_pan", ()),
        ([1, 2], ()),
        ({"motors": 3.5}, ()),
    ],
)
def test_joint_names_in_every_form_of_lerobot(names: object, found: tuple[str, ...]) -> None:
    assert joint_names(names) == found


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_dataset_with_lerobots_own_names_is_taken(tmp_path: Path, version: str) -> None:
    names = {"motors": ["shoulder_pan.pos", "gripper.pos"]}
    loaded = load(Recipe(version, names=names, stored="image").make(tmp_path / "demos"))
    assert loaded.name == "demos"
    assert len(loaded.samples) == 10


@pytest.mark.parametrize("text", ["task", "__index_level_0__"])
def test_task_words_in_either_column_of_pandas(tmp_path: Path, text: str) -> None:
    root = Recipe("v3.0", stored="image").make(tmp_path)
    parquet(root / "meta" / "tasks.parquet", {"task_index": [1, 0], text: [TASKS[1], TASKS[0]]})
    assert moments(root).sample(0).words == TASKS[0]
    assert moments(root).sample(LENGTH).words == TASKS[1]


def test_a_robot_of_one_joint_has_plain_numbers_in_its_rows(tmp_path: Path) -> None:
    """LeRobot stores a feature of shape [1] without a list around it."""
    recipe = Recipe(names=["gripper"], stored="image")
    rows = {**recipe.rows(0), "observation.state": np.arange(20) / 9, "action": np.arange(20) / 7}
    root = recipe.make(tmp_path)
    parquet(root / "data/chunk-000/episode_000000.parquet", rows)
    layout = joint_layout(["gripper"], [0.0], [1.0])
    source = LeRobotSamples(
        root, Embodiment("one", layout, layout), dict.fromkeys(CAMERAS, (SIZE, SIZE)), HORIZON, FPS
    )
    assert source.sample(2).actions[:, 0] == pytest.approx(np.arange(2, 8) / 7)


def test_only_what_is_needed_is_read_and_hashed(tmp_path: Path) -> None:
    root = Recipe().make(tmp_path)
    source = moments(root)
    source.sample(0)
    read = {path.relative_to(root).as_posix() for path in source.files}
    assert "data/chunk-000/episode_000000.parquet" in read
    assert not any("episode_000001" in name for name in read)


def test_the_same_data_gives_the_same_digest(tmp_path: Path) -> None:
    first = load(Recipe(stored="image").make(tmp_path / "one"))
    copy = Path(shutil.copytree(tmp_path / "one", tmp_path / "two"))
    again = load(copy)
    assert again.sha256 == first.sha256
    assert all(
        np.array_equal(a.actions, b.actions) for a, b in zip(first.samples, again.samples, strict=True)
    )
    (copy / "meta" / "info.json").write_text((copy / "meta" / "info.json").read_text() + "\n")
    assert load(copy).sha256 != first.sha256


def test_another_seed_draws_other_moments_and_fewer_moments_are_all_taken(tmp_path: Path) -> None:
    root = Recipe(stored="image").make(tmp_path)
    times = [[s.observation.time_ns for s in load(root, seed=seed).samples] for seed in (0, 0, 1)]
    assert times[0] == times[1] != times[2]
    assert len(load(root, count=1000).samples) == 2 * LENGTH


@pytest.mark.parametrize(("total", "count"), [(8, 8), (9, 8), (15, 8), (16, 8), (1000, 128), (40, 1000)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moments_are_drawn_one_from_each_stretch(total: int, count: int, seed: int) -> None:
    drawn = spread(total, count, seed)
    assert len(drawn) == min(total, count)
    assert drawn == sorted(set(drawn))
    assert drawn[0] >= 0
    assert drawn[-1] < total
    assert max(np.diff([-1, *drawn, total])) <= 2 * -(-total // len(drawn))


@pytest.mark.parametrize("how", [{}, {"options": {"g": "5"}}, LEROBOT_CODEC])
def test_a_frame_found_by_seeking_is_the_one_found_by_playing(tmp_path: Path, how: dict[str, Any]) -> None:
    root = Recipe("v3.0", cameras=["face_view"], **how).make(tmp_path)
    path = root / "videos/observation.images.face_view/chunk-000/file-000.mp4"
    with av.open(str(path)) as container:
        played = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert len(played) == 2 * LENGTH
    for time_s, pixels in played:
        assert np.array_equal(frame_at(path, time_s, 0.5 / FPS), pixels)


@pytest.mark.parametrize("time_s", [0.0, 0.049, 0.951, 1.0, 1.04])
@pytest.mark.parametrize("how", [{}, {"options": {"g": "5"}}, LEROBOT_CODEC])
def test_the_nearest_frame_within_half_a_period(tmp_path: Path, how: dict[str, Any], time_s: float) -> None:
    root = Recipe(cameras=["face_view"], **how).make(tmp_path)
    path = root / "videos/chunk-000/observation.images.face_view/episode_000000.mp4"
    level = np.median(frame_at(path, time_s, 0.5 / FPS))
    assert abs(level - brightness(0, round(time_s * FPS), 0)) < 2.4


@pytest.mark.parametrize(("time_s", "found"), [(-0.06, False), (-0.04, True), (1.94, True), (1.96, False)])
def test_no_frame_stands_in_for_one_that_is_not_there(tmp_path: Path, time_s: float, found: bool) -> None:
    root = Recipe(cameras=["face_view"]).make(tmp_path)
    path = root / "videos/chunk-000/observation.images.face_view/episode_000000.mp4"
    if found:
        assert frame_at(path, time_s, 0.5 / FPS).shape == (SIZE, SIZE, 3)
    else:
        with pytest.raises(ConfigError, match=r"episode_000000\.mp4: no frame at .* the nearest is at"):
            frame_at(path, time_s, 0.5 / FPS)


@pytest.mark.parametrize("shift", [1, 7])
def test_a_video_whose_first_frame_comes_late(tmp_path: Path, shift: int) -> None:
    """Times are those of the file, as LeRobot's PyAV decoder takes them."""
    root = Recipe(cameras=["face_view"], shift=shift).make(tmp_path)
    path = root / "videos/chunk-000/observation.images.face_view/episode_000000.mp4"
    level = np.median(frame_at(path, (shift + 3) / FPS, 0.5 / FPS))
    assert abs(level - brightness(0, 3, 0)) < 2.4
    with pytest.raises(ConfigError, match="no frame at"):
        frame_at(path, (shift - 1) / FPS, 0.5 / FPS)


def test_a_data_set_keeps_its_units(tmp_path: Path) -> None:
    """A policy trained on degrees and per cent is calibrated on its own data set."""
    root = Recipe("v3.0", stored="image", scale=50).make(tmp_path)
    sizes = dict.fromkeys(CAMERAS, (SIZE, SIZE))
    degrees = (
        Degree("a", 0, "joint", "shoulder_pan", unit="deg"),
        Degree("b", 1, "joint", "gripper", unit="percent"),
    )
    layout = Layout(degrees, (0.0, 0.0), (90.0, 50.0))
    mixed = Embodiment("two_joints", layout, layout)
    sample = LeRobotSamples(root, mixed, sizes, HORIZON, FPS).sample(3)
    np.testing.assert_allclose(sample.observation.state, [1.5, -1.5], atol=1e-6)
    np.testing.assert_allclose(sample.actions[0], [1.5, -1.5], atol=1e-6)


def test_state_and_actions_of_different_sizes(tmp_path: Path) -> None:
    """A state of three degrees of freedom, of which two are commanded."""
    root = Recipe("v3.0", stored="image").make(tmp_path)
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    states = [[*row, 7.0] for row in table["observation.state"].to_pylist()]
    number = table.column_names.index("observation.state")
    pq.write_table(
        table.set_column(number, "observation.state", pa.array(states, pa.list_(pa.float32()))), path
    )
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.state"]["names"] = [*JOINTS, "lift"]
    (root / "meta/info.json").write_text(json.dumps(info))
    lift = Degree("lift", 2, "sink", "lift", unit="own")
    state = Layout((*EMBODIMENT.state.degrees, lift), (0.0,) * 3, (2.0, 2.0, 9.0))
    wide = replace(EMBODIMENT, state=state)
    sizes = dict.fromkeys(CAMERAS, (SIZE, SIZE))
    sample = LeRobotSamples(root, wide, sizes, HORIZON, FPS).sample(3)
    assert sample.observation.state == pytest.approx([0.03, -0.03, 7.0])
    assert sample.actions.shape == (HORIZON, 2)
    with pytest.raises(ConfigError, match=r"shoulder_pan, gripper, lift; expected shoulder_pan, gripper,"):
        moments(root)
