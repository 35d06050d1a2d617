"""What files say of times, horizon and the state's words; what they do not say is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.checkpoint.settings.training_file import training_file
from wall_edge_export.inputs.trained import state_text, trained
from wall_edge_export.model.family import family_of

from wall_edge.bundle import StateText, TimeSchedule
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import ConfigError, WallEdgeError

Json = dict[str, Any]
SPELT = {"use_state_string_representation": True}


def outline(folder: Path, config: Json, training: Json | None = None) -> Outline:
    """A checkpoint without weights: its settings and the file beside them."""
    if training is not None:
        (folder / "config.yml").write_text(yaml.safe_dump(training))
    shape = SimpleNamespace(
        state_token=not config.get("use_state_string_representation"), family=family_of(config).name
    )
    made = SimpleNamespace(
        folder=folder, training=training_file(folder), config=config, policy=None, shape=shape
    )
    return cast(Outline, made)


def asked(robot: RobotConfig, bins: int | None) -> RobotConfig:
    return replace(robot, model=ModelConfig(state_bins=bins))


class TestTimes:
    @pytest.mark.parametrize(
        ("scheduler", "schedule"),
        [
            (None, TimeSchedule(0.999)),
            ({}, TimeSchedule(0.999)),
            ({"s": 0.95}, TimeSchedule(0.95)),
            ({"s": 1}, TimeSchedule(1.0)),
            ({"time_shift": 2.0}, TimeSchedule(0.999, 2.0)),
        ],
    )
    def test_of_the_later_family(
        self, tmp_path: Path, scheduler: Json | None, schedule: TimeSchedule
    ) -> None:
        config = {**SPELT, "noise_scheduler": scheduler}
        assert trained(outline(tmp_path, config)).schedule == schedule

    def test_the_first_familys_s_was_of_training(self, tmp_path: Path) -> None:
        config = {"noise_scheduler": {"s": 0.999, "num_inference_timesteps": 7}}
        made = trained(outline(tmp_path, config))
        assert (made.schedule, made.steps) == (TimeSchedule(), 7)

    @pytest.mark.parametrize(
        "scheduler",
        [
            {"s": 0.5},
            {"s": 1.1},
            {"s": "0.999"},
            {"s": float("nan")},
            {"time_shift": 0},
            {"time_shift": -1.0},
            {"time_shift": 1e9},
            {"num_inference_timesteps": 0},
            {"num_inference_timesteps": 1001},
            {"num_inference_timesteps": 9.5},
            [],
        ],
    )
    def test_numbers_that_cannot_be_meant(self, tmp_path: Path, scheduler: object) -> None:
        with pytest.raises(WallEdgeError, match="noise_scheduler") as error:
            trained(outline(tmp_path, {**SPELT, "noise_scheduler": scheduler}))
        assert "\n" not in str(error.value)

    def test_a_wrong_number_is_named_as_its_file_does(self, tmp_path: Path) -> None:
        """A ``time_shift`` was called ``shift``, and what ``config.yml`` says was ``config.json``'s."""
        json_alone = outline(tmp_path, {**SPELT, "noise_scheduler": {"time_shift": 0.0}})
        with pytest.raises(WallEdgeError, match=r"config.json: noise_scheduler.time_shift is 0.0; expected"):
            trained(json_alone)
        said = {"noise_scheduler": {"s": 0.5}}
        with pytest.raises(WallEdgeError, match=r"config.yml: noise_scheduler.s is 0.5; expected 0.9 to 1"):
            trained(outline(tmp_path, {**SPELT, **said}, {"task": said}))

    @pytest.mark.parametrize("horizon", [0, -1, 1025, 10**9, 1.5, "32"])
    @pytest.mark.parametrize("file", ["config.json", "config.yml"])
    def test_horizons_that_cannot_be_meant(self, tmp_path: Path, horizon: object, file: str) -> None:
        """A chunk of no steps was exported, one of a billion ended in a lack of memory."""
        said = {"action_horizon_flow": horizon}
        made = outline(tmp_path, {**SPELT, **said}, said if file == "config.yml" else None)
        with pytest.raises(WallEdgeError, match=f"{file}: action_horizon_flow is"):
            trained(made)

    @pytest.mark.parametrize("horizon", [None, 10, 32])
    def test_the_horizon(self, tmp_path: Path, horizon: int | None) -> None:
        assert trained(outline(tmp_path, {"action_horizon_flow": horizon})).horizon == horizon

    @pytest.mark.parametrize("horizon", [0, -1, 1025, 10**9, 10**300])
    def test_a_horizon_that_no_bundle_may_have(self, tmp_path: Path, horizon: int) -> None:
        """It was refused where the manifest is written: after all of the export's work."""
        with pytest.raises(WallEdgeError, match=r"action_horizon_flow is .* expected 1 to 1024 steps"):
            trained(outline(tmp_path, {"action_horizon_flow": horizon}))


class TestBins:
    @pytest.mark.parametrize("bins", [256, 512])
    @pytest.mark.parametrize("place", ["config.json", "flat", "data", "block", "robot"])
    def test_from_wherever_they_are_said(
        self, tmp_path: Path, robot: RobotConfig, place: str, bins: int
    ) -> None:
        config = {**SPELT, **({"state_bins": bins} if place == "config.json" else {})}
        training = {"flat": {"state_bins": bins}, "data": {"data": {"state_bins": bins}}}.get(place)
        block = ModelConfig(state_bins=bins if place == "block" else None)
        who = asked(robot, bins if place == "robot" else None)
        assert state_text(outline(tmp_path, config, training), who, block) == StateText(bins)

    def test_never_guessed(self, tmp_path: Path, robot: RobotConfig) -> None:
        for who in (None, robot, asked(robot, None)):
            with pytest.raises(ConfigError) as error:
                state_text(outline(tmp_path, SPELT), who, ModelConfig())
            assert "expected model.state_bins in ROBOT.yaml: 512 where LeRobot's" in str(error.value)
            assert "256 where Wall-X did" in str(error.value)

    @pytest.mark.parametrize(
        ("config", "training", "block", "own", "words"),
        [
            (256, 512, None, None, ("config.json: state_bins is 256", "config.yml: state_bins is 512")),
            (None, 512, 256, None, ("wall_edge.state_bins is 256", "config.yml: state_bins is 512")),
            (
                None,
                512,
                None,
                256,
                ("config.yml: state_bins is 512", "model.state_bins of ROBOT.yaml is 256"),
            ),
            (512, 512, 512, 256, ("wall_edge.state_bins is 512", "model.state_bins of ROBOT.yaml is 256")),
        ],
    )
    def test_two_places_that_differ(
        self,
        tmp_path: Path,
        robot: RobotConfig,
        config: int | None,
        training: int | None,
        block: int | None,
        own: int | None,
        words: tuple[str, str],
    ) -> None:
        made = outline(tmp_path, {**SPELT, "state_bins": config}, {"data": {"state_bins": training}})
        with pytest.raises(WallEdgeError) as error:
            state_text(made, asked(robot, own), ModelConfig(state_bins=block))
        assert all(word in str(error.value) for word in words)

    def test_all_places_agree(self, tmp_path: Path, robot: RobotConfig) -> None:
        made = outline(tmp_path, {**SPELT, "state_bins": 9}, {"state_bins": 9, "data": {"state_bins": 9}})
        assert state_text(made, asked(robot, 9), ModelConfig(state_bins=9)) == StateText(9)

    @pytest.mark.parametrize("bins", [1, 0, -256, 1 << 17, 2.5, "256", True])
    def test_numbers_of_bins_that_cannot_be_meant(self, tmp_path: Path, bins: object) -> None:
        for config, training in (({"state_bins": bins}, None), ({}, {"data": {"state_bins": bins}})):
            with pytest.raises(WallEdgeError, match="state_bins"):
                state_text(outline(tmp_path, {**SPELT, **config}, training), None, ModelConfig())

    @pytest.mark.parametrize("bins", [1, 1 << 17])
    def test_of_robot_yaml(self, bins: int) -> None:
        with pytest.raises(ConfigError):
            ModelConfig(state_bins=bins)

    def test_a_token_has_none(self, tmp_path: Path, robot: RobotConfig) -> None:
        assert state_text(outline(tmp_path, {"state_bins": 256}), robot, ModelConfig()) is None
        with pytest.raises(ConfigError, match="a token carries this policy's state"):
            state_text(outline(tmp_path, {}), asked(robot, 256), ModelConfig())


class TestPrompts:
    @pytest.mark.parametrize(
        ("data", "describes"),
        [
            ({}, False),
            ({"use_embodied_system_prompt_ratio": 0}, False),
            ({"use_embodied_system_prompt_ratio": 0.5}, True),
            ({"use_embodied_system_prompt_ratio": 1}, True),
        ],
    )
    def test_a_system_turn_that_describes_the_robot(
        self, tmp_path: Path, data: Json, describes: bool
    ) -> None:
        assert trained(outline(tmp_path, SPELT, {"data": data})).describes_robot == describes

    @pytest.mark.parametrize("ratio", [-0.1, 1.1, "often", True])
    def test_ratios_that_are_none(self, tmp_path: Path, ratio: object) -> None:
        made = outline(tmp_path, SPELT, {"data": {"use_embodied_system_prompt_ratio": ratio}})
        with pytest.raises(WallEdgeError, match="use_embodied_system_prompt_ratio"):
            trained(made)

    def test_json_is_no_place_for_them(self, tmp_path: Path) -> None:
        """Of ``config.yml`` alone, as upstream reads them."""
        config = {**SPELT, "data": {"use_embodied_system_prompt_ratio": 1}}
        assert not trained(outline(tmp_path, config)).describes_robot
