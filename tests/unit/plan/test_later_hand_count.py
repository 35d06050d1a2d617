"""wall-oss-0.5 counted by hand as wall-oss-flow is in ``test_hand_count``: what its narrow expert saves.

Images of 448 pixels make the prompt long; the state's words are 103 more tokens, and no input of a graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from wall_edge_engines.plan.workload import Workload
from wall_edge_export.plan.model_work import ModelWork
from wall_edge_export.plan.source import plan_source
from wall_edge_export.quantize.precision import load_recipe

from tests.unit.plan.test_hand_count import (
    CAMERAS,
    HORIZON,
    KEYS_VALUES,
    MERGER,
    OUTPUT,
    PATCH_EMBED,
    QUERY,
    TEXT_LAYER,
    TEXT_MLP,
    VISION_BLOCK,
    VISION_WEIGHTS,
    attention,
)

# Three cameras of 640x480, each 448x336 after its resize: 32 by 24 patches, whole tokens already.
PATCHES = CAMERAS * 32 * 24  # 2304
IMAGE_TOKENS = PATCHES // 4  # 576
STATE = 26 * 3 + 25  # digits and the spaces between numbers
PROMPT = IMAGE_TOKENS + 62 + STATE

# 28 blocks look at windows of 8 by 8 patches: 4 by 3 of them an image, all of them full.
VISION_SCORES = 4 * CAMERAS * 768 * 768 + 28 * CAMERAS * 12 * 64 * 64
RESIZE = CAMERAS * 3 * 2 * (480 * 640 * 448 + 336 * 480 * 448)  # to 448x336
VISION_MULTIPLY_ADDS = (
    PATCHES * (PATCH_EMBED + 32 * VISION_BLOCK) + IMAGE_TOKENS * MERGER + 2 * 16 * 80 * VISION_SCORES + RESIZE
)
PREFIX_MULTIPLY_ADDS = (
    35 * (PROMPT * TEXT_LAYER + attention(PROMPT, PROMPT))
    + PROMPT * KEYS_VALUES
    + (QUERY + OUTPUT + TEXT_MLP)
    + attention(1, PROMPT)
)

# Of width 1024: 16 heads and 2 key/value heads of 128 from it and back to it, an MLP of 2048.
ACTION_LAYER = 1024 * 2048 + 2 * 1024 * 256 + 2048 * 1024 + 3 * 1024 * 2048
ACTION_HEAD = 1024 * (2 * 26) + 1024 * (2 * 1024) + 1024 * 1024 + 26 * 1024
EXPERT_WEIGHTS = 36 * ACTION_LAYER
EXPERT_MULTIPLY_ADDS = HORIZON * (EXPERT_WEIGHTS + ACTION_HEAD) + 36 * attention(HORIZON, PROMPT + HORIZON)
VOCABULARY_HEAD = 155_765 * 2048

CACHE_TOKEN = 36 * 2 * 256 * 2
FRAMES = CAMERAS * 640 * 480 * 3
IMAGES = IMAGE_TOKENS * 2048 * 2
MULTIPLY_ADDS = {
    "vision": VISION_MULTIPLY_ADDS,
    "prefix": PREFIX_MULTIPLY_ADDS,
    "expert": EXPERT_MULTIPLY_ADDS,
    "word": 36 * (TEXT_LAYER + attention(1, PROMPT + 1)),
    "lm_head": 2 * VOCABULARY_HEAD,
}
BYTES = {
    "vision": 2 * VISION_WEIGHTS + FRAMES + IMAGES,
    "prefix": 2 * (36 * TEXT_LAYER + PROMPT * 2048) + IMAGES + PROMPT * CACHE_TOKEN,
    "expert": 2 * EXPERT_WEIGHTS + 4 * ACTION_HEAD + PROMPT * CACHE_TOKEN,
    "word": 2 * 36 * TEXT_LAYER + IMAGES + PROMPT * CACHE_TOKEN,
    "lm_head": 2 * VOCABULARY_HEAD + 4 * 155_765,
}
"""In bf16."""
WIDTHS = {"bf16": 2, "int8-int8": 1, "int8-int4": 1 / 2}
"""Bytes of a weight of the expert."""


@pytest.fixture(scope="module")
def later() -> Mapping[str, Workload]:
    source = plan_source("wall-oss-0.5")
    assert (len(source.cameras), source.prompt_tokens, source.horizon) == (CAMERAS, PROMPT, HORIZON)
    work = ModelWork(source.shape, source.graph_inputs)
    return {name: work.workload(load_recipe(name), PROMPT) for name in WIDTHS}


@pytest.mark.parametrize("use", MULTIPLY_ADDS)
def test_operations_are_those_of_the_hand(later: Mapping[str, Workload], use: str) -> None:
    """A causal bias is added to scores that are computed all the same."""
    for workload in later.values():
        assert sum(workload.uses[use].operations.values()) == pytest.approx(2 * MULTIPLY_ADDS[use], rel=1e-3)


@pytest.mark.parametrize("use", BYTES)
def test_bytes_are_those_of_the_hand(later: Mapping[str, Workload], use: str) -> None:
    assert later["bf16"].uses[use].bytes == pytest.approx(BYTES[use], rel=1e-3)


def test_the_state_is_no_input(later: Mapping[str, Workload]) -> None:
    """Nothing but tokens goes into the prefix, so no product of it is in float32."""
    assert set(later["bf16"].uses["prefix"].operations) == {"bf16"}


def test_an_action_step_reads_half_a_billion_weights_at_most(later: Mapping[str, Workload]) -> None:
    """In every recipe's width, the scales of 8 and 4 bits and the float32 head included."""
    parameters = EXPERT_WEIGHTS + ACTION_HEAD
    print(f"{parameters / 1e9:.4f} B parameters")
    assert parameters < 0.5e9
    for name, width in WIDTHS.items():
        step = later[name].uses["expert"].weight_bytes
        print(f"{name}: {step / 1e6:.1f} MB, {0.5e9 * width / 1e6:.1f} asked")
        assert EXPERT_WEIGHTS * width < step <= 0.5e9 * width
