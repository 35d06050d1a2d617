"""What the references do to words and frames before the processor, written down apart from our own reader.

Nothing here may come from ``policies.prompt_text``, ``policies.vision`` or ``bundle.image_geometry``, nor
they from here: two readers that share a rule share its faults. Sources:

- ``lerobot``: LeRobot 0.4.4, ``policies/wall_x`` (``utils.py``: img_key_mapping, get_wallx_normal_text,
  replace_action_token; ``processor_wall_x.py``: the full stop; ``modeling_wall_x.py``: preprocess_inputs;
  ``constant.py``)
- ``upstream``: X-Square-Robot/wall-x of September 2025, ``wall_x/data/utils.py``, ``load_lerobot_dataset.py``
- ``wall-edge``: what this project once took for LeRobot's rule; a ``config.json`` may name any of these
- ``wall-oss-0.5``: LeRobot's ``wall_oss_05`` (``modeling_wall_oss_05.py``: _CAMERA_LABELS, _get_flow_prompt,
  _construct_model_input) and X-Square-Robot/wall-x 1.1 (``harrix/adapters/qwen_vlact.py``); the system turn
  that describes the robot is of its ``x2robot_utils/text_templates``
- both call ``smart_resize`` of qwen_vl_utils 0.0.11
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

Flavour = Literal["lerobot", "upstream", "wall-edge", "wall-oss-0.5"]

_CALLED = {
    "face_view": "front view",
    "left_wrist_view": "left wrist view",
    "right_wrist_view": "right wrist view",
    "move1_view": "move view",
    "move2_view": "move view",
    "wall_view": "wall view",
    "top_view": "top view",
}
_CALLED_LATER = {"face_view": "front view"}
_FACTOR = 28
_FEWEST_PIXELS, _MOST_PIXELS = 4 * _FACTOR**2, 16384 * _FACTOR**2


def flavour_of(has_policy: bool, config: dict[str, Any]) -> Flavour:
    """Whose rules a checkpoint's prompts follow: as it says itself, else by the state's form and the kind of
    folder."""
    block = config.get("wall_edge")
    name = block.get("prompt_wording") if isinstance(block, dict) else None
    for flavour in get_args(Flavour):
        if name == flavour:
            return cast(Flavour, flavour)
    text = config.get("text_config")
    nested = text if isinstance(text, dict) else {}
    if {**config, **nested}.get("use_state_string_representation"):
        return "wall-oss-0.5"
    return "lerobot" if has_policy else "upstream"


def camera_words(flavour: Flavour, key: str) -> str:
    """What a prompt calls the camera of this key."""
    if flavour == "wall-oss-0.5":
        return _CALLED_LATER.get(key, " ".join(key.split("_")))
    if key in _CALLED:
        return _CALLED[key]
    if flavour == "upstream":
        return key
    if flavour == "wall-edge" or "view" in key:
        key = key.replace("_", " ")
    return key if "view" in key else f"{key} view"


def sentence(flavour: Flavour, instruction: str) -> str:
    """An instruction as the prompt holds it."""
    if flavour in ("upstream", "wall-oss-0.5"):
        return instruction
    if flavour == "wall-edge":
        instruction = instruction.strip()
    return instruction if instruction.endswith(".") else f"{instruction}."


def prompt(
    flavour: Flavour,
    images: Sequence[tuple[str, int]],
    instruction: str,
    *,
    actions: int | None,
    state: str = "<|propri|>",
    action_space: str | None = None,
) -> str:
    """The text of a whole prompt. ``images``: each camera's key and its number of image tokens, in order.

    ``actions``: how many action tokens end it; None asks for the next sub-task in words instead. ``state``
    stands behind "Proprioception:"; ``action_space`` is of a system turn that describes the robot.
    """
    lines = ["<|im_start|>system", "You are a helpful assistant.<|im_end|>", "<|im_start|>user"]
    if action_space is not None and actions is not None:
        labels = [camera_words(flavour, key) for key, _ in images]
        lines[1:2] = [
            "You are an embodied vision-language-action model controlling a robot "
            "with language instructions.",
            f"Camera Setup: {', '.join(labels)}",
            f"Action Space: {action_space}",
            "<|im_end|>",
        ]
    cameras = [
        f"{camera_words(flavour, key)}: <|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
        for key, count in images
    ]
    lines += [" ".join(["Observation:", *cameras]), f"Instruction: {sentence(flavour, instruction)}"]
    if actions is None:
        lines += ["Predict the next action in language."]
    else:
        lines += ["Predict the next action in robot action.", f"Proprioception: {state}"]
    return "\n".join([*lines, "<|im_end|>", "<|im_start|>assistant", "<|action|>" * (actions or 0)])


def bin_number(normalised: float, bins: int) -> int:
    """Which of equal bins from -1 to 1 a value is in, what is beyond in the outer ones."""
    width = 2.0 / bins
    return min(max(math.floor((normalised + 1.0) / width), 0), bins - 1)


def bin_middle(number: int, bins: int, low: float, delta: float) -> float:
    """The value in the middle of a bin, of a range that begins at ``low`` and is ``delta`` wide."""
    return low + delta * (2 * number + 1) / (2 * bins)


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
