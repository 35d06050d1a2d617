"""A robot's statistics in several places of a checkpoint, and what becomes of slots that it lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.settings import training_file
from wall_edge_export.inputs.settings import resolve_settings
from wall_edge_export.inputs.statistics import action_padding, read_statistics

from tests.unit.inputs.upstream import X2_NORMAL, filled, two_handed, write_upstream
from wall_edge.bundle import Degree
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, WallEdgeError

KINDS = {"action": "dof_config", "propri": "agent_pos_config"}
LATER = {"use_state_string_representation": True, "state_bins": 256}
Json = dict[str, Any]


class Folder:
    """A checkpoint of upstream's whose statistics can be put anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layouts = yaml.safe_load((path / "config.yml").read_text())

    def values(self, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        return filled(self.layouts[KINDS[kind]], X2_NORMAL)

    def without_tensors(self) -> Folder:
        file = self.path / "model.safetensors"
        save_file({name: t for name, t in load_file(file).items() if "normalizer" not in name}, file)
        return self

    def pickled(self, robots: tuple[str, ...] = ("x2_normal",), width: int = 20, off: float = 0.0) -> Folder:
        for kind in KINDS:
            low, delta = self.values(kind)
            vectors = {f"min.{robot}": low[:width] + off * n for n, robot in enumerate(robots, 1)}
            vectors |= {f"delta.{robot}": delta[:width] for robot in robots}
            torch.save(vectors, self.path / f"normalizer_{kind}.pth")
        return self

    def quantiles(self, width: int = 20, off: float = 0.0, **keys: str) -> Folder:
        stats = {}
        for kind, key in (("action", "action"), ("propri", "observation.state")):
            low, delta = (values[:width].double() for values in self.values(kind))
            stats[keys.get(kind, key)] = {"q01": (low + off).tolist(), "q99": (low + off + delta).tolist()}
        (self.path / "norm_stats.json").write_text(json.dumps({"norm_stats": stats}))
        return self

    def train(self, change: Json) -> Folder:
        (self.path / "config.yml").write_text(yaml.safe_dump({**self.layouts, **change}, sort_keys=False))
        self.layouts.update(change)
        return self

    def configure(self, change: Json) -> Folder:
        file = self.path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        return self

    def normalised(self, robot: str | None = "x2_normal") -> tuple[np.ndarray, np.ndarray]:
        """Where the middle of each range is, and half of it, of the state."""
        scaling = read_statistics(Checkpoint(self.path), robot).state.scaling
        return scaling.offset, scaling.scale

    def refusal(self, robot: str | None = "x2_normal") -> str:
        with pytest.raises(WallEdgeError) as error:
            read_statistics(Checkpoint(self.path), robot)
        assert "\n" not in str(error.value)
        return str(error.value)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(write_upstream(tmp_path / "checkpoint", robots={"x2_normal": X2_NORMAL}))


def same(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> bool:
    return all(np.allclose(mine, theirs, atol=1e-6) for mine, theirs in zip(one, other, strict=True))


def test_every_place_alone_and_all_together(folder: Folder) -> None:
    weights = folder.normalised()
    assert same(folder.pickled().quantiles().normalised(), weights)
    assert same(folder.without_tensors().normalised(), weights)
    (folder.path / "norm_stats.json").unlink()
    assert same(folder.normalised(), weights)
    for kind in KINDS:
        (folder.path / f"normalizer_{kind}.pth").unlink()
    assert "no normalisation statistics; expected normalizer_action.pth" in folder.refusal()
    assert same(folder.quantiles().normalised(), weights)


def test_places_that_differ(folder: Folder) -> None:
    weights = str(folder.path)
    message = folder.pickled(off=0.01).refusal()
    assert f"{weights}: normalizer_action.*.x2_normal and" in message
    assert f"and {weights}/normalizer_*.pth: normalizer_action.*.x2_normal differ" in message
    assert "differ: min[0] is -0.036 and -0.026" in message
    folder.pickled().quantiles(off=0.01)
    assert "norm_stats.json: norm_stats.action differ" in folder.refusal()


def test_a_robot_is_chosen_by_name(folder: Folder) -> None:
    folder.without_tensors().pickled(("left_arm", "x2_normal"), off=0.5)
    assert not same(folder.normalised("left_arm"), folder.normalised("x2_normal"))
    message = folder.refusal(None)
    assert "normalisation for robot None; expected one of left_arm, x2_normal; set model.robot" in message
    assert "'x3'" in folder.refusal("x3")
    folder.train({"customized_robot_config": {"name": "left_arm"}})
    assert same(folder.normalised(None), folder.normalised("left_arm"))


def test_the_only_robot_may_be_taken(folder: Folder) -> None:
    folder.without_tensors().pickled(("left_arm",))
    assert same(folder.normalised(None), folder.normalised("left_arm"))
    assert "robot 'x2_normal'; expected one of left_arm" in folder.refusal("x2_normal")


def test_a_file_that_names_no_robot(folder: Folder) -> None:
    folder.without_tensors().quantiles()
    assert same(folder.normalised(None), folder.normalised("whoever"))
    assert read_statistics(Checkpoint(folder.path), None).robot == "unnamed"
    assert read_statistics(Checkpoint(folder.path), "whoever").robot == "whoever"


def test_a_robot_in_one_file_and_not_in_the_other(folder: Folder) -> None:
    folder.without_tensors().pickled()
    torch.save(
        {"min.arm": torch.zeros(20), "delta.arm": torch.ones(20)}, folder.path / "normalizer_action.pth"
    )
    assert "no normalizer_action of x2_normal" in folder.refusal("x2_normal")
    assert "no normalizer_propri of arm" in folder.refusal("arm")
    torch.save({"mean.arm": torch.zeros(20)}, folder.path / "normalizer_action.pth")
    assert "mean.arm; expected min.ROBOT and delta.ROBOT" in folder.refusal("arm")


def test_names_of_quantiles_that_config_yml_says(folder: Folder) -> None:
    folder.without_tensors().quantiles(action="a", propri="s")
    assert "none of action, actions" in folder.refusal()
    folder.train({"data": {"key_mappings": {"action": "a", "state": "s"}}})
    assert folder.normalised()


@pytest.mark.parametrize("width", [14, 19, 21])
def test_quantiles_of_another_data_set(folder: Folder, width: int) -> None:
    folder.without_tensors().quantiles()
    path = folder.path / "norm_stats.json"
    path.write_text(
        json.dumps(
            {
                "norm_stats": {
                    key: {"q01": [0.0] * width, "q99": [1.0] * width}
                    for key in ("action", "observation.state")
                }
            }
        )
    )
    assert f"action: {width} numbers; expected 20" in folder.refusal()


def test_quantiles_of_what_is_before_the_padding(folder: Folder) -> None:
    groups = {"arm": 13, "action_padding": 7}
    folder.train(dict.fromkeys(KINDS.values(), groups))
    folder.without_tensors()
    stats = {key: {"q01": [-1.0] * 13, "q99": [1.0] * 13} for key in ("action", "observation.state")}
    (folder.path / "norm_stats.json").write_text(json.dumps({"norm_stats": stats}))
    offset, scale = folder.normalised()
    np.testing.assert_array_equal(offset, np.zeros(13))
    np.testing.assert_array_equal(scale, np.ones(13))


class TestPadding:
    def expected(self, low: np.ndarray, delta: np.ndarray) -> np.ndarray:
        """``normalize_data`` of an action of zeros, as Wall-X 1.1 serves (``padding_action``)."""
        unit = np.where(delta == 0, 1.0, delta)
        return np.clip((0 - low) / unit * 2 - 1, -1, 1)

    def test_a_zero_is_normalised_as_all_actions_are(self, folder: Folder) -> None:
        low, delta = (values.double().numpy() for values in folder.values("action"))
        padding = action_padding(Checkpoint(folder.path), "x2_normal")
        np.testing.assert_allclose(padding, self.expected(low, delta), atol=1e-6)
        assert len(padding) == 20
        assert -1 < padding[0] < 1

    def test_behind_the_statistics_it_is_that_of_min_0_and_delta_1(self, folder: Folder) -> None:
        """``pad_normalizer_to_dim``."""
        folder.without_tensors().pickled(width=16)
        padding = action_padding(Checkpoint(folder.path), None)
        assert padding[16:] == (-1.0,) * 4
        whole = folder.pickled().path
        assert padding[:16] == action_padding(Checkpoint(whole), None)[:16]

    @pytest.mark.parametrize(
        ("low", "delta", "expected"),
        [
            (0.0, 0.0, -1.0),
            (-0.25, 0.0, -0.5),
            (5.0, 1.0, -1.0),
            (-5.0, 1.0, 1.0),
            (float("nan"), 1.0, 0.0),
            (float("inf"), 1.0, -1.0),
            (0.0, float("inf"), 0.0),
            (-3e38, 1e-38, 1.0),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_numbers_of_slots_that_nobody_drives(
        self, folder: Folder, low: float, delta: float, expected: float
    ) -> None:
        """numpy's warnings of them once stood among the export's own lines."""
        folder.without_tensors().pickled()
        path = folder.path / "normalizer_action.pth"
        vectors = torch.load(path, weights_only=True)
        vectors["min.x2_normal"][19], vectors["delta.x2_normal"][19] = low, delta
        torch.save(vectors, path)
        assert action_padding(Checkpoint(folder.path), None)[19] == pytest.approx(expected)

    def test_it_is_the_later_familys_alone(self, folder: Folder, robot: RobotConfig) -> None:
        assert resolve_settings(Checkpoint(folder.path), two_handed(robot)).padding is None
        folder.configure(LATER)
        padding = resolve_settings(Checkpoint(folder.path), two_handed(robot)).padding
        assert padding == action_padding(Checkpoint(folder.path), None)

    @pytest.mark.parametrize("later", [False, True])
    def test_the_state_of_slots_behind_the_names(self, folder: Folder, later: bool) -> None:
        """The first family appends zeros after it has normalised, the later one before."""
        groups = {"arm": 13, "action_padding": 7}
        folder.train(dict.fromkeys(KINDS.values(), groups)).configure(LATER if later else {})
        masked = read_statistics(Checkpoint(folder.path), None).state.masked
        assert masked is not None
        low, delta = (values.double().numpy()[13:] for values in filled(DOF_20, X2_NORMAL))
        np.testing.assert_allclose(masked[13:], self.expected(low, delta) if later else 0.0, atol=1e-6)


DOF_20 = {
    "follow_left_ee_cartesian_pos": 3,
    "follow_left_ee_rotation": 3,
    "follow_left_gripper": 1,
    "follow_right_ee_cartesian_pos": 3,
    "follow_right_ee_rotation": 3,
    "follow_right_gripper": 1,
    "head_actions": 2,
    "height": 1,
    "car_pose": 3,
}


def test_a_kind_of_normaliser_that_no_export_needs(folder: Folder) -> None:
    """wall-oss-0.5 holds one of its discrete actions among the weights; it may be of any size."""
    file = folder.path / "model.safetensors"
    tensors = load_file(file)
    before = folder.normalised()
    for statistic in ("min", "delta"):
        tensors[f"action_preprocessor.normalizer_ar.{statistic}.x2_normal"] = torch.ones(1400)
    save_file(tensors, file)
    assert same(folder.normalised(), before)
    Checkpoint(folder.path).check()


def test_a_normaliser_that_is_no_normaliser_s_size(folder: Folder) -> None:
    """Its shape says so, before a value is read: gigabytes went into float64."""
    file = folder.path / "model.safetensors"
    tensors = load_file(file)
    for statistic in ("min", "delta"):
        tensors[f"action_preprocessor.normalizer_action.{statistic}.x2_normal"] = torch.ones(257)
    save_file(tensors, file)
    assert "normalizer_action.delta.x2_normal: 257 values; expected at most 256" in folder.refusal()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("low", [1e39, -1e39, 1.5e308, -1.5e308, float("inf"), float("nan")])
@pytest.mark.parametrize("delta", [1.5e308, 1e-320, -1e39, float("inf"), float("nan"), 0.0])
@pytest.mark.parametrize("later", [False, True])
def test_numbers_beyond_arithmetic_end_in_one_line(
    folder: Folder, low: float, delta: float, later: bool
) -> None:
    """Where they are used; numpy's warnings stood before it."""
    folder.without_tensors().configure(LATER if later else {})
    for kind in KINDS:
        vectors = {"min.arm": torch.zeros(20).double(), "delta.arm": torch.ones(20).double()}
        vectors["min.arm"][3], vectors["delta.arm"][3] = low, delta
        torch.save(vectors, folder.path / f"normalizer_{kind}.pth")
    made = Checkpoint(folder.path)
    statistics = read_statistics(made, None)
    assert all(abs(value) <= 1 for value in action_padding(made, None))
    degree = Degree("a", 3, "joint", "a")
    for side in (statistics.state, statistics.action):
        with pytest.raises(CheckpointError, match="the normaliser of a: middle") as error:
            side.layout([degree], {}, folder.path)
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ends", [(1e39, 1e39), (1e39, -1e39), (3e38, -3e38), (1e308, 0.0)])
def test_quantiles_beyond_float32(folder: Folder, ends: tuple[float, float]) -> None:
    folder.without_tensors().quantiles()
    path = folder.path / "norm_stats.json"
    stats = json.loads(path.read_text())
    for quantiles in stats["norm_stats"].values():
        quantiles["q01"][0], quantiles["q99"][0] = ends
    path.write_text(json.dumps(stats))
    side = read_statistics(Checkpoint(folder.path), None).action
    with pytest.raises(CheckpointError, match="the normaliser of a: middle"):
        side.layout([Degree("a", 0, "joint", "a")], {}, folder.path)


def test_config_yml_is_read_once(folder: Folder, robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML takes a second for the largest file that is taken: four times that was longer than an export's
    reader may take."""
    reads: list[Path] = []
    read = training_file.read_yaml
    monkeypatch.setattr(
        training_file, "read_yaml", lambda path, *rest: (reads.append(path), read(path, *rest))[1]
    )
    folder.configure(LATER)
    resolve_settings(Checkpoint(folder.path), two_handed(robot))
    assert reads == [folder.path / "config.yml"]
