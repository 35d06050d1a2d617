"""A checkpoint's normalisation statistics by the model's slot, and the layouts that they make.

Two flavours are known: upstream's ``min`` and ``delta``, in whatever place, and LeRobot's processors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.bundle import Degree, Layout, RotationForm
from wall_edge.checks import LEAST_POSITIVE
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lerobot.kinds import ACTION, STATE
from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.checkpoint.normalizers.places import statistic_places
from wall_edge_export.checkpoint.normalizers.tables import ACTION as ACTIONS
from wall_edge_export.checkpoint.normalizers.tables import PROPRI, MinDelta, Table, agreed
from wall_edge_export.checkpoint.scaling import Range, Scaling
from wall_edge_export.model.family import FAMILIES

_MOST_VALUE = 1e4
_FIX = "use the statistics that were saved with these weights"
_NAMELESS = "unnamed"
"""Whose statistics those of a file are that names no robot, where nothing else does."""


@dataclass(frozen=True)
class _KeyMappings:
    action: str | None = None
    state: str | None = None


@dataclass(frozen=True)
class Side:
    """Statistics of the state, or of the actions; ``extent``: least and greatest values, where known.

    ``masked [slots]``: what training had, normalised, in slots that a robot leaves out; None: 0.
    """

    scaling: Scaling
    extent: Range | None
    masked: Floats | None = None

    def layout(self, degrees: Sequence[Degree], rotations: dict[str, RotationForm], folder: Path) -> Layout:
        """The statistics of some of the slots. Raises :class:`CheckpointError` for numbers that are none.

        What never moved has no range to be normalised by (a ``delta`` of 0). Of what is held, a range of 1
        stands in, as in upstream's loader (``wall_x/data/load_lerobot_dataset.py``); of what moves, nothing.
        """
        offset, scale = (
            np.array([values[d.slot] for d in degrees]) for values in self._columns(degrees, folder)
        )
        for i, degree in enumerate(degrees):
            never_moved = 0 <= scale[i] < LEAST_POSITIVE
            if degree.part == "held" and never_moved:
                offset[i], scale[i] = offset[i] + 0.5, 0.5
            if not abs(offset[i]) <= _MOST_VALUE or not LEAST_POSITIVE <= scale[i] <= _MOST_VALUE:
                still = "it never moved in training: describe it as held in ROBOT.yaml, or "
                numbers = f"middle {offset[i]:g}, half range {scale[i]:g}"
                raise CheckpointError(
                    f"{folder}: the normaliser of {degree.name}: {numbers}",
                    expected=f"numbers of at most {_MOST_VALUE:g}, and delta above 0",
                    fix=(still if never_moved else "") + _FIX,
                )
        return Layout(
            tuple(degrees),
            tuple(offset.tolist()),
            tuple(scale.tolist()),
            self.scaling.clip,
            rotations,
            self._masked(degrees),
        )

    def _masked(self, degrees: Sequence[Degree]) -> tuple[float, ...]:
        if self.masked is None:
            return ()
        values = self.masked.copy()
        values[[degree.slot for degree in degrees]] = 0.0
        return tuple(values.tolist()) if values.any() else ()

    def _columns(self, degrees: Sequence[Degree], folder: Path) -> tuple[Floats, Floats]:
        width, last = len(self.scaling.offset), max(degrees, key=lambda degree: degree.slot)
        if last.slot >= width:
            raise CheckpointError(
                f"{folder}: a normaliser of {width} values",
                expected=f"one for slot {last.slot}, {last.name}",
                fix=_FIX,
            )
        return self.scaling.offset, self.scaling.scale


@dataclass(frozen=True)
class Statistics:
    """Of one robot. ``folder``: whose they are, for messages; ``robot``: whose, in upstream's flavour."""

    folder: Path
    state: Side
    action: Side
    robot: str | None = None


@np.errstate(over="ignore", invalid="ignore")  # what becomes no number is refused where it is used
def read_statistics(checkpoint: Checkpoint, robot: str | None) -> Statistics:
    """Of either flavour; ``robot``: whose to take in a checkpoint of upstream's that holds several.

    Raises :class:`CheckpointError` for what is missing or cannot be meant.
    """
    return _upstream(checkpoint, robot) if checkpoint.policy is None else _lerobot(checkpoint.policy)


def _lerobot(policy: LeRobotPolicy) -> Statistics:
    state, action = policy.normalizations()
    extent = policy.ranges()
    return Statistics(policy.folder, Side(state, extent.get(STATE)), Side(action, extent.get(ACTION)))


def _upstream(checkpoint: Checkpoint, robot: str | None) -> Statistics:
    name, table = _of_robot(checkpoint, robot)
    state = _min_delta(table[PROPRI], checkpoint.shape.state_dof, clip=1.0)
    state = replace(state, masked=_nothing(checkpoint, table[PROPRI]))
    action = _min_delta(table[ACTIONS], checkpoint.shape.action_dof, clip=None)
    return Statistics(checkpoint.folder, state, action, name)


def _nothing(checkpoint: Checkpoint, values: MinDelta) -> Floats:
    """The state of a robot that has nothing ``[slots]``: upstream puts 0 for what is missing, normalises it
    as all else (``wall_x/infer``: ``get_agent_pos``; ``wall_x/data``: ``nan_to_num_``) and masks it.

    In the first family slots without a name are appended, as 0, after that; in the later one before.
    """
    if FAMILIES[checkpoint.shape.family].fills_slots:
        return _normalised_zero(*values.filled(checkpoint.shape.state_dof))
    none = _normalised_zero(values.low, values.delta)
    unnamed = np.setdiff1d(np.arange(len(none)), checkpoint.state_layout.slots)
    none[unnamed] = 0.0
    return none


@np.errstate(over="ignore", invalid="ignore")  # of slots that nobody drives, numbers may be any
def action_padding(checkpoint: Checkpoint, robot: str | None) -> tuple[float, ...]:
    """What the later family's actions are, normalised, in every slot of the model that a mask leaves out.

    Upstream (1.1, ``_wallx_infer/model_wrapper.py``: ``padding_action``) normalises an action of 0, by min
    0 and delta 1 behind the statistics. Raises as :func:`read_statistics` does.
    """
    scaling = read_statistics(checkpoint, robot).action.scaling
    place = MinDelta("", scaling.offset - scaling.scale, 2 * scaling.scale)
    return tuple(_normalised_zero(*place.filled(checkpoint.shape.action_dof)).tolist())


def _normalised_zero(low: Floats, delta: Floats) -> Floats:
    """What 0 becomes ``[slots]``, in [-1, 1], by upstream's rules: a range of 0 counts as 1, NaN as 0."""
    return np.nan_to_num(np.clip(-2 * low / np.where(delta == 0, 1.0, delta) - 1, -1, 1))


def _of_robot(checkpoint: Checkpoint, robot: str | None) -> tuple[str, Table]:
    """The robot's name, and its statistics by kind."""
    places = statistic_places(checkpoint.folder, _tensors(checkpoint), _keys(checkpoint), _widths(checkpoint))
    if not places:
        raise CheckpointError(
            f"{checkpoint.folder}: no normalisation statistics",
            expected="normalizer_action.pth and normalizer_propri.pth, norm_stats.json, or tensors "
            "action_preprocessor.normalizer_{action,propri}.{min,delta}.ROBOT",
            fix="export a fine-tuned checkpoint, or the folder that LeRobot saved with its processors",
        )
    names = sorted({name for place in places for name in place if name is not None})
    # What ROBOT.yaml or the block says; else the only ones; else those that config.yml's own robot goes by.
    only = names[0] if len(names) == 1 else None
    name = robot or only or checkpoint.trained_robot or ("" if names else _NAMELESS)
    if names and name not in names:
        raise CheckpointError(
            f"{checkpoint.folder}: normalisation for robot {shown(repr(name or None), 60)}",
            expected=f"one of {shown(', '.join(names))}",
            fix="set model.robot in ROBOT.yaml and pass --robot",
        )
    if not is_plain_name(name, "/") or ".." in name:
        what = f"{checkpoint.folder}: a robot named {shown(repr(name), 60)}"
        raise CheckpointError(what, expected="a plain name")
    return name, agreed(places, name)


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, str, str, Floats]]:
    """Of those among the weights."""
    for kind, statistic, name, values in checkpoint.normalizers():
        yield kind, statistic, name, values.double().numpy()


def _keys(checkpoint: Checkpoint) -> dict[str, str]:
    """Names in ``norm_stats.json`` by kind, of those that ``config.yml`` says."""
    mappings = from_mapping(
        _KeyMappings,
        checkpoint.training.said("key_mappings") or {},
        checkpoint.training.where,
        CheckpointError,
        strict=False,
        path="data.key_mappings",
    )
    named = {ACTIONS: mappings.action, PROPRI: mappings.state}
    return {kind: key for kind, key in named.items() if key is not None}


def _widths(checkpoint: Checkpoint) -> dict[str, set[int]]:
    """How many degrees of freedom a data set of this model has: all slots, or those before the padding."""
    layouts = {ACTIONS: checkpoint.action_layout, PROPRI: checkpoint.state_layout}
    slots = {ACTIONS: checkpoint.shape.action_dof, PROPRI: checkpoint.shape.state_dof}
    return {kind: {slots[kind], 1 + max(layouts[kind].slots, default=-1)} for kind in slots}


def _min_delta(values: MinDelta, slots: int, *, clip: float | None) -> Side:
    """Upstream's rule: to [-1, 1] by ``2·(x - min)/delta - 1``.

    Statistics cover all of the model's slots, or the first of them where the rest is padding. What they hold
    for slots that are not used does not matter.
    """
    low, delta = values.low, values.delta
    if len(low) > slots:
        raise CheckpointError(
            f"{values.where}: normaliser of {len(low)} values",
            expected=f"one for each of the model's {slots} slots, or the first of them",
            fix=_FIX,
        )
    return Side(Scaling(low + delta / 2, delta / 2, clip), (low, low + delta))
