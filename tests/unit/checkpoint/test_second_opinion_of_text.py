"""The second opinion on prompts that spell the state: agreement, and each way to disagree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.opinion.check import second_opinion
from wall_edge_export.opinion.reference_rules import bin_number
from wall_edge_export.opinion.states import drawn_states

from wall_edge.bundle import Layout, StateText, joint_layout
from wall_edge.errors import CheckpointError
from wall_edge.policies import state_text
from wall_edge.policies.state_text import said_state

Open = Callable[..., ExportInputs]
IDS = "prompt ids and camera words"


@pytest.fixture
def opened(slim_checkpoint: Path, tmp_path: Path) -> Open:
    """The tabletop's policy, taken for one that reads its state as text."""
    pytest.importorskip("transformers", minversion="4.57", reason="the extra check is not installed")
    folder = Path(shutil.copytree(slim_checkpoint, tmp_path / "checkpoint"))

    def open_it(text: StateText | None = StateText(256), **changes: Any) -> ExportInputs:  # noqa: B008
        source = ExportInputs.open(Checkpoint(folder), None)
        source.checkpoint.config["use_state_string_representation"] = True
        source.checkpoint.config["wall_edge"].pop("prompt_wording")
        style = {"wording": "wall-oss-0.5", "state_text": text, **changes}
        return replace(source, settings=replace(source.settings, **style))

    return open_it


@pytest.mark.parametrize("text", [StateText(2), StateText(256), StateText(512), StateText(512, slots=9)])
def test_agreement(opened: Open, text: StateText) -> None:
    found = second_opinion(opened(text), "stack the 2 cups")
    assert found is not None
    assert found.flavour == "wall-oss-0.5"
    assert IDS in found.compared
    assert found.not_compared == {}


def test_agreement_on_a_system_turn_that_describes_the_robot(opened: Open) -> None:
    found = second_opinion(opened(action_space="Rel EEF"), "stack the 2 cups")
    assert found is not None
    assert IDS in found.compared


def test_a_full_stop_too_many(opened: Open) -> None:
    with pytest.raises(CheckpointError, match="the prompt for actions, 'stack the 2 cups'"):
        second_opinion(opened(wording="lerobot"), "stack the 2 cups")


def test_a_state_one_bin_off(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    right = state_text.state_words

    def off(values: Any, bins: int) -> str:
        return right(np.asarray(values) + 2 / bins, bins)

    monkeypatch.setattr(state_text, "state_words", off)
    with pytest.raises(CheckpointError, match="the prompt for actions"):
        second_opinion(opened(), "stack the 2 cups")


def test_slots_in_another_order(opened: Open) -> None:
    """What we say in the robot's order where the model has another."""
    source = opened()
    layout = source.settings.embodiment.state
    turned = tuple(replace(d, slot=len(layout) - 1 - d.slot) for d in layout.degrees)
    said = [said_state(replace(layout, degrees=turned), StateText(256), s) for _, s in _known(layout)]
    assert said != [words for words, _ in _known(layout)]


@pytest.mark.parametrize("bins", [2, 10, 256, 512, 1000])
@pytest.mark.parametrize("slots", [None, 7])
def test_drawn_states_are_said_as_they_were_drawn(bins: int, slots: int | None) -> None:
    plain = joint_layout(("wrist", "base"), (0.3, 100.0), (2.0, 0.01), (5, 1), clip=1.0)
    layout = replace(plain, masked=(-1.0, 0.0, 0.3, 1.0, -0.999, 0.0))
    for words, state in drawn_states(layout, StateText(bins, slots)):
        assert said_state(layout, StateText(bins, slots), state) == words
        assert len(words.split()) == (slots or 2)


def _known(layout: Layout) -> list[tuple[str, Any]]:
    return list(drawn_states(layout, StateText(256)))


@pytest.mark.parametrize(
    ("value", "number"), [(-9.0, 0), (-1.0, 0), (0.0, 128), (0.999, 255), (1.0, 255), (9.0, 255)]
)
def test_bins_as_the_second_reader_counts_them(value: float, number: int) -> None:
    assert bin_number(value, 256) == number
