"""Prompts of WALL-OSS: text, token ids and multimodal positions.

Texts follow github.com/X-Square-Robot/wall-x (September 2025, ``wall_x/data/utils.py``) and LeRobot 0.4.4's
``policies/wall_x`` (``utils.py``, ``processor_wall_x.py``).
They differ in a few words, :data:`wall_edge.bundle.Wording`:

============  ==============================================  ================================
..            a camera that is not in the table of views      an instruction
============  ==============================================  ================================
lerobot       spaces for ``_`` only where it holds "view",    as given, ended with a full stop
              else " view" behind it as it is
upstream      as it is                                        as given
wall-edge     spaces for ``_`` always, " view" where missing  stripped, ended with a full stop
wall-oss-0.5  spaces for ``_`` always                         as given
============  ==============================================  ================================

``wall-edge`` is what this project took for LeRobot's rule at first: bundles from then go on as they were.
``wall-oss-0.5`` is of upstream's 1.1 (``harrix/adapters/qwen_vlact.py``) and LeRobot's ``wall_oss_05``
(``modeling_wall_oss_05.py``), whose table of views has no ``move1_view``: "move1 view".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import ActionSpace, Wording
from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.errors import BundleError, ConfigError

IMAGE_PAD, STATE, ACTION = "<|image_pad|>", "<|propri|>", "<|action|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (TURN_START, TURN_END, VISION_START, VISION_END, IMAGE_PAD, STATE, ACTION)

_SPECIAL = re.compile(r"<\|.*?\|>")

VIEWS = {
    "face_view": "front view",
    "left_wrist_view": "left wrist view",
    "right_wrist_view": "right wrist view",
    "move1_view": "move view",
    "move2_view": "move view",
    "wall_view": "wall view",
    "top_view": "top view",
}

Ids = npt.NDArray[np.int64]


def view_name(camera: str, wording: Wording = "lerobot") -> str:
    """The words that name a camera in a prompt: ``face_view`` → ``front view``."""
    if wording == "wall-oss-0.5":
        return "front view" if camera == "face_view" else camera.replace("_", " ")
    if camera in VIEWS:
        return VIEWS[camera]
    if wording == "upstream":
        return camera
    spaced = camera.replace("_", " ")
    if "view" in camera:
        return spaced
    return f"{spaced if wording == 'wall-edge' else camera} view"


def observation_text(
    image_tokens: Mapping[str, int], wording: Wording = "lerobot", action_space: ActionSpace | None = None
) -> str:
    """What prompts begin with: system turn and one run of image pads a camera, in order.

    ``action_space``: of a system turn that describes the robot (upstream's ``text_templates``, used where
    training had ``use_embodied_system_prompt_ratio``); None for the plain one. It ends with a special token,
    so it may be tokenised apart from what follows.
    """
    system = "You are a helpful assistant."
    if action_space is not None:
        labels = ", ".join(view_name(camera, wording) for camera in image_tokens)
        system = (
            "You are an embodied vision-language-action model controlling a robot with language instructions."
            f"\nCamera Setup: {labels}\nAction Space: {action_space}\n"
        )
    views = "".join(
        f" {view_name(camera, wording)}: {VISION_START}{IMAGE_PAD * count}{VISION_END}"
        for camera, count in image_tokens.items()
    )
    return f"{TURN_START}system\n{system}{TURN_END}\n{TURN_START}user\nObservation:{views}"


def subgoal_text(instruction: str, wording: Wording = "lerobot") -> str:
    """What follows the observation when the next sub-task is asked for in words."""
    return (
        f"\nInstruction: {_sentence(instruction, wording)}\nPredict the next action in language.\n"
        f"{TURN_END}\n{TURN_START}assistant\n"
    )


def action_text(instruction: str, wording: Wording = "lerobot", state: str = STATE) -> str:
    """What follows the observation when an action chunk is asked for; the action tokens come after it.

    ``state``: the state's words, or its token.
    """
    return (
        f"\nInstruction: {_sentence(instruction, wording)}\nPredict the next action in robot action.\n"
        f"Proprioception: {state}\n{TURN_END}\n{TURN_START}assistant\n"
    )


def _sentence(instruction: str, wording: Wording) -> str:
    """An instruction in a flavour's words. Special tokens in user text are refused."""
    if not instruction.strip():
        raise ConfigError("the instruction is empty", expected="words such as 'touch the red block.'")
    if (token := _SPECIAL.search(instruction)) is not None:
        raise ConfigError(f"the instruction holds the special token {token[0]}", expected="plain words")
    words = instruction.strip() if wording == "wall-edge" else instruction
    verbatim = wording in ("upstream", "wall-oss-0.5")
    return words if verbatim or words.endswith(".") else f"{words}."


@dataclass(frozen=True)
class TokenIds:
    """Ids of the tokens that the graphs treat apart."""

    image: int
    turn_end: int
    state: int | None
    action: int | None


class PromptTokenizer:
    """The checkpoint's own ``tokenizer.json``, with the special tokens looked up once.

    ``state_token``: whether a token carries the state. Where prompts spell it, tokenizers may lack that token
    and the actions' (wall-oss-0.5's does, by LeRobot's pull request 4200), and nothing here needs them.
    """

    def __init__(self, path: Path, *, state_token: bool = True) -> None:
        self._tokenizer = load_tokenizer(path, BundleError)

        def optional(token: str) -> int | None:
            absent = not state_token and self._tokenizer.token_to_id(token) is None
            return None if absent else self._special(path, token)

        self.ids = TokenIds(
            self._special(path, IMAGE_PAD), self._special(path, TURN_END), optional(STATE), optional(ACTION)
        )
        self.largest_id: int = max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def _special(self, path: Path, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        # A token that is in the vocabulary but not marked as special would be cut into pieces.
        if number is None or self.encode(f"a{token}b").tolist().count(number) != 1:
            raise BundleError(f"{path}: special token {token} is missing", expected="a WALL-OSS tokenizer")
        return int(number)

    def encode(self, text: str) -> Ids:
        """Token ids ``[T]``; nothing is added in front or behind."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """Words of generated ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()


def positions(ids: Ids, grids: Sequence[tuple[int, int]], image_token: int, start: int = 0) -> Ids:
    """Multimodal rotary positions ``[3, T]`` (time, height, width) of token ids ``[T]``.

    ``grids`` are the images' heights and widths in merged cells, in order. Text runs on all axes alike
    from ``start``; an image starts at the next position and advances by ``max(height, width)``; the text
    after it resumes there (Qwen2-VL, arXiv 2409.12191).
    """
    result = np.empty((3, len(ids)), dtype=np.int64)
    following, index, images = start, 0, iter(grids)
    while index < len(ids):
        if ids[index] != image_token:
            result[:, index] = following
            following, index = following + 1, index + 1
            continue
        height, width = next(images, (0, 0))
        count = height * width
        if count == 0 or not np.all(ids[index : index + count] == image_token) or index + count > len(ids):
            raise ConfigError(
                f"the prompt's image pads at token {index} do not match the images",
                expected=f"one run of {count} pads for an image of {height}x{width} cells",
            )
        cell = np.arange(count)
        result[:, index : index + count] = following + np.stack((0 * cell, cell // width, cell % width))
        following, index = following + max(height, width), index + count
    if (grid := next(images, None)) is not None:
        raise ConfigError(
            f"no image pads for an image of {grid[0]}x{grid[1]} cells", expected="one run an image"
        )
    return result


def next_position(positions: Ids) -> int:
    """The position that the token after ``positions [3, T]`` takes."""
    return int(positions.max()) + 1 if positions.size else 0
