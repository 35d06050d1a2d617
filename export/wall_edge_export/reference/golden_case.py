"""A golden case: a small checkpoint, an observation, and what an independent implementation makes of it.

The folder holds ``config.json``, ``model.safetensors`` and ``case.npz``, all in float32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wall_edge.array_types import Array
from wall_edge.bundle import MAX_STEPS, TimeSchedule
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import read_arrays, shown
from wall_edge.policies.prompt_text import ACTION, STATE
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.statistics import action_padding
from wall_edge_export.model.family import FAMILIES, LATER, NoiseScheduler, time_schedule
from wall_edge_export.onnx.graphs import GraphInputs

_STEPS = re.compile(r"action_(\d+)_steps")


@dataclass(frozen=True)
class _Settings:
    """``config.json`` of a case without a tokenizer."""

    image_token_id: int
    special_token_ids: dict[str, int]
    noise_scheduler: NoiseScheduler | None = None


_INTS, _FLOATS, _NUMBERS = "whole numbers", "floats", "numbers"
_KINDS = {_INTS: "iub", _FLOATS: "f", _NUMBERS: "iubf"}
# Rank and kind of what every case must hold.
_ARRAYS = {
    "input_ids": (2, _INTS),
    "attention_mask": (2, _NUMBERS),
    "text_input_ids": (2, _INTS),
    "greedy_text_ids": (1, _INTS),
    "position_ids": (3, _INTS),
    "image_grid_thw": (2, _INTS),
    "pixel_values": (2, _FLOATS),
    "image_embeds": (2, _FLOATS),
    "dof_mask": (3, _NUMBERS),
    "noise": (3, _FLOATS),
    "text_logits": (1, _FLOATS),
}
# Of cases whose state is a token.
_STATE_ARRAYS = {"proprioception": (3, _FLOATS), "agent_pos_mask": (3, _NUMBERS)}
# Of those that are of the later family.
_LATER_ARRAYS = {"inference_times": (1, _FLOATS), "padding_action": (None, _FLOATS)}
# Axes that count observations, or states of one: a case has one.
_SINGLE_AXES = {
    "input_ids": (0,),
    "attention_mask": (0,),
    "text_input_ids": (0,),
    "position_ids": (1,),
    "dof_mask": (0,),
    "noise": (0,),
    "proprioception": (0, 1),
    "agent_pos_mask": (0, 1),
}


class GoldenCase:
    """One folder: the checkpoint, the observation and the expected outputs."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = Checkpoint(folder)
        self.arrays: dict[str, Array] = read_arrays(folder / "case.npz", CheckpointError)
        self._check_arrays()
        grid = self["image_grid_thw"]
        if grid.shape[1] != 3 or not len(grid) or np.any(grid[:, 0] != 1):
            raise self._wrong(f"image_grid_thw {grid.tolist()}", "still images (t = 1), at least one")
        self.grids = tuple((int(h), int(w)) for _, h, w in grid)
        where = str(folder / "config.json")
        tokens = from_mapping(_Settings, self.checkpoint.config, where, CheckpointError, strict=False)
        state_token = self.checkpoint.shape.state_token
        for token in (*((STATE,) if state_token else ()), ACTION):
            if token not in tokens.special_token_ids:
                raise CheckpointError(f"{where}: special_token_ids without {token}", expected="its token id")
        self.graph_inputs = GraphInputs(
            grids=self.grids,
            image_token_id=tokens.image_token_id,
            state_token_id=tokens.special_token_ids.get(STATE),
            horizon=int(self["noise"].shape[1]),
            padding=self._padding(),
        )
        self.schedule = self._schedule()
        self.action_token = tokens.special_token_ids[ACTION]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def steps(self) -> list[int]:
        """The numbers of integration steps that the case holds results for."""
        return sorted(int(match[1]) for name in self.arrays if (match := _STEPS.fullmatch(name)))

    def _schedule(self) -> TimeSchedule:
        """That of the family; a case that holds its times is one of the later's."""
        family = FAMILIES[self.checkpoint.shape.family]
        times = self.arrays.get("inference_times")
        schedule = time_schedule(self.checkpoint.config, family if times is None else LATER)
        if times is None:
            return schedule
        within = 2 <= times.size <= MAX_STEPS + 1
        if not within or not np.allclose(times, schedule.grid(times.size - 1), atol=1e-6):
            raise self._wrong(f"inference_times {shown(times.tolist())}", f"those of {schedule}")
        return schedule

    def _padding(self) -> tuple[float, ...] | None:
        """What dead degrees of freedom go to, in cases of the later family: the normalised action of 0, which
        is 0 where the checkpoint has no statistics."""
        padding, dof = self.arrays.get("padding_action"), self.checkpoint.shape.action_dof
        if padding is None:
            later = FAMILIES[self.checkpoint.shape.family].fills_slots or "inference_times" in self.arrays
            if later and next(self.checkpoint.normalizers(), None) is not None:
                return action_padding(self.checkpoint, None)
            return (0.0,) * dof if later else None
        if padding.size != dof or not np.isfinite(padding).all():
            raise self._wrong(f"padding_action {shown(padding.tolist())}", f"{dof} finite numbers")
        return tuple(map(float, padding.reshape(-1)))

    def _wrong(self, what: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.checkpoint.folder / 'case.npz'}: {what}", expected=expected)

    def _check_arrays(self) -> None:
        later = {name: kind for name, kind in _LATER_ARRAYS.items() if name in self.arrays}
        state = _STATE_ARRAYS if self.checkpoint.shape.state_token else {}
        for name, (rank, kind) in (_ARRAYS | state | later).items():
            array = self.arrays.get(name)
            what = "missing" if array is None else f"{array.dtype} of shape {list(array.shape)}"
            fits = array is not None and rank in (None, array.ndim) and array.size > 0
            if array is None or not fits or array.dtype.kind not in _KINDS[kind]:
                raise self._wrong(f"array {name} is {what}", f"{kind} with {rank or 'any'} axes")
            for axis in _SINGLE_AXES.get(name, ()):
                if array.shape[axis] != 1:
                    raise self._wrong(f"array {name} is {what}", f"1 on axis {axis}: one observation a case")
        if not self.steps():
            raise self._wrong("no action_N_steps", "the result of at least one integration")
        rows = self.checkpoint.shape.vocab_size
        for name in ("input_ids", "text_input_ids"):
            if self[name].min() < 0 or self[name].max() >= rows:
                raise self._wrong(f"{name} up to {self[name].max()}", f"token ids below {rows}")
