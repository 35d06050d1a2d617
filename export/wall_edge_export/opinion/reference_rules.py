"""What the references do to words and frames before the processor, written down apart from our own reader.

Nothing here may come from ``policies.prompt_text``, ``policies.vision`` or ``bundle.image_geometry``, nor
they from here: two readers that share a rule share its faults. Sources:

- ``lerobot``: LeRobot 0.4.4, ``policies/wall_x`` (``utils.py``: img_key_mapping, get_wallx_normal_text,
  replace_action_token; ``processor_wall_x.py``: the full stop; ``modeling_wall_x.py``: preprocess_inputs;
  ``constant.py``)
- ``upstream``: X-Square-Robot/wall-x of September 2025, ``wall_x/data/utils.py``, ``load_lerobot_dataset.py``
- ``wall-edge``: what this project once took for LeRobot's rule; a ``config.json`` may name any of the three
- both call ``smart_resize`` of qwen_vl_utils 0.0.11
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

Flavour = Literal["lerobot", "upstream", "wall-edge"]

_CALLED = {
    "face_view": "front view",
    "left_wrist_view": "left wrist view",
    "right_wrist_view": "right wrist view",
    "move1_view": "move view",
    "move2_view": "move view",
    "wall_view": "wall view",
    "top_view": "top view",
}
_FACTOR = 28
_FEWEST_PIXELS, _MOST_PIXELS = 4 * _FACTOR**2, 16384 * _FACTOR**2


def flavour_of(has_policy: bool, config: dict[str, Any]) -> Flavour:
    """Whose rules a checkpoint's prompts follow: as it says itself, else by the kind of folder."""
    block = config.get("wall_edge")
    name = block.get("prompt_wording") if isinstance(block, dict) else None
    for flavour in get_args(Flavour):
        if name == flavour:
            return cast(Flavour, flavour)
    return "lerobot" if has_policy else "upstream"


def camera_words(flavour: Flavour, key: str) -> str:
    """What a prompt calls the camera of this key."""
    if key in _CALLED:
        return _CALLED[key]
    if flavour == "upstream":
        return key
    if flavour == "wall-edge" or "view" in key:
        key = key.replace("_", " ")
    return key if "view" in key else f"{key} view"


def sentence(flavour: Flavour, instruction: str) -> str:
    """An instruction as the prompt holds it."""
    if flavour == "upstream":
        return instruction
    if flavour == "wall-edge":
        instruction = instruction.strip()
    return instruction if instruction.endswith(".") else f"{instruction}."


def prompt(
    flavour: Flavour, images: Iterable[tuple[str, int]], instruction: str, *, actions: int | None
) -> str:
    """The text of a whole prompt. ``images``: each camera's key and its number of image tokens, in order.

    ``actions``: how many action tokens end it; None asks for the next sub-task in words instead.
    """
    lines = ["<|im_start|>system", "You are a helpful assistant.<|im_end|>", "<|im_start|>user"]
    cameras = [
        f"{camera_words(flavour, key)}: <|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
        for key, count in images
    ]
    lines += [" ".join(["Observation:", *cameras]), f"Instruction: {sentence(flavour, instruction)}"]
    if actions is None:
        lines += ["Predict the next action in language."]
    else:
        lines += ["Predict the next action in robot action.", "Proprioception: <|propri|>"]
    return "\n".join([*lines, "<|im_end|>", "<|im_start|>assistant", "<|action|>" * (actions or 0)])


def scaled_frame(frame: npt.NDArray[np.uint8], longest: int) -> Image.Image:
    """A frame ``[height, width, 3]`` as the image processor gets it: longest side, then whole patches."""
    image = Image.fromarray(frame)
    width, height = image.size
    if width > height:
        first = longest, int(longest * height / width)
    else:
        first = int(longest * width / height), longest
    return resized(resized(image, first), _whole_patches(*first))


def resized(
    image: Image.Image, size: tuple[int, int], resample: int = Image.Resampling.BICUBIC
) -> Image.Image:
    """Width before height, as Pillow did it in one call when the references trained.

    Pillow 13 may turn the order round, which changes single pixels by several grey levels.
    """
    return image.resize((size[0], image.height), resample).resize(size, resample)


def _whole_patches(width: int, height: int) -> tuple[int, int]:
    sides = [max(_FACTOR, round(side / _FACTOR) * _FACTOR) for side in (width, height)]
    area = sides[0] * sides[1]
    if area > _MOST_PIXELS:
        ratio = math.sqrt(width * height / _MOST_PIXELS)
        sides = [max(_FACTOR, math.floor(side / ratio / _FACTOR) * _FACTOR) for side in (width, height)]
    elif area < _FEWEST_PIXELS:
        ratio = math.sqrt(_FEWEST_PIXELS / (width * height))
        sides = [math.ceil(side * ratio / _FACTOR) * _FACTOR for side in (width, height)]
    return sides[0], sides[1]
