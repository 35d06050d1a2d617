"""Offsets of actions: what is taken off is put on again, and rotations are composed as rotations."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embodiments import Axes, layout, one_arm, pose_degrees
from wall_edge.array_types import Floats
from wall_edge.bundle import Degree, Embodiment, Pose, Reference, RotationForm, joint_layout
from wall_edge.errors import PolicyError
from wall_edge.kinematics.rotations import distance, exp, from_matrix, to_matrix
from wall_edge.policies.transforms import absolute, model_state, normalised, physical, relative

FORMS: tuple[RotationForm, ...] = get_args(RotationForm)
HORIZON = 5
forms = st.sampled_from(FORMS)
references = st.sampled_from(get_args(Reference))
axes = st.sampled_from(get_args(Axes))
angle = st.one_of(st.floats(-np.pi, np.pi), st.sampled_from([np.pi, -np.pi, np.pi - 1e-9, np.pi / 2, 0.0]))
turns = st.tuples(angle, angle, angle).map(lambda values: to_matrix("rpy", np.array(values)))


def robot(name: Reference, embodiment: Embodiment | None = None) -> Any:
    """A manifest as far as transforms read it."""
    joints = joint_layout(("a", "b"), (0.5, -1.0), (2.0, 4.0), reference=name)
    made = embodiment or Embodiment("arm", joint_layout(("b", "a"), (0, 0), (1, 2), (4, 1), clip=1.0), joints)
    return SimpleNamespace(embodiment=made, state_slots=6)


def values_of(embodiment: Embodiment, side: str, matrices: Floats, seed: int) -> Floats:
    """Policy values with the pose's rotations ``[..., 3, 3]`` and random numbers for all else."""
    of = getattr(embodiment, side)
    values = np.random.default_rng(seed).uniform(-1, 1, (*matrices.shape[:-2], len(of)))
    for pose, form in of.rotations.items():
        values[..., of.columns("rotation", pose)] = from_matrix(form, matrices)
    return values


def assert_same(embodiment: Embodiment, found: Floats, wanted: Floats) -> None:
    """Equal numbers, but rotations equal as rotations."""
    of = embodiment.action
    rotations = [column for pose in of.rotations for column in of.columns("rotation", pose)]
    plain = [column for column in range(len(of)) if column not in rotations]
    np.testing.assert_allclose(found[..., plain], wanted[..., plain], atol=1e-12)
    for pose, form in of.rotations.items():
        columns = of.columns("rotation", pose)
        apart = distance(to_matrix(form, found[..., columns]), to_matrix(form, wanted[..., columns]))
        assert apart.max() < 1e-7  # noise of 1e-16 in a matrix is 1e-8 of an angle near π


def test_what_no_degree_takes_is_as_in_training() -> None:
    state = replace(joint_layout(("b", "a"), (0, 0), (1, 2), (4, 1)), masked=(-1.0, 9.0, 0.5))
    manifest = robot("absolute", Embodiment("arm", state, joint_layout(("a", "b"), (0, 0), (1, 1))))
    values, mask = model_state(manifest, np.array([0.25, 0.5]))
    np.testing.assert_array_equal(values, np.float32([-1, 0.25, 0.5, 0, 0.25, 0]))
    np.testing.assert_array_equal(mask, [0, 1, 0, 0, 1, 0])


@given(forms, forms, references, axes, st.lists(turns, min_size=HORIZON + 1, max_size=HORIZON + 1))
def test_what_is_taken_off_is_put_on_again(
    seen: RotationForm, form: RotationForm, reference: Reference, axes: Axes, rotations: list[Floats]
) -> None:
    embodiment = one_arm(seen, form, reference, axes)
    state = values_of(embodiment, "state", rotations[0], 1)
    values = values_of(embodiment, "action", np.stack(rotations[1:]), 2)
    offsets = relative(embodiment, values, state)
    assert_same(embodiment, absolute(embodiment, offsets, state), values)
    if reference == "absolute":
        np.testing.assert_array_equal(offsets, values)


@given(forms, references, axes, st.lists(turns, min_size=HORIZON + 1, max_size=HORIZON + 1))
@settings(max_examples=50)
def test_what_is_put_on_is_taken_off_again(
    form: RotationForm, reference: Reference, axes: Axes, rotations: list[Floats]
) -> None:
    embodiment = one_arm(form, form, reference, axes)
    state = values_of(embodiment, "state", rotations[0], 3)
    offsets = values_of(embodiment, "action", np.stack(rotations[1:]), 4)
    assert_same(embodiment, relative(embodiment, absolute(embodiment, offsets, state), state), offsets)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axes", get_args(Axes))
@pytest.mark.parametrize("reference", ["state", "first"])
def test_offsets_of_a_pose_are_composed_in_its_axes(
    form: RotationForm, axes: Axes, reference: Reference
) -> None:
    """p = p₀ + Δp, R = ΔR·R₀ in the base's axes; p = p₀ + R₀·Δp, R = R₀·ΔR in the tip's."""
    embodiment = one_arm("rpy", form, reference, axes)
    base, turn = exp(np.array([0.0, 0.0, np.pi / 2])), exp(np.array([0.3, 0.0, 0.0]))
    state = values_of(embodiment, "state", base, 0)
    action, columns = embodiment.action, embodiment.state.columns("position", "arm")
    state[columns] = 1.0, 2.0, 3.0
    offsets = values_of(embodiment, "action", np.stack([turn] * 3), 0)
    offsets[:, :3] = 0.1, 0.0, 0.0
    if reference == "first":  # whose first step is a value: the same pose as the state's
        offsets[0, :3] = 1.0, 2.0, 3.0
        offsets[0, action.columns("rotation", "arm")] = from_matrix(form, base)
    found = absolute(embodiment, offsets, state)[1:]
    moved = [1.1, 2.0, 3.0] if axes == "base" else [1.0, 2.1, 3.0]  # a quarter turn about z: x is y
    np.testing.assert_allclose(found[:, :3], [moved] * 2, atol=1e-12)
    rotations = to_matrix(form, found[:, action.columns("rotation", "arm")])
    wanted = turn @ base if axes == "base" else base @ turn
    np.testing.assert_allclose(rotations, np.stack([wanted] * 2), atol=1e-12)


def test_the_first_step_is_a_value_whatever_the_state() -> None:
    embodiment = one_arm("rpy", "rpy", "first")
    values = values_of(
        embodiment, "action", np.stack([exp(np.array([0.0, 0.1 * i, 0.0])) for i in range(4)]), 5
    )
    one, other = (values_of(embodiment, "state", np.eye(3), seed) for seed in (6, 7))
    offsets = relative(embodiment, values, one)
    np.testing.assert_array_equal(offsets, relative(embodiment, values, other))
    np.testing.assert_array_equal(offsets[0], values[0])
    grip = embodiment.action.names.index("grip")
    np.testing.assert_allclose(offsets[1:, grip], values[1:, grip] - values[0, grip])
    held = embodiment.action.names.index("spare")
    np.testing.assert_array_equal(offsets[:, held], values[:, held])


@pytest.mark.parametrize("form", ["rpy", "euler_zyx", "rotvec"])
def test_a_turn_across_pi_is_a_small_offset(form: RotationForm) -> None:
    """Yaw 179° to -179° is 2°: by components it would be -358°."""
    embodiment = one_arm(form, form, "state")
    state = values_of(embodiment, "state", exp(np.array([0.0, 0.0, np.radians(179)])), 0)
    values = values_of(embodiment, "action", exp(np.array([[0.0, 0.0, np.radians(181)]])), 0)
    turned = relative(embodiment, values, state)[0, embodiment.action.columns("rotation", "arm")]
    np.testing.assert_allclose(np.sort(turned), [0.0, 0.0, np.radians(2)], atol=1e-9)


def test_two_arms_do_not_mix_and_any_leading_axes_will_do() -> None:
    def degrees(reference: Reference) -> list[Degree]:
        pairs = [pose_degrees(pose, "rpy", 6 * i, reference) for i, pose in enumerate(("left", "right"))]
        return [degree for pair in zip(*pairs, strict=True) for degree in pair]  # interleaved

    forms: dict[str, RotationForm] = {"left": "rpy", "right": "rpy"}
    poses = {"left": Pose("a", "b", "a"), "right": Pose("c", "d", "a", "tip")}
    two = Embodiment("two", layout(degrees("absolute"), **forms), layout(degrees("state"), **forms), poses)
    rng = np.random.default_rng(0)
    state, values = rng.uniform(-1, 1, (3, 12)), rng.uniform(-1, 1, (3, HORIZON, 12))
    found = relative(two, values, state)
    for sample, pose in itertools.product(range(3), poses):
        alone_axes: Axes = poses[pose].offset_axes
        alone = Embodiment(
            "one",
            layout(pose_degrees(pose, "rpy"), **{pose: "rpy"}),
            layout(pose_degrees(pose, "rpy", 0, "state"), **{pose: "rpy"}),
            {pose: Pose("a", "b", "a", alone_axes)},
        )
        columns = [*two.action.columns("position", pose), *two.action.columns("rotation", pose)]
        wanted = relative(alone, values[sample][:, columns], state[sample, columns])
        np.testing.assert_allclose(found[sample][:, columns], wanted, atol=1e-12)


def test_a_position_without_its_rotation_is_a_plain_offset() -> None:
    degrees = pose_degrees("arm", "rpy")[:3]
    state = layout(degrees)
    action = layout([Degree(d.name, d.slot, d.part, d.of, d.index, d.unit, "state") for d in degrees])
    embodiment = Embodiment("point", state, action, {"arm": Pose("base", "tip", "base")})
    found = absolute(embodiment, np.ones((2, 3)), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(found, [[2.0, 3.0, 4.0]] * 2)


def test_joints_are_as_they_always_were() -> None:
    """Offsets from the state by joint, though the state lists the joints in another order."""
    state, actions = np.array([0.25, 1.5]), np.array([[0.0, 0.5], [1.0, -1.0]])
    restored = actions * [2.0, 4.0] + [0.5, -1.0]
    np.testing.assert_array_equal(physical(robot("absolute"), actions, state), restored)
    found = physical(robot("state"), actions, state)
    np.testing.assert_array_equal(found, restored + np.array([1.5, 0.25]))
    np.testing.assert_allclose(normalised(robot("state"), found, state), actions)
    assert physical(robot("absolute"), actions.astype(np.float32), state).dtype == np.float64


def test_a_state_goes_into_its_own_slots() -> None:
    values, mask = model_state(robot("state"), np.array([0.25, 9.0]))
    np.testing.assert_array_equal(values, np.array([0, 1, 0, 0, 0.25, 0], np.float32))  # 9 / 2 is clipped
    np.testing.assert_array_equal(mask, [0, 1, 0, 0, 1, 0])
    for wrong in (np.zeros(3), np.zeros(1), np.array([0.0, np.nan]), np.array([np.inf, 0.0])):
        with pytest.raises(PolicyError, match=r"state .*; expected 2 finite values"):
            model_state(robot("state"), wrong)


@pytest.mark.parametrize("form", ["quaternion", "6d"])
@pytest.mark.parametrize("reference", ["state", "first"])
def test_an_offset_that_is_no_rotation_must_not_move_an_arm(form: RotationForm, reference: Reference) -> None:
    embodiment = one_arm("rpy", form, reference)
    state = values_of(embodiment, "state", np.eye(3), 0)
    with pytest.raises(PolicyError, match=r"the action chunk: .* is no rotation"):
        physical(robot("state", embodiment), np.zeros((3, len(embodiment.action))), state)


def test_the_values_given_stay_as_they_are() -> None:
    embodiment = one_arm("rpy", "rpy", "first", "tip")
    rng = np.random.default_rng(0)
    state, values = rng.uniform(-1, 1, 8), rng.uniform(-1, 1, (4, 9))
    kept = state.copy(), values.copy()
    relative(embodiment, values, state)
    absolute(embodiment, values, state)
    np.testing.assert_array_equal(state, kept[0])
    np.testing.assert_array_equal(values, kept[1])
