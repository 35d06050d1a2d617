"""LeRobot datasets that must be refused by name: damaged, of another robot, in other units."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from wall_edge_export.data.load import load_samples

from tests.tiny_lerobot import CAMERAS, EMBODIMENT, FPS, JOINTS, LENGTH, SIZE, Recipe, parquet
from wall_edge.bundle import ImageGeometry
from wall_edge.errors import ConfigError

TWO_JOINTS: dict[str, Any] = {
    "embodiment": EMBODIMENT,
    "cameras": dict.fromkeys(CAMERAS, ImageGeometry(SIZE, SIZE)),
    "horizon": 6,
    "action_rate_hz": FPS,
    "count": 2 * LENGTH,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A LeRobot dataset of a version, made once; read-only."""
    root = tmp_path_factory.mktemp("lerobot")
    known: dict[str, Path] = {}

    def make(version: str) -> Path:
        if version not in known:
            known[version] = Recipe(version).make(root / version)
        return known[version]

    return make


@pytest.fixture
def dataset(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one, to damage."""
    return lambda version: Path(shutil.copytree(made(version), tmp_path / version))


def refused(source: Path) -> str:
    """The one line with which the dataset is refused."""
    with pytest.raises(ConfigError) as error:
        load_samples(source, **TWO_JOINTS)
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        (Recipe(names=["shoulder_pan", "wrist_roll"]), "another embodiment: shoulder_pan, wrist_roll"),
        (Recipe(names=JOINTS[::-1]), "another embodiment: gripper, shoulder_pan"),
        (Recipe(names=["shoulder_pan"]), "another embodiment: shoulder_pan;"),
        (Recipe(names=None), "observation.state without joint names"),
        (Recipe(cameras=["face_view", "top_view"]), "no camera wrist_view"),
        (Recipe(size=96), "frames of face_view are 96x96; expected face_view of 84x84"),
        (Recipe(size=96, stored="image"), "frames of face_view are 96x96; expected face_view of 84x84"),
        (Recipe(stored="float32"), "no camera face_view"),
        (Recipe(scale=180 / np.pi, stored="image"), "the units look wrong"),
        (Recipe(scale=100.0, stored="image"), "the units look wrong"),
    ],
)
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_dataset_of_another_embodiment(tmp_path: Path, version: str, recipe: Recipe, named: str) -> None:
    assert named in refused(replace(recipe, version=version).make(tmp_path))


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda d: d.update(codebase_version="v2.0"), "format version v2.0; expected v2.1 or v3.0"),
        (lambda d: d.update(codebase_version="v3.1"), "format version v3.1"),
        (lambda d: d.pop("codebase_version"), "format version None"),
        (lambda d: d.update(fps=0), "fps is 0"),
        (lambda d: d.update(chunks_size=0), "chunks_size is 0"),
        (lambda d: d.pop("features"), "features is missing"),
        (lambda d: d["features"].pop("action"), "action without joint names"),
        (lambda d: d.update(data_path="../{episode_index}"), "expected a path in the dataset"),
        (lambda d: d.update(data_path="/etc/passwd"), "expected a path in the dataset"),
        (lambda d: d.update(data_path="{nothing}"), "expected fields"),
        (lambda d: d.update(data_path="{episode_index:q}"), "expected fields"),
        (lambda d: d.update(data_path="data/none"), "file is missing"),
        (lambda d: d.update(video_path=None), "file is missing"),
    ],
)
def test_a_damaged_info(
    dataset: Callable[[str], Path], edit: Callable[[dict[str, Any]], Any], named: str
) -> None:
    root = dataset("v2.1")
    info = json.loads((root / "meta" / "info.json").read_text())
    edit(info)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(ConfigError, match=named):
        load_samples(root, **TWO_JOINTS)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("how", ["missing", "empty", "noise", "cut off"])
def test_every_file_that_is_read_is_named_when_damaged(
    made: Callable[[str], Path], dataset: Callable[[str], Path], version: str, how: str
) -> None:
    whole, root = made(version), dataset(version)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for name in files:
        content = (whole / name).read_bytes()
        damaged = {"empty": b"", "noise": b"\x93" * 999, "cut off": content[: len(content) // 2]}
        (root / name).unlink()
        if how in damaged:
            (root / name).write_bytes(damaged[how])
        try:
            load_samples(root, **TWO_JOINTS)
        except ConfigError as error:
            wanted = "meta" if name.parts[0] == "meta" else str(root / name)
            assert wanted in str(error), name  # noqa: PT017 - the loop goes on
        else:
            pytest.fail(f"{name}, {how}, was taken")
        shutil.copy(whole / name, root / name)
    assert len(load_samples(root, **TWO_JOINTS).samples) == 2 * LENGTH


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda r: r["action"][7].__setitem__(1, np.nan), "action holds values that are not finite"),
        (
            lambda r: r["observation.state"][0].__setitem__(0, np.inf),
            "observation.state holds values that are not finite",
        ),
        (
            lambda r: r["action"].__setitem__(3, np.zeros(3, np.float32)),
            "action is not 2 numbers in each row",
        ),
        (lambda r: r.update(action=["a"] * LENGTH), "expected 2 numbers a row"),
        (lambda r: r.update(timestamp=[None] * LENGTH), "timestamp holds values that are not finite"),
        (lambda r: r.update(timestamp=r["timestamp"][::-1].copy()), "with rising timestamps"),
        (lambda r: r.update(episode_index=r["episode_index"] + 5), "0 rows of episode 0; expected 20"),
        (lambda r: r.update(task_index=r["task_index"] + 5), "task_index 5; expected one of the 2 tasks"),
        (lambda r: r.pop("task_index"), "no column task_index"),
    ],
)
def test_rows_that_are_wrong(
    dataset: Callable[[str], Path], edit: Callable[[dict[str, Any]], Any], named: str
) -> None:
    root = dataset("v2.1")
    rows, path = Recipe().rows(0), root / "data/chunk-000/episode_000000.parquet"
    edit(rows)
    parquet(path, rows)
    message = refused(root)
    assert message.startswith(f"{path}: ")
    assert named in message


@pytest.mark.parametrize(
    "stored", [None, {"bytes": None, "path": "a.png"}, {"bytes": b"GIF89a", "path": None}]
)
def test_rows_without_pictures(tmp_path: Path, stored: object) -> None:
    recipe = Recipe(stored="image")
    root = recipe.make(tmp_path)
    rows = recipe.rows(0)
    rows["observation.images.face_view"][2] = stored
    parquet(root / "data/chunk-000/episode_000000.parquet", rows)
    assert "episode_000000.parquet: face_view holds no picture" in refused(root)


def test_too_few_rows_and_none(dataset: Callable[[str], Path]) -> None:
    root = dataset("v2.1")
    info = json.loads((root / "meta" / "info.json").read_text())
    del info["total_episodes"]  # so that only the list itself is left to judge by
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = (root / "meta" / "episodes.jsonl").read_text().splitlines()
    (root / "meta" / "episodes.jsonl").write_text("")
    assert "0 samples; expected at least 8; record longer" in refused(root)
    (root / "meta" / "episodes.jsonl").write_text(lines[0].replace("20", "0"))
    assert "episode 0 has 0 rows" in refused(root)
    (root / "meta" / "episodes.jsonl").write_text(lines[0].replace("20", "19"))
    assert "20 rows of episode 0; expected 19" in refused(root)


def test_without_pyarrow_the_extra_is_named(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("wall_edge_export.data.lerobot")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = refused(made("v3.0"))
    assert "LeRobot datasets need pyarrow" in message
    assert "pip install 'wall-edge[datasets]'" in message


# --- rows H9, H10 and H16 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "data/{episode_chunk.__class__}.parquet",
        "data/{episode_index!r}.parquet",
        "data/{episode_index:>999999999}.parquet",
        "data/{episode_index:0999999999d}.parquet",
        "data/{0}.parquet",
        "data/{}.parquet",
        "data/{unknown}.parquet",
        "data/{episode_index",
        "data/{{x}}.parquet",
        "../{episode_index}.parquet",
        "/etc/{episode_index}.parquet",
        "data/\0{episode_index}.parquet",
        "x" * 5000,
    ],
)
@pytest.mark.parametrize("key", ["data_path", "video_path"])
def test_templates_of_strangers(dataset: Callable[[str], Path], key: str, template: str) -> None:
    """H10: no str.format on text out of a file: it reaches attributes and pads to gigabytes."""
    root = dataset("v2.1")
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: template}))
    assert "info.json: path" in refused(root)


def test_templates_of_lerobot(tmp_path: Path) -> None:
    """H10: names, and numbers of a width."""
    from wall_edge_export.data.lerobot_files import Folder

    place = Folder(tmp_path).place
    given = "videos/{video_key}/chunk-{chunk_index:03d}/{file_index}-{file_index:3d}.mp4"
    name = place(given, video_key="observation.images.top", chunk_index=7, file_index=12)
    assert name == tmp_path / "videos/observation.images.top/chunk-007/12-012.mp4"


def episodes(root: Path, **columns: list[object]) -> None:
    """Change columns of a v3.0 dataset's episodes."""
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path).to_pydict()
    parquet(path, {**table, **columns})


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"length": [1e23, 20.0]}, "length holds 1e+23"),
        ({"length": [-1, 20]}, "length holds -1"),
        ({"length": [2**62, 2**62]}, "length holds"),
        ({"length": [20.5, 20.0]}, "length holds 20.5"),
        ({"length": [10**9, 10**9]}, "rows"),
        ({"episode_index": [2**63 - 1, 1]}, "episode_index holds"),
        ({"data/chunk_index": [1e300, 0.0]}, "data/chunk_index holds 1e+300"),
        ({"data/file_index": [-5, 0]}, "data/file_index holds -5"),
        (
            {"videos/observation.images.face_view/from_timestamp": [1e300, 2.0]},
            "from_timestamp reaches 1e+300",
        ),
        ({"videos/observation.images.face_view/file_index": [1e19, 0.0]}, "file_index holds 1e+19"),
    ],
)
def test_numbers_that_no_recorder_writes(
    dataset: Callable[[str], Path], columns: dict[str, list[object]], named: str
) -> None:
    """H16: episodes of 1e23 rows and the like gave tracebacks."""
    root = dataset("v3.0")
    episodes(root, **columns)
    assert named in refused(root)


@pytest.mark.parametrize(
    "line",
    [
        '{"episode_index": 0, "length": 1e23}',
        '{"episode_index": 0, "length": 99999999999999999999999}',
        '{"episode_index": 0, "length": ' + "9" * 5000 + "}",
        '{"episode_index": -1, "length": 20}',
        '{"episode_index": ' + "9" * 300 + ', "length": 20}',
    ],
)
def test_episode_lines_that_no_recorder_writes(dataset: Callable[[str], Path], line: str) -> None:
    """H16: the same in a v2.1 dataset."""
    root = dataset("v2.1")
    path = root / "meta" / "episodes.jsonl"
    path.write_text(line + "\n" + path.read_text().splitlines()[1] + "\n")
    assert "episodes.jsonl" in refused(root)


@pytest.mark.parametrize("value", [0, -30, 1e300, "x", 10**400])
def test_rates_that_no_camera_has(dataset: Callable[[str], Path], value: object) -> None:
    """H16."""
    root = dataset("v2.1")
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fps": value}))
    assert "info.json" in refused(root)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("timestamp", 1e300, "timestamp reaches 1e+300 s"),
        ("timestamp", -1e30, "timestamp reaches 1e+30 s"),
        ("episode_index", 1e30, "episode_index holds 1e+30"),
        ("task_index", -1.0, "task_index holds -1"),
    ],
)
def test_rows_that_no_recorder_writes(
    dataset: Callable[[str], Path], column: str, value: float, named: str
) -> None:
    """H16: timestamps of 1e300 s gave tracebacks."""
    root = dataset("v2.1")
    rows = Recipe("v2.1").rows(0)
    rows[column] = np.asarray(rows[column], np.float64)
    rows[column][3] = value
    parquet(root / "data/chunk-000/episode_000000.parquet", rows)
    assert named in refused(root)


@pytest.mark.parametrize("column", ["observation.state", "action"])
@pytest.mark.parametrize("value", [4.6e18, -1e3, 40.0])
def test_one_value_that_no_joint_can_have(dataset: Callable[[str], Path], column: str, value: float) -> None:
    """H9: one misread encoder in forty samples moves no mean."""
    root = dataset("v2.1")
    rows = Recipe("v2.1").rows(0)
    rows[column][3][1] = value
    parquet(root / "data/chunk-000/episode_000000.parquet", rows)
    what = "state" if "state" in column else "action"
    assert f"{what} of gripper is {np.float32(value):g} rad in sample" in refused(root)


def test_a_row_group_that_stands_for_a_billion_rows(dataset: Callable[[str], Path]) -> None:
    """H16: equal values take no room in parquet, and gigabytes once they are read."""
    root = dataset("v2.1")
    from wall_edge_export.data import lerobot_files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lerobot_files, "_MOST_VALUES", 10)
        assert "values" in refused(root)
