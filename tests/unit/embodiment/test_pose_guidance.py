"""What pulls a chunk of poses: offsets as the model has them, and nothing where components mislead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.embodiments import one_arm
from wall_edge.bundle import Embodiment, FlowActions, Reference
from wall_edge.kinematics.rotations import from_matrix, to_matrix
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.policies.transforms import normalised

HORIZON, SLOTS = 3, 26


class Session:
    """Answers noise with zeros, and keeps the guidance that it was given."""

    def denoise(self, noise: Any, mask: Any, _positions: Any, _grid: Any, pull: Any = None) -> Any:
        self.mask, self.pull = mask, pull
        return np.zeros_like(noise)


def guided(embodiment: Embodiment, state: Any, target: Any) -> Session:
    manifest = SimpleNamespace(
        embodiment=embodiment,
        horizon=HORIZON,
        action_slots=SLOTS,
        actions=FlowActions((0.0, 1.0)),
        state_slots=40,
    )
    session = Session()
    encoder: Any = SimpleNamespace(
        manifest=manifest, session=session, prefill_action=lambda *_, **__: SimpleNamespace(following=0)
    )
    pull = Guidance(target, np.array([1.0, 0.5, 0.0]), 5.0, jacobian=True)
    chunk = FlowPolicy(encoder).act(Observation(0, {}, state), "go", pull)
    assert chunk.shape == (HORIZON, len(embodiment.action))
    return session


def rows(embodiment: Embodiment, side: str, yaws: list[float]) -> Any:
    of = getattr(embodiment, side)
    values = np.full((len(yaws), len(of)), 0.25)
    turns = np.stack([np.zeros(len(yaws)), np.zeros(len(yaws)), np.array(yaws)], -1)
    values[:, of.columns("rotation", "arm")] = from_matrix(of.rotations["arm"], to_matrix("rpy", turns))
    return values


@pytest.mark.parametrize("reference", ["absolute", "state", "first"])
def test_a_target_becomes_what_the_model_would_have_said(reference: Reference) -> None:
    embodiment = one_arm("rpy", "rpy", reference)
    state, target = rows(embodiment, "state", [0.2])[0], rows(embodiment, "action", [0.1, 0.2, 0.3])
    session = guided(embodiment, state, target)
    manifest: Any = SimpleNamespace(embodiment=embodiment)
    slots = list(embodiment.action.slots)
    np.testing.assert_allclose(session.pull.target[:, slots], normalised(manifest, target, state), atol=1e-7)
    np.testing.assert_array_equal(session.pull.weights[:, slots], np.tile([[1.0], [0.5], [0.0]], len(slots)))
    rest = [slot for slot in range(SLOTS) if slot not in slots]
    assert not session.mask[:, rest].any()
    assert not session.pull.weights[:, rest].any()


def test_a_rotation_near_its_seam_is_not_pulled_the_long_way_round() -> None:
    """Yaw 179°: the policy may say -179°, and 358° of pull would turn the hand all the way round."""
    embodiment = one_arm("rpy", "rpy", "absolute")
    state, target = rows(embodiment, "state", [3.0])[0], rows(embodiment, "action", [0.1, 3.12, -3.12])
    weights = guided(embodiment, state, target).pull.weights
    rotation = [embodiment.action.slots[c] for c in embodiment.action.columns("rotation", "arm")]
    position = [embodiment.action.slots[c] for c in embodiment.action.columns("position", "arm")]
    np.testing.assert_array_equal(weights[:, rotation], [[1.0] * 3, [0.0] * 3, [0.0] * 3])
    np.testing.assert_array_equal(weights[:, position], [[1.0] * 3, [0.5] * 3, [0.0] * 3])


def test_an_offset_from_a_state_near_the_seam_is_pulled() -> None:
    """The same hand, of a policy whose actions are offsets: they are small, whatever the hand's own turn."""
    embodiment = one_arm("rpy", "rpy", "state")
    state, target = rows(embodiment, "state", [3.12])[0], rows(embodiment, "action", [3.12, -3.12, -3.1])
    session = guided(embodiment, state, target)
    rotation = [embodiment.action.slots[c] for c in embodiment.action.columns("rotation", "arm")]
    assert session.pull.weights[1, rotation].tolist() == [0.5] * 3
    yaw = np.pi * session.pull.target[:, rotation[2]]
    np.testing.assert_allclose(yaw, [0.0, 2 * np.pi - 6.24, 2 * np.pi - 6.22], atol=1e-6)
