"""A second opinion before an export: does the checkpoint's own processor see what the graphs will see?

Every golden comes from our own reader of the checkpoint, so ``verify`` cannot find that reader's faults.
Where transformers is installed, the prompts that the references would word (:mod:`.reference_rules`) are
encoded by the checkpoint's own tokenizer and compared with ours token by token; its image processor's grids
and pixel values are compared with those of the graphs' own front end (:mod:`.images`). A difference
ends the export before anything is written.

The longest side that frames are scaled to (``resolution``) is a setting, and is taken as given.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from wall_edge.bundle import SecondOpinion
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge.policies.prompt_text import Ids
from wall_edge.policies.state_text import said_state
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.opinion import peer as opinion_peer
from wall_edge_export.opinion.images import IMAGES, check_images
from wall_edge_export.opinion.peer import DIFFERS, NESTED, PREPROCESSOR, Peer, Unusable, guarded
from wall_edge_export.opinion.reference_rules import camera_words, flavour_of, prompt
from wall_edge_export.opinion.states import drawn_states

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
_IDS, _IMAGE_TOKENS, _VALUES = "prompt ids and camera words", "image-token counts", "pixel values"


def second_opinion(inputs: ExportInputs, instruction: str) -> SecondOpinion | None:
    """What transformers agreed to; None where it is not installed.

    Raises :class:`CheckpointError` at the first thing that differs, or on a damaged file of the processor's.
    """
    peer = opinion_peer.installed()
    return None if peer is None else _Comparison(inputs, peer).run(instruction)


class _Comparison:
    """One checkpoint's comparison."""

    def __init__(self, inputs: ExportInputs, peer: Peer) -> None:
        checkpoint = inputs.checkpoint
        self._inputs, self._peer, self._folder = inputs, peer, checkpoint.config_folder
        self._cameras = inputs.settings.cameras
        self._flavour = flavour_of(checkpoint.policy is not None, checkpoint.config)
        self._compared: list[str] = []
        self._not_compared: dict[str, str] = {}
        self._largest: float | None = None

    def run(self, instruction: str) -> SecondOpinion:
        instructions = tuple(dict.fromkeys((instruction, *INSTRUCTIONS)))
        try:
            self._images()
        except Unusable as problem:
            self._not_compared[f"{_IMAGE_TOKENS} and {_VALUES}"] = (
                f"transformers cannot use its processor: {problem}"
            )
        try:
            tokenizer = opinion_peer.checkpoint_tokenizer(self._peer, self._folder)
            for words in instructions:
                self._prompts(tokenizer, words)
            self._compared.append(_IDS)
        except Unusable as problem:
            self._not_compared[_IDS] = f"transformers cannot use its tokenizer: {problem}"
        return SecondOpinion(
            tools=self._peer.versions,
            flavour=self._flavour,
            compared=tuple(self._compared),
            not_compared=self._not_compared,
            instructions=instructions,
            images=IMAGES,
            largest_pixel_difference=self._largest,
        )

    def _images(self) -> None:
        settings_by_file = opinion_peer.processor_settings(self._folder)
        if not settings_by_file:
            why = f"the checkpoint has no {PREPROCESSOR} or {NESTED}"
            self._not_compared[f"{_IMAGE_TOKENS} and {_VALUES}"] = why
            return
        largest = 0.0
        for file, settings in settings_by_file.items():
            where = str(self._folder / file)
            processor = opinion_peer.checkpoint_processor(self._peer, settings, where)
            for camera, geometry in self._cameras.items():
                largest = max(largest, check_images(processor, geometry, f"{where}: camera {camera}"))
        self._largest = largest
        self._compared += [_IMAGE_TOKENS, _VALUES]

    def _prompts(self, tokenizer: Any, words: str) -> None:
        images = [(camera, geometry.tokens) for camera, geometry in self._cameras.items()]
        prompts, token = self._inputs.prompts, self._inputs.tokenizer.ids.action
        horizon = self._inputs.actions.action_tokens(self._inputs.settings.horizon) if token else 0
        action = [token] * horizon  # the graphs append these themselves
        settings = self._inputs.settings
        layout, space = settings.embodiment.state, settings.action_space
        for said, state in drawn_states(layout, settings.state_text):
            ours = prompts.action(words, said_state(layout, settings.state_text, state)).ids
            text = prompt(self._flavour, images, words, actions=horizon, state=said, action_space=space)
            self._compare(tokenizer, words, "actions", np.append(ours, np.array(action, np.int64)), text)
        text = prompt(self._flavour, images, words, actions=None, action_space=space)
        self._compare(tokenizer, words, "a subgoal", prompts.subgoal(words).ids, text)

    def _compare(self, tokenizer: Any, words: str, what: str, ours: Ids, text: str) -> None:
        theirs = _encoded(tokenizer, text)
        if not np.array_equal(ours, theirs):
            raise self._different(tokenizer, ours, theirs, f"the prompt for {what}, {shown(words, 60)!r}")

    def _different(self, tokenizer: Any, ours: Ids, theirs: Ids, what: str) -> CheckpointError:
        """The plainest words for two prompts that differ."""
        for camera, mine, reference in zip(
            self._cameras, _labels(tokenizer, ours), _labels(tokenizer, theirs), strict=False
        ):
            if mine != reference:
                right = camera_words(self._flavour, camera)
                message = f"{self._folder}: the prompt calls camera {shown(camera, 60)} {shown(mine, 60)!r}"
                return CheckpointError(message, expected=f"{right!r} ({self._flavour})", fix=DIFFERS)
        place = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if place is None:
            message = f"{self._folder}: {what}, has {len(ours)} tokens"
            return CheckpointError(message, expected=str(len(theirs)), fix=DIFFERS)
        mine, reference = (
            f"{ids[place]} ({_text(tokenizer, ids[place : place + 1])!r})" for ids in (ours, theirs)
        )
        message = f"{self._folder}: token {place} of {what}, is {mine}"
        return CheckpointError(message, expected=reference, fix=DIFFERS)


def _labels(tokenizer: Any, ids: Ids) -> list[str]:
    """The words before each image of a prompt."""
    text = _text(tokenizer, ids)
    return re.findall(r"(?:Observation:|<\|vision_end\|>) ?(.*?): ?<\|vision_start\|>", text, re.DOTALL)


def _encoded(tokenizer: Any, text: str) -> Ids:
    """Token ids ``[T]`` as the references ask for them: with whatever the tokenizer adds by itself."""
    ids: Ids = guarded(lambda: np.array(tokenizer(text)["input_ids"], dtype=np.int64))
    return ids


def _text(tokenizer: Any, ids: Ids) -> str:
    """For a message; a tokenizer that cannot decode makes no difference disappear."""
    try:
        return str(guarded(lambda: tokenizer.decode(ids.tolist(), skip_special_tokens=False)))
    except Unusable:
        return ""
