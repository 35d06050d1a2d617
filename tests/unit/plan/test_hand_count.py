"""wall-oss-flow counted by hand, term by term, and held against what the modules say.

The hand leaves out biases and norms. Every term is written out for docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from wall_edge_engines.plan.workload import Workload
from wall_edge_export.plan.model_work import ModelWork
from wall_edge_export.plan.source import plan_source
from wall_edge_export.quantize.precision import load_recipe

# Three cameras of 640x480, each 252x196 after its resize: 18 by 14 patches of 14 pixels, four a token.
CAMERAS = 3
PATCHES = CAMERAS * 18 * 14  # 756
IMAGE_TOKENS = PATCHES // 4  # 189
PROMPT = 252  # 189 of images, 63 of words and of what frames them
HORIZON = 32

# Vision tower: 32 blocks of width 1280, MLPs of 3420, 16 heads of 80; a patch has 3·2·14·14 = 1176 values.
VISION_BLOCK = (
    1280 * 3840  # queries, keys and values
    + 1280 * 1280  # attention's output
    + 3 * 1280 * 3420  # gate, up and down
)
MERGER = 5120 * 5120 + 5120 * 2048  # four patches side by side → one token
PATCH_EMBED = 1176 * 1280
VISION_WEIGHTS = PATCH_EMBED + 32 * VISION_BLOCK + MERGER
# Two products of 80-wide heads. 4 blocks look at the whole of an image; 28 at windows of 8 by 8 patches,
# 3 by 2 of them an image, padded to 64 patches each.
VISION_SCORES = 4 * CAMERAS * 252 * 252 + 28 * CAMERAS * 6 * 64 * 64
VISION_ATTENTION = 2 * 16 * 80 * VISION_SCORES
# Each axis of each channel by one product, with coefficients in two parts: 640 → 256, 480 → 192, then
# 256 → 252 and 192 → 196 for whole patches.
RESIZE = (
    CAMERAS * 3 * 2 * (480 * 640 * 256 + 192 * 480 * 256)  # to 256x192
    + CAMERAS * 3 * 2 * (192 * 256 * 252 + 196 * 192 * 252)  # to 252x196
)
VISION_MULTIPLY_ADDS = (
    PATCHES * (PATCH_EMBED + 32 * VISION_BLOCK) + IMAGE_TOKENS * MERGER + VISION_ATTENTION + RESIZE
)

# Decoder: 36 layers of width 2048, 16 heads and 2 key/value heads of 128.
QUERY, KEYS_VALUES, OUTPUT = 2048 * 2048, 2 * 2048 * 256, 2048 * 2048
TEXT_MLP, ACTION_MLP = 3 * 2048 * 11008, 3 * 2048 * 2048
TEXT_LAYER = QUERY + KEYS_VALUES + OUTPUT + TEXT_MLP
ACTION_LAYER = QUERY + KEYS_VALUES + OUTPUT + ACTION_MLP


def attention(asking: int, visible: int) -> int:
    """Scores and their sum of values, of one layer."""
    return 2 * 16 * 128 * asking * visible


# The last layer computes one token beyond its keys/values.
PREFIX_MULTIPLY_ADDS = (
    35 * (PROMPT * TEXT_LAYER + attention(PROMPT, PROMPT))
    + PROMPT * KEYS_VALUES
    + (QUERY + OUTPUT + TEXT_MLP)
    + attention(1, PROMPT)
)
WORD_MULTIPLY_ADDS = 36 * (TEXT_LAYER + attention(1, PROMPT + 1))

# The action head stays in float32 in every recipe: noisy action and mask, action and time, hidden, velocity.
ACTION_HEAD = 2048 * (2 * 20) + 2048 * (2 * 2048) + 2048 * 2048 + 20 * 2048
EXPERT_WEIGHTS = 36 * ACTION_LAYER
EXPERT_MULTIPLY_ADDS = (
    HORIZON * (EXPERT_WEIGHTS + ACTION_HEAD) + 36 * attention(HORIZON, PROMPT + HORIZON)  # queries see both
)
VOCABULARY_HEAD = 152_000 * 2048

CACHE_TOKEN = 36 * 2 * 256 * 2  # layers, keys and values, their width, bytes in bf16
FRAMES = CAMERAS * 640 * 480 * 3
IMAGES = IMAGE_TOKENS * 2048 * 2

MULTIPLY_ADDS = {
    "vision": VISION_MULTIPLY_ADDS,
    "prefix": PREFIX_MULTIPLY_ADDS,
    "expert": EXPERT_MULTIPLY_ADDS,
    "word": WORD_MULTIPLY_ADDS,
    "lm_head": 2 * VOCABULARY_HEAD,  # two rows, one of them for nothing
}
BYTES = {
    "vision": 2 * VISION_WEIGHTS + FRAMES + IMAGES,
    "prefix": 2 * (36 * TEXT_LAYER + PROMPT * 2048) + IMAGES + PROMPT * CACHE_TOKEN,
    "expert": 2 * EXPERT_WEIGHTS + 4 * ACTION_HEAD + PROMPT * CACHE_TOKEN,
    "word": 2 * 36 * TEXT_LAYER + IMAGES + PROMPT * CACHE_TOKEN,
    "lm_head": 2 * VOCABULARY_HEAD + 4 * 152_000,  # its logits
}
"""In bf16."""


@pytest.fixture(scope="module")
def flow() -> Mapping[str, Workload]:
    source = plan_source("wall-oss-flow")
    assert (len(source.cameras), source.prompt_tokens, source.horizon) == (CAMERAS, PROMPT, HORIZON)
    work = ModelWork(source.shape, source.graph_inputs)
    return {name: work.workload(load_recipe(name), PROMPT) for name in ("bf16", "int8-int8", "int8-int4")}


@pytest.mark.parametrize("use", MULTIPLY_ADDS)
def test_operations_are_those_of_the_hand(flow: Mapping[str, Workload], use: str) -> None:
    for recipe, workload in flow.items():
        operations = sum(workload.uses[use].operations.values())
        print(
            f"{recipe} {use}: {operations / 1e9:.3f} G operations, {2 * MULTIPLY_ADDS[use] / 1e9:.3f} by hand"
        )
        assert operations == pytest.approx(2 * MULTIPLY_ADDS[use], rel=1e-3)


@pytest.mark.parametrize("use", BYTES)
def test_bytes_are_those_of_the_hand(flow: Mapping[str, Workload], use: str) -> None:
    counted = flow["bf16"].uses[use].bytes
    print(f"{use}: {counted / 1e6:.3f} MB, {BYTES[use] / 1e6:.3f} by hand")
    assert counted == pytest.approx(BYTES[use], rel=1e-3)


def test_an_action_step_reads_what_the_issue_says(flow: Mapping[str, Workload]) -> None:
    """0.79 B weights and 1.58 GB are those of the layers; the action head adds 0.05 GB in float32."""
    step = flow["bf16"].uses["expert"]
    head = 4 * ACTION_HEAD
    layers = step.weight_bytes - head
    print(f"{EXPERT_WEIGHTS / 1e9:.4f} B weights, {layers / 1e9:.4f} GB, and {head / 1e9:.4f} GB")
    assert pytest.approx(0.79e9, rel=0.02) == EXPERT_WEIGHTS
    assert layers == pytest.approx(1.58e9, rel=0.02)
    assert step.weight_bytes == pytest.approx(1.58e9, rel=0.04)


def test_lower_precisions_are_those_of_the_hand(flow: Mapping[str, Workload]) -> None:
    """Of 4-bit weights 64 share a scale in bf16; of 8-bit weights an output has a scale and a zero point."""
    by_hand = {
        "int8-int8": EXPERT_WEIGHTS + 4 * ACTION_HEAD,
        "int8-int4": EXPERT_WEIGHTS * (1 / 2 + 2 / 64) + 4 * ACTION_HEAD,
    }
    for name, expected in by_hand.items():
        assert flow[name].uses["expert"].weight_bytes == pytest.approx(expected, rel=5e-3)
        prefix = 36 * TEXT_LAYER + 2 * PROMPT * 2048
        assert flow[name].uses["prefix"].weight_bytes == pytest.approx(prefix, rel=5e-3)
        in_8_bits = 35 * PROMPT * TEXT_LAYER + PROMPT * KEYS_VALUES + QUERY + OUTPUT + TEXT_MLP
        assert flow[name].uses["prefix"].operations["int8"] == 2 * in_8_bits


def test_attention_is_in_the_type_of_the_activations(flow: Mapping[str, Workload]) -> None:
    prefix = flow["int8-int8"].uses["prefix"].operations
    assert prefix["bf16"] == 2 * (35 * attention(PROMPT, PROMPT) + attention(1, PROMPT))
    assert flow["bf16"].uses["vision"].operations["fp32"] == 2 * RESIZE
    assert flow["bf16"].cache_token_bytes == CACHE_TOKEN
