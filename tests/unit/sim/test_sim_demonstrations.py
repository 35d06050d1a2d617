import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wall_edge.sim.blocks import COLOURS, EPISODE_STREAM, TRAIN_STREAM
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.render import render

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop"


@pytest.fixture
def demonstrations() -> Any:
    return importlib.import_module("examples.tabletop.demonstrations")


def test_a_batch_has_the_promised_shapes_and_finite_labels(demonstrations: Any) -> None:
    batch = demonstrations.sample_batch(np.random.default_rng(0), 8)
    assert {name: frames.shape for name, frames in batch.frames.items()} == {
        "face_view": (8, 84, 84, 3),
        "wrist_view": (8, 84, 84, 3),
    }
    assert batch.state.shape == (8, 6)
    assert batch.commands.shape == (8, 24, 6)
    assert batch.colour_xy.shape == (8, 5, 2)
    assert batch.colour_present.sum(axis=1).tolist() == [3] * 8
    assert np.isfinite(batch.commands).all()
    assert ((batch.commands >= arm.LOWER) & (batch.commands <= arm.UPPER)).all()


def test_labels_words_and_auxiliary_targets_agree(demonstrations: Any) -> None:
    batch = demonstrations.sample_batch(np.random.default_rng(1), 64)
    for row, (instruction, subgoal) in enumerate(zip(batch.instructions, batch.subgoals, strict=True)):
        first, second = (COLOURS.index(part.split()[-2]) for part in instruction.split(","))
        done = batch.colour_touched[row]
        assert done.sum() == done[first]
        target = second if done[first] else first
        assert subgoal == f"touch the {COLOURS[target]} block."
        assert batch.colour_present[row, [first, second]].all()
        np.testing.assert_array_equal(batch.target_xy[row], batch.colour_xy[row, target])
        xy = batch.target_xy[row] * demonstrations.XY_SCALE + demonstrations.XY_CENTRE
        np.testing.assert_allclose(batch.commands[row], expert.rollout(batch.state[row], xy), atol=1e-9)
    assert 0.3 < batch.colour_touched.any(axis=1).mean() < 0.7
    assert (batch.colour_xy[~batch.colour_present] == 0).all()


def test_normalised_positions_have_unit_spread(demonstrations: Any) -> None:
    batch = demonstrations.sample_batch(np.random.default_rng(2), 200)
    positions = batch.colour_xy[batch.colour_present]
    assert np.abs(positions.mean(axis=0)).max() < 0.3
    assert np.abs(positions.std(axis=0) - 1).max() < 0.2


def test_pictures_show_the_state_of_their_own_row(demonstrations: Any, monkeypatch: Any) -> None:
    drawn = []
    monkeypatch.setattr(demonstrations, "render", lambda q, scene: drawn.append(q) or render(q, scene))
    batch = demonstrations.sample_batch(np.random.default_rng(3), 5)
    np.testing.assert_array_equal(np.array(drawn), batch.state)


def test_the_action_spread_normalises_and_has_a_floor(demonstrations: Any) -> None:
    rng = np.random.default_rng(4)
    spread = demonstrations.action_spread(rng)
    batch = demonstrations.sample_batch(rng, 128)
    moves = (batch.commands - batch.state[:, None]) / spread
    np.testing.assert_allclose(moves.std(axis=(0, 1))[:4], 1.0, atol=0.25)
    assert (spread[4:] >= 0.02).all()


def test_training_and_evaluation_draw_from_different_streams(demonstrations: Any) -> None:
    assert TRAIN_STREAM != EPISODE_STREAM
    first, again = (demonstrations.sample_batch(np.random.default_rng([TRAIN_STREAM, 9]), 2) for _ in "ab")
    np.testing.assert_array_equal(first.frames["wrist_view"], again.frames["wrist_view"])
