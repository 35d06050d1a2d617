"""Upstream's config.yml in its flat and its typed form, and what of it goes before config.json."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_export.checkpoint.settings.dof import Layout, trained
from wall_edge_export.checkpoint.settings.merged import merged_settings
from wall_edge_export.checkpoint.settings.training_file import SECTIONS, TrainingFile, training_file

from wall_edge.errors import CheckpointError

Json = dict[str, Any]
LIBERO = {"arm": 6, "grip": 1, "action_padding": 19}
BASE = {"left": 10, "right": 10, "base": 6}


def read(folder: Path, content: object, name: str = "config.yml") -> TrainingFile:
    (folder / name).write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return training_file(folder)


class TestPlaces:
    @pytest.mark.parametrize(
        "content",
        [
            {"state_bins": 256},
            {"data": {"state_bins": 256}},
            {"task": {"state_bins": 256}, "data": {"state_bins": 256}},
            {"state_bins": 256, "data": {"state_bins": None}},
        ],
    )
    def test_a_key_stands_at_the_top_or_in_a_section(self, tmp_path: Path, content: Json) -> None:
        assert read(tmp_path, content).said("state_bins") == 256
        assert read(tmp_path, content).said("resolution") is None

    def test_places_that_differ_are_both_named(self, tmp_path: Path) -> None:
        training = read(tmp_path, {"state_bins": 256, "data": {"state_bins": 512}})
        with pytest.raises(CheckpointError) as error:
            training.said("state_bins")
        assert "state_bins is 256, data.state_bins 512" in str(error.value)

    @given(
        st.dictionaries(st.sampled_from(["", *SECTIONS]), st.one_of(st.none(), st.integers(1, 3)), max_size=4)
    )
    def test_what_is_said_is_what_all_places_say(self, places: dict[str, int | None]) -> None:
        raw: Json = {name: {"key": value} for name, value in places.items() if name}
        if "" in places:
            raw["key"] = places[""]
        values = {value for value in places.values() if value is not None}
        training = TrainingFile(Path("config.yml"), raw)
        if len(values) > 1:
            with pytest.raises(CheckpointError, match="expected one value"):
                training.said("key")
        else:
            assert training.said("key") == next(iter(values), None)

    def test_no_file_says_nothing(self, tmp_path: Path) -> None:
        assert training_file(tmp_path).said("state_bins") is None
        assert read(tmp_path, "").said("state_bins") is None

    def test_its_other_name(self, tmp_path: Path) -> None:
        """Upstream takes either (``InferConfig._load_train_config``)."""
        assert read(tmp_path, {"state_bins": 8}, "config.yaml").said("state_bins") == 8
        (tmp_path / "config.yml").write_text("state_bins: 9")
        with pytest.raises(CheckpointError, match=r"config\.yml and config\.yaml; expected one"):
            training_file(tmp_path)

    @pytest.mark.parametrize("text", ["[1]", "7", "a: [", "a: 1\na: 2", "!!python/object/apply:os.getcwd []"])
    def test_what_is_no_mapping(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(CheckpointError, match=r"config\.yml"):
            read(tmp_path, text)

    def test_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "config.yml")
        with pytest.raises(CheckpointError, match="a pipe or a device"):
            training_file(tmp_path)


class TestPrecedence:
    def merged(self, config: Json, raw: Json) -> Json:
        return merged_settings(config, TrainingFile(Path("config.yml"), raw), Path("folder"))

    @pytest.mark.parametrize("section", ["", "task", "data"])
    def test_a_fine_tunes_own_word(self, section: str) -> None:
        """``update_model_config``: config.json is the base's, and was copied as it is."""
        own = {
            "action_horizon_flow": 10,
            "use_state_string_representation": False,
            "noise_scheduler": {"s": 0.99, "num_inference_timesteps": 5},
        }
        base = {"action_horizon_flow": 32, "use_state_string_representation": True, "hidden_size": 64}
        made = self.merged({**base, "noise_scheduler": {"s": 0.999}}, {section: own} if section else own)
        assert made == {"hidden_size": 64, **own}

    def test_config_json_alone(self) -> None:
        config = {"action_horizon_flow": 32, "attention_moe": True}
        assert self.merged(config, {}) == config

    @pytest.mark.parametrize(
        ("key", "here", "there"),
        [
            ("hidden_size", 64, 128),
            ("num_hidden_layers", 2, 3),
            ("num_attention_heads", 4, 8),
            ("num_key_value_heads", 2, 1),
            ("rms_norm_eps", 1e-6, 1e-5),
            ("action_hidden_size", 32, 64),
            ("dim_inputs", [64, 32], [64, 64]),
            ("experts", [{"hidden_size": 64}], [{"hidden_size": 32}]),
            ("attention_moe", True, False),
            ("norm_moe", False, True),
            ("use_adarms", None, True),
            ("proj_with_mask", None, False),
            ("causal_action_attention_mask", None, True),
            ("use_x_pred", True, False),
            ("mlp_moe", True, False),
        ],
    )
    @pytest.mark.parametrize("nested", [False, True])
    def test_the_models_own_settings_said_differently(
        self, key: str, here: object, there: object, nested: bool
    ) -> None:
        config: Json = {} if here is None else {key: here}
        config = {"text_config": config} if nested else config
        with pytest.raises(CheckpointError) as error:
            self.merged(config, {"model": {key: there}})
        assert f"config.yml: {key} is" in str(error.value)
        assert "folder/config.json" in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("key", "here", "there"),
        [
            ("attention_moe", True, True),
            ("norm_moe", None, False),
            ("proj_with_mask", None, True),
            ("hidden_size", 64, 64),
            ("dim_inputs", [64, 32], [64, 32]),
            ("model_type", "qwen2_5_vl", "qwen2_5"),
            ("flow_loss_weight", 2.0, 1.0),
        ],
    )
    def test_what_both_say_alike_or_what_is_nothing_of_the_models(
        self, key: str, here: object, there: object
    ) -> None:
        config = {} if here is None else {key: here}
        assert self.merged(config, {"model": {key: there}}) == config


class TestLayouts:
    def layouts(self, config: Json, raw: Json, width: int = 26) -> tuple[Layout, Json]:
        config = dict(config)
        training = TrainingFile(Path("config.yml"), raw)
        return trained(config, Path("folder"), training, lambda _: width).action, config

    @pytest.mark.parametrize("section", ["", "task", "data"])
    def test_a_fine_tunes_names_go_before_its_bases(self, section: str) -> None:
        """Both sum to 26: the tensors cannot tell, and config.json is the base's."""
        own = {"dof_config": LIBERO, "agent_pos_config": LIBERO}
        base = {"dof_config": BASE, "agent_pos_config": BASE}
        layout, config = self.layouts(base, {section: own} if section else own)
        assert layout.names == (*(f"arm_{n}" for n in range(6)), "grip")
        assert layout.slots == tuple(range(7))
        assert config["dof_config"] == config["agent_pos_config"] == LIBERO

    def test_padding_takes_the_last_slots(self) -> None:
        layout, config = self.layouts({"dof_config": {"a": 1, "action_padding": 24, "b": 1}}, {})
        assert layout.slots == (0, 1)
        assert list(config["dof_config"]) == ["a", "b", "action_padding"]

    @pytest.mark.parametrize("section", ["", "model"])
    def test_a_customised_robot_in_either_form(self, section: str) -> None:
        """``qwen2_5_lerobot_template.yml`` has it under ``model``, the flat form at the top."""
        robot = {"customized_robot_config": {"name": "mine", "customized_dof_config": {"joint": 7}}}
        raw = {"task": {"dof_config": BASE}, **({section: robot} if section else robot)}
        layout, _ = self.layouts({}, raw)
        assert layout.names == tuple(f"joint_{n}" for n in range(7))
        found = trained({}, Path("folder"), TrainingFile(Path("config.yml"), raw), lambda _: 26)
        assert found.robot == "mine"

    def test_the_tensors_decide_which_is_the_models(self) -> None:
        layout, config = self.layouts({"dof_config": BASE}, {"task": {"dof_config": {"joint": 7}}}, width=26)
        assert config["dof_config"] == BASE
        assert len(layout.names) == 26

    @pytest.mark.parametrize("key", ["dof_config", "customized_dof_config"])
    def test_a_group_s_number_that_is_another_group_s_name(self, key: str) -> None:
        """One slot would stand for both."""
        groups = {"arm": 2, "arm_0": 1}
        raw = {key: groups} if key == "dof_config" else {"customized_robot_config": {key: groups}}
        with pytest.raises(CheckpointError, match="two degrees of freedom named arm_0"):
            self.layouts({"dof_config": BASE}, raw, width=3)

    def test_more_degrees_of_freedom_than_any_model_has(self) -> None:
        """4 MB of groups made 64 million names."""
        groups = {f"group {number}": 256 for number in range(100_000)}
        began = time.process_time()
        with pytest.raises(CheckpointError, match="sums to 25600000; expected at most 256 degrees"):
            self.layouts({"dof_config": groups}, {})
        assert time.process_time() - began < 3
