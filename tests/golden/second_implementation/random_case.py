"""A golden case of given settings: random weights, a random observation, and this model's outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation import settings as tokens
from tests.golden.second_implementation.head import time_grid
from tests.golden.second_implementation.model import Model
from tests.golden.second_implementation.random_checkpoint import RandomCheckpoint
from tests.golden.second_implementation.settings import Settings
from tests.golden.second_implementation.weights import write

_ATTEMPTS = 50


def random_case(folder: Path, settings: Settings, seed: int) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``case.npz``.

    The text is drawn again until its greedy tokens are words: the facts say nothing of what a model reads
    into an image, state or action token that it wrote itself.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings.config(), indent=1))
    write(folder / "model.safetensors", RandomCheckpoint(settings, random).fill())
    model = Model(folder, settings.later)
    case = _observation(settings, random)
    for _ in range(_ATTEMPTS):
        case |= _prompts(settings, random)
        outputs = model.outputs(case)
        special = (outputs["greedy_text_ids"] >= tokens.STATE_TOKEN) & (
            outputs["greedy_text_ids"] <= tokens.VISION_END
        )
        if not special.any():
            break
    else:
        raise AssertionError(f"every text of seed {seed} continues in special tokens; expected another seed")
    if settings.later:
        case["inference_times"] = time_grid(10, settings.config(), later=True).astype(np.float32)
    case |= outputs
    floats = {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in case.items()}
    np.savez(folder / "case.npz", **floats)


def _observation(settings: Settings, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    patches = sum(height * width for height, width in settings.grids)
    case: dict[str, NDArray[Any]] = {
        "pixel_values": random.standard_normal((patches, 1176)),
        "image_grid_thw": np.array([(1, *grid) for grid in settings.grids], dtype=np.int64),
        "proprioception": random.standard_normal((1, 1, settings.state_slots)),
        "agent_pos_mask": np.ones((1, 1, settings.state_slots)),
        "dof_mask": np.ones((1, settings.horizon, settings.action_slots)),
        "noise": random.standard_normal((1, settings.horizon, settings.action_slots)),
    }
    case["dof_mask"][..., list(settings.dead)] = 0.0
    case["agent_pos_mask"][..., [slot for slot in settings.dead if slot < settings.state_slots]] = 0.0
    if settings.later:
        case["padding_action"] = random.uniform(-1.0, 1.0, (1, 1, settings.action_slots))
    # What is stored is float32, so what is computed from must be.
    return {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in case.items()}


def _prompts(settings: Settings, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Ids of both prompts; words come from every row of the embeddings that is not a special token's."""
    rows = [
        *range(3, tokens.STATE_TOKEN),
        *range(tokens.VOCABULARY, tokens.VOCABULARY + settings.further_rows),
    ]

    def words(count: int) -> list[int]:
        return random.choice(rows, count).tolist()

    seen = words(2)
    for height, width in settings.grids:
        seen += [tokens.VISION_START, *[tokens.IMAGE_TOKEN] * (height * width // 4), tokens.VISION_END]
    seen += words(6)
    state = [tokens.STATE_TOKEN] if settings.state_token else words(5)
    action = [tokens.ACTION_TOKEN] * settings.horizon
    pads = settings.left_padding
    ids = [0] * pads + seen + state + words(2) + action
    return {
        "input_ids": np.array([ids], dtype=np.int64),
        "attention_mask": np.array([[0] * pads + [1] * (len(ids) - pads)], dtype=np.int64),
        "text_input_ids": np.array([seen + words(2)], dtype=np.int64),
    }
