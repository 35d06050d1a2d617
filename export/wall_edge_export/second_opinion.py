"""A second opinion before an export: does the checkpoint's own processor see what the graphs will see?

Every golden comes from our own reader of the checkpoint, so ``verify`` cannot find that reader's faults.
Where transformers is installed, the prompts that the references would word (:mod:`.opinion_reference`), encoded by
the checkpoint's own tokenizer, are compared with ours token by token, and its image processor's grids and
pixel values with those of the graphs' own front end. A difference ends the export before anything is written.

The longest side that frames are scaled to (``resolution``) is a setting, and is taken as given.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge.geometry import ImageGeometry
from wall_edge.prompt import Ids
from wall_edge.second_opinion import SecondOpinion

from . import opinion_peer
from .model.frames import FrameFrontEnd
from .opinion_peer import NESTED, PREPROCESSOR, Peer, Unusable, guarded
from .opinion_reference import camera_words, flavour_of, prompt, scaled_frame
from .source import Source

__all__ = ["INSTRUCTIONS", "second_opinion"]

INSTRUCTIONS = (
    "go",
    "Put 12 of the 345 cups 6.78 cm apart, then wait 90 s.",
    "把红色的积木放进左边的盒子里, s'il te plaît: déjà vu — Ωμέγα, Ёлка, हाथ, 🦾.",
    "  don't   crush it;\tTURN\nthe blue one (the 2nd) over & over again… ok?! ",
    "pick up the small red block from the left side of the table, carry it over the wall, put it down " * 2
    + "in the tray",
)
"""Beside the robot's own: short, digits, scripts outside Latin, odd spaces and signs, long; with and without
the full stop that some references add."""
_PIXELS = 1e-3
"""Largest difference of a normalised value. A grey level is 1/255/0.276 = 0.014, so whoever resizes otherwise
is off by at least that; rounding to float32 in another order gives some 1e-6."""
_DIFFERS = "its own processor, run by transformers, disagrees: please report this checkpoint's JSON files"
_IDS, _IMAGE_TOKENS, _VALUES = "prompt ids and camera words", "image-token counts", "pixel values"

Frame = npt.NDArray[np.uint8]


def second_opinion(source: Source, instruction: str) -> SecondOpinion | None:
    """What transformers agreed to; None where it is not installed.

    Raises :class:`CheckpointError` at the first thing that differs, or on a damaged file of the processor's.
    """
    peer = opinion_peer.installed()
    return None if peer is None else _Comparison(source, peer).run(instruction)


class _Comparison:
    """One checkpoint's comparison."""

    def __init__(self, source: Source, peer: Peer) -> None:
        checkpoint = source.checkpoint
        self._source, self._peer, self._folder = source, peer, checkpoint.config_folder
        self._cameras = source.settings.cameras
        self._flavour = flavour_of(checkpoint.policy is not None, checkpoint.config)
        self._compared: list[str] = []
        self._left: dict[str, str] = {}
        self._largest: float | None = None

    def run(self, instruction: str) -> SecondOpinion:
        instructions = tuple(dict.fromkeys((instruction, *INSTRUCTIONS)))
        try:
            self._images()
        except Unusable as problem:
            self._left[f"{_IMAGE_TOKENS} and {_VALUES}"] = f"transformers cannot use its processor: {problem}"
        try:
            tokenizer = opinion_peer.own_tokenizer(self._peer, self._folder)
            for words in instructions:
                self._prompts(tokenizer, words)
            self._compared.append(_IDS)
        except Unusable as problem:
            self._left[_IDS] = f"transformers cannot use its tokenizer: {problem}"
        return SecondOpinion(
            tools=self._peer.versions,
            flavour=self._flavour,
            compared=tuple(self._compared),
            not_compared=self._left,
            instructions=instructions,
            images=tuple(_frames(1, 1)),
            largest_pixel_difference=self._largest,
        )

    def _images(self) -> None:
        found = opinion_peer.own_settings(self._folder)
        if not found:
            why = f"the checkpoint has no {PREPROCESSOR} or {NESTED}"
            self._left[f"{_IMAGE_TOKENS} and {_VALUES}"] = why
            return
        largest = 0.0
        for file, settings in found.items():
            where = str(self._folder / file)
            processor = opinion_peer.own_processor(self._peer, settings, where)
            for camera, geometry in self._cameras.items():
                _check_sizes(processor, geometry, f"{where}: camera {camera}")
                for kind, frame in _frames(geometry.width, geometry.height).items():
                    what = f"{where}: camera {camera}, {kind}"
                    largest = max(largest, _check_frame(processor, geometry, frame, what))
        self._largest = largest
        self._compared += [_IMAGE_TOKENS, _VALUES]

    def _prompts(self, tokenizer: Any, words: str) -> None:
        images = [(camera, geometry.tokens) for camera, geometry in self._cameras.items()]
        horizon = self._source.settings.horizon if self._source.fast is None else 0
        made = self._source.prompts
        action = [self._source.tokenizer.ids.action] * horizon  # the graphs append these themselves
        asked = (
            ("actions", horizon, np.append(made.action(words).ids, np.array(action, dtype=np.int64))),
            ("a subgoal", None, made.subgoal(words).ids),
        )
        for what, actions, ours in asked:
            text = prompt(self._flavour, images, words, actions=actions)
            theirs = _encoded(tokenizer, text)
            if not np.array_equal(ours, theirs):
                raise self._different(tokenizer, ours, theirs, f"the prompt for {what}, {shown(words, 60)!r}")

    def _different(self, tokenizer: Any, ours: Ids, theirs: Ids, what: str) -> CheckpointError:
        """The plainest words for two prompts that differ."""
        for camera, mine, own in zip(
            self._cameras, _labels(tokenizer, ours), _labels(tokenizer, theirs), strict=False
        ):
            if mine != own:
                right = camera_words(self._flavour, camera)
                found = f"{self._folder}: the prompt calls camera {camera} {mine!r}"
                return CheckpointError(found, expected=f"{right!r} ({self._flavour})", fix=_DIFFERS)
        place = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if place is None:
            found = f"{self._folder}: {what}, has {len(ours)} tokens"
            return CheckpointError(found, expected=str(len(theirs)), fix=_DIFFERS)
        mine, own = (f"{ids[place]} ({_word(tokenizer, ids[place])})" for ids in (ours, theirs))
        found = f"{self._folder}: token {place} of {what}, is {mine}"
        return CheckpointError(found, expected=own, fix=_DIFFERS)


def _check_sizes(processor: Any, geometry: ImageGeometry, where: str) -> None:
    """Compare what would make the processor ask for any amount of memory before it runs."""
    for name in ("patch_size", "merge_size", "temporal_patch_size"):
        own, ours = getattr(processor, name, None), getattr(geometry, name)
        if own != ours:
            raise CheckpointError(f"{where}: {name} is {shown(own)}", expected=str(ours), fix=_DIFFERS)
    width, height = geometry.resized
    fewest = _fewest_pixels(processor)
    if fewest > width * height:
        found = f"{where}: {geometry.tokens} image tokens of {width}x{height} pixels"
        raise CheckpointError(found, expected=f"at least {shown(fewest, 40)} pixels", fix=_DIFFERS)


def _fewest_pixels(processor: Any) -> float:
    size = guarded(lambda: dict(processor.size or {}))
    given = [size.get("shortest_edge"), size.get("min_pixels"), getattr(processor, "min_pixels", None)]
    fewest: float = guarded(lambda: max([float(value) for value in given if value is not None], default=0.0))
    return fewest


def _check_frame(processor: Any, geometry: ImageGeometry, frame: Frame, where: str) -> float:
    """Compare one frame's grid and values; returns the largest difference."""
    image = scaled_frame(frame, geometry.resolution)
    seen = guarded(lambda: processor(images=[image], return_tensors="np"))
    grid = tuple(int(side) for side in seen["image_grid_thw"][0])
    if grid != (1, *geometry.grid):
        tokens = int(np.prod(grid)) // geometry.merge_size**2
        found = f"{where}: {geometry.tokens} image tokens, a grid of {list(geometry.grid)} patches"
        raise CheckpointError(found, expected=f"{tokens}, a grid of {list(grid[1:])}", fix=_DIFFERS)
    ours = FrameFrontEnd(geometry)(torch.from_numpy(frame)).numpy().astype(np.float64)
    own = np.asarray(seen["pixel_values"], dtype=np.float64)
    if own.shape != ours.shape:
        raise CheckpointError(f"{where}: pixel values {ours.shape}", expected=str(own.shape), fix=_DIFFERS)
    difference = float(np.abs(ours - own).max())
    if not difference <= _PIXELS:  # NaN, too
        found = f"{where}: normalised pixel values differ by up to {difference:.4g}"
        raise CheckpointError(found, expected=f"at most {_PIXELS:g}", fix=_DIFFERS)
    return difference


def _frames(width: int, height: int) -> dict[str, Frame]:
    """Images that show a fault: noise for the order of pixels, a ramp for values, blocks for overshooting."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([255 * x // width, 255 * y // height, 255 * (x + y) // (width + height)], axis=-1)
    blocks = 255 * rng.integers(0, 2, (height // 8 + 1, width // 8 + 1, 3))
    return {
        "noise": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "a ramp": ramp.astype(np.uint8),
        "black and white blocks": blocks.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8),
    }


def _labels(tokenizer: Any, ids: Ids) -> list[str]:
    """The words before each image of a prompt."""
    text = guarded(lambda: tokenizer.decode(ids.tolist(), skip_special_tokens=False))
    return re.findall(r"(?:Observation:|<\|vision_end\|>) ?(.*?): ?<\|vision_start\|>", text, re.DOTALL)


def _encoded(tokenizer: Any, text: str) -> Ids:
    """Token ids ``[T]`` as the references ask for them: with whatever the tokenizer adds by itself."""
    ids: Ids = guarded(lambda: np.array(tokenizer(text)["input_ids"], dtype=np.int64))
    return ids


def _word(tokenizer: Any, token: int) -> str:
    return repr(shown(guarded(lambda: tokenizer.decode([int(token)])), 40))
