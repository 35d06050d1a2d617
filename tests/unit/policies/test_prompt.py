"""Prompt texts to the letter, and multimodal positions at their boundaries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TABLETOP
from wall_edge.errors import BundleError, ConfigError
from wall_edge.policies.prompt_text import (
    PromptTokenizer,
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
    view_name,
)

IMAGE = 250


def test_the_whole_text_of_a_flow_prompt() -> None:
    text = observation_text({"face_view": 2, "left_wrist_view": 1}) + action_text("pick up the cup")
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nObservation:"
        " front view: <|vision_start|><|image_pad|><|image_pad|><|vision_end|>"
        " left wrist view: <|vision_start|><|image_pad|><|vision_end|>"
        "\nInstruction: pick up the cup.\nPredict the next action in robot action.\n"
        "Proprioception: <|propri|>\n<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_whole_text_of_a_prompt_that_spells_the_state_and_describes_the_robot() -> None:
    """As X-Square-Robot/wall-x 1.1 words it where use_embodied_system_prompt_ratio is not 0."""
    text = observation_text({"face_view": 1, "cam_high": 1}, "wall-oss-0.5", "Rel EEF")
    assert text + action_text("pick up the cup", "wall-oss-0.5", "0 128 255") == (
        "<|im_start|>system\nYou are an embodied vision-language-action model controlling a robot with"
        " language instructions.\nCamera Setup: front view, cam high\nAction Space: Rel EEF\n<|im_end|>\n"
        "<|im_start|>user\nObservation: front view: <|vision_start|><|image_pad|><|vision_end|>"
        " cam high: <|vision_start|><|image_pad|><|vision_end|>"
        "\nInstruction: pick up the cup\nPredict the next action in robot action.\n"
        "Proprioception: 0 128 255\n<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ("face_view", "front view"),
        ("left_wrist_view", "left wrist view"),
        ("move2_view", "move2 view"),
        ("top_view", "top view"),
        ("cam_high", "cam high"),
        ("belly", "belly"),
    ],
)
def test_view_names_of_the_later_family(camera: str, words: str) -> None:
    """LeRobot's wall_oss_05 and Wall-X 1.1: no table but for the face, and no " view" behind."""
    assert view_name(camera, "wall-oss-0.5") == words


def test_the_request_for_a_subgoal() -> None:
    assert subgoal_text("go.") == (
        "\nInstruction: go.\nPredict the next action in language.\n<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("camera", "lerobot", "upstream", "first"),
    [
        ("face_view", "front view", "front view", "front view"),
        ("move2_view", "move view", "move view", "move view"),
        ("top_view", "top view", "top view", "top view"),
        ("wrist_view", "wrist view", "wrist_view", "wrist view"),
        ("belly", "belly view", "belly", "belly view"),
        ("cam_high", "cam_high view", "cam_high", "cam high view"),
        ("side_cam", "side_cam view", "side_cam", "side cam view"),
        ("preview_cam", "preview cam", "preview_cam", "preview cam"),
    ],
)
def test_view_names(camera: str, lerobot: str, upstream: str, first: str) -> None:
    """C2: of keys without "view", LeRobot keeps the underscores, and upstream keeps unmapped keys whole.

    This test once asked for "side cam view" from LeRobot's rule; its ``img_key_mapping`` says otherwise.
    """
    assert view_name(camera) == view_name(camera, "lerobot") == lerobot
    assert view_name(camera, "upstream") == upstream
    assert view_name(camera, "wall-edge") == first


@pytest.mark.parametrize(
    ("given", "lerobot", "upstream", "first"),
    [
        ("go", "go.", "go", "go."),
        ("go.", "go.", "go.", "go."),
        (" go ", " go .", " go ", "go."),
        ("go.\n", "go.\n.", "go.\n", "go."),
    ],
)
def test_an_instruction_in_a_flavours_words(given: str, lerobot: str, upstream: str, first: str) -> None:
    """C2: LeRobot ends an instruction with a full stop and does not strip it; upstream does neither."""
    for text in (action_text, subgoal_text):
        assert text(given).startswith(f"\nInstruction: {lerobot}\nPredict")
        assert text(given, "upstream").startswith(f"\nInstruction: {upstream}\nPredict")
        assert text(given, "wall-oss-0.5").startswith(f"\nInstruction: {upstream}\nPredict")
        assert text(given, "wall-edge").startswith(f"\nInstruction: {first}\nPredict")


@pytest.mark.parametrize("words", ["", "  ", "move <|im_end|> now", "<|action|>"])
def test_instructions_that_are_refused(words: str) -> None:
    with pytest.raises(ConfigError):
        action_text(words)


def test_an_image_advances_by_its_longer_side() -> None:
    ids = np.array([1, *[IMAGE] * 6, 2, *[IMAGE] * 2, 3])
    placed = positions(ids, [(2, 3), (2, 1)], IMAGE)
    assert placed[0].tolist() == [0, 1, 1, 1, 1, 1, 1, 4, 5, 5, 7]
    assert placed[1].tolist() == [0, 1, 1, 1, 2, 2, 2, 4, 5, 6, 7]
    assert placed[2].tolist() == [0, 1, 2, 3, 1, 2, 3, 4, 5, 5, 7]
    assert next_position(placed) == 8


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=4), st.integers(0, 9))
def test_text_after_images_resumes_past_all_of_them(grids: list[tuple[int, int]], start: int) -> None:
    ids = np.array([7] + [token for h, w in grids for token in [*[IMAGE] * (h * w), 7]])
    placed = positions(ids, grids, IMAGE, start)
    text = placed[:, ids == 7]
    assert (text == text[0]).all()
    expected = start + np.cumsum([0, *[max(grid) + 1 for grid in grids]])
    assert text[0].tolist() == expected.tolist()


@pytest.mark.parametrize("grids", [[], [(2, 2)], [(1, 3), (1, 1)], [(1, 2)]])
def test_pads_that_do_not_match_the_images(grids: list[tuple[int, int]]) -> None:
    ids = np.array([1, IMAGE, IMAGE, IMAGE, 2])
    with pytest.raises(ConfigError, match="image pads"):
        positions(ids, grids, IMAGE)


def test_a_tokenizer_that_is_missing_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(BundleError, match="No such file"):
        PromptTokenizer(path)
    path.write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        PromptTokenizer(path)


@pytest.mark.parametrize("missing", ["<|propri|>", "<|action|>", "<|image_pad|>", "<|im_end|>"])
def test_a_tokenizer_needs_the_state_s_token_only_where_a_token_carries_it(
    missing: str, tmp_path: Path
) -> None:
    """wall-oss-0.5's own tokenizer has neither the state's token nor the actions'."""
    content = json.loads((TABLETOP / "checkpoint" / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != missing]
    content["model"]["vocab"].pop(missing, None)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="is missing"):
        PromptTokenizer(path)
    if missing in ("<|propri|>", "<|action|>"):
        ids = PromptTokenizer(path, state_token=False).ids
        assert (ids.state is None, ids.action is None) == (missing == "<|propri|>", missing == "<|action|>")
    else:
        with pytest.raises(BundleError, match="is missing"):
            PromptTokenizer(path, state_token=False)
