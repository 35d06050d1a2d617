"""Calibration data against the embodiment: units of each degree of freedom, offsets, single absurd values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from wall_edge_export.data.robot_checks import refuse_absurd, require_units
from wall_edge_export.data.session_samples import SessionSamples

from wall_edge.array_types import Floats
from wall_edge.bundle import Degree, Embodiment, Layout, Pose, joint_layout
from wall_edge.errors import ConfigError
from wall_edge.policies.observation import Observation
from wall_edge.session_format import Sample

HERE = Path("data")
STEPS = 5
ARM = ("a", "b", "c", "d", "e", "f")


def mixed(reference: str = "absolute") -> Embodiment:
    """Six joints in degrees and a gripper in per cent."""
    degrees = [Degree(name, i, "joint", name, unit="deg") for i, name in enumerate(ARM)]
    degrees.append(Degree("gripper", 6, "joint", "gripper", unit="percent"))
    state = Layout(tuple(degrees), (0.0,) * 6 + (50.0,), (90.0,) * 6 + (50.0,), clip=1.0)
    offsets = tuple(replace(degree, reference=reference) for degree in degrees)  # type: ignore[arg-type]
    if reference == "absolute":
        return Embodiment("mixed", state, Layout(offsets, state.offset, state.scale))
    return Embodiment("mixed", state, Layout(offsets, (0.0,) * 7, (5.0,) * 7))


def samples(robot: Embodiment, seed: int = 0) -> list[Sample]:
    """Eight of the robot's own, slowly moving."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(8):
        state = robot.state.restore(rng.uniform(-0.9, 0.9, len(robot.state)))
        made.append(sample(state, state + rng.uniform(-1, 1, (STEPS, len(state))).cumsum(axis=0)))
    return made


def sample(state: Floats, actions: Floats) -> Sample:
    return Sample(Observation(0, {}, state, frames_ns=0), "words", actions)


def changed(given: list[Sample], column: int, factor: float) -> list[Sample]:
    """One degree of freedom in another unit."""
    factors = np.ones(7)
    factors[column] = factor
    return [sample(s.observation.state * factors, s.actions * factors) for s in given]


@pytest.mark.parametrize("reference", ["absolute", "state"])
def test_the_robots_own_data(reference: str) -> None:
    robot = mixed(reference)
    require_units(HERE, samples(robot), robot)
    refuse_absurd(HERE, samples(robot), robot)


def test_one_degree_of_freedom_of_many_in_another_unit() -> None:
    """One of 7 is 14 % of the values, one of 26 is 4 %: its own share counts too."""
    robot = mixed()
    with pytest.raises(
        ConfigError, match=r"\(gripper most often, .*expected policy values, gripper in percent"
    ):
        require_units(HERE, changed(samples(robot), 6, 40.0), robot)
    wide = joint_layout([f"j{i}" for i in range(26)], (0.0,) * 26, (1.0,) * 26)
    many = Embodiment("wide", wide, wide)
    values = np.zeros(26)
    values[25] = 60.0
    data = [sample(values, np.tile(values, (STEPS, 1)))] * 8
    with pytest.raises(ConfigError, match=r"4% of states .*j25 most often, 100%"):
        require_units(HERE, data, many)


def test_offsets_are_compared_with_what_they_are_offsets_from() -> None:
    robot = mixed("state")
    data = samples(robot)
    require_units(HERE, data, robot)
    jumping = [sample(s.observation.state, s.actions + 40.0) for s in data]
    with pytest.raises(ConfigError, match="of actions are more than 3 times"):
        require_units(HERE, jumping, robot)


def test_poses_are_offsets_as_rotations() -> None:
    """Across ±π a difference of components would be 2π."""
    parts = [Degree(f"p{i}", i, "position", "hand", i, "m", "state") for i in range(3)]
    parts += [Degree(f"r{i}", 3 + i, "rotation", "hand", i, "rad", "state") for i in range(3)]
    state = tuple(replace(part, reference="absolute") for part in parts)
    rotations = {"hand": "rpy"}
    robot = Embodiment(
        "hand",
        Layout(state, (0.0,) * 6, (1.0, 1.0, 1.0, 3.2, 1.6, 3.2), 1.0, rotations),  # type: ignore[arg-type]
        Layout(tuple(parts), (0.0,) * 6, (0.1,) * 6, None, rotations),  # type: ignore[arg-type]
        {"hand": Pose("base", "tip", "base")},
    )
    before, after = np.array([0.1, 0, 0.2, 3.1, 0, 0]), np.array([0.1, 0, 0.2, -3.1, 0, 0])
    require_units(HERE, [sample(before, np.tile(after, (STEPS, 1)))] * 8, robot)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        (0, 5000.0, "state of a is 5000 deg in sample 3; expected within 900 deg of 0"),
        (6, 900.0, "state of gripper is 900 percent in sample 3; expected within 500 percent of 50"),
    ],
)
def test_a_single_value_that_cannot_be(column: int, value: float, named: str) -> None:
    data = samples(mixed())
    data[3].observation.state[column] = value
    with pytest.raises(ConfigError, match=named):
        refuse_absurd(HERE, data, mixed())


def test_a_single_action_is_measured_by_the_state_that_it_is_an_offset_from() -> None:
    robot, data = mixed("state"), samples(mixed("state"))
    data[2].actions[4, 1] = -2000.0
    with pytest.raises(
        ConfigError, match="action of b is -2000 deg in sample 2; expected within 900 deg of 0"
    ):
        refuse_absurd(HERE, data, robot)


def test_what_is_held_is_not_compared() -> None:
    """A session has the value that ROBOT.yaml says of it, whatever the statistics."""
    degrees = (Degree("a", 0, "joint", "a"), Degree("car", 1, "held", unit="own"))
    layout = Layout(degrees, (0.0, 100.0), (1.0, 0.01))
    robot = Embodiment("held", layout, layout)
    data = [sample(np.zeros(2), np.zeros((STEPS, 2)))] * 8
    require_units(HERE, data, robot)
    refuse_absurd(HERE, data, robot)


def test_a_session_in_other_units(tmp_path: Path) -> None:
    """The header says them."""
    header = {
        "format_version": 2,
        "robot": "mixed",
        "state": {**dict.fromkeys(ARM, "deg"), "gripper": "percent"},
        "actions": {**dict.fromkeys(ARM, "deg"), "gripper": "percent"},
        "cameras": {"face_view": {"width": 84, "height": 84}},
        "horizon": STEPS,
        "action_rate_hz": 30.0,
    }
    path = tmp_path / "session.yaml"
    path.write_text(yaml.safe_dump(header, sort_keys=False))
    sizes = {"face_view": (84, 84)}
    SessionSamples(tmp_path, mixed(), sizes, STEPS, 30.0)
    header["actions"] = {**dict.fromkeys(ARM, "deg"), "gripper": "rad"}
    path.write_text(yaml.safe_dump(header, sort_keys=False))
    with pytest.raises(ConfigError, match=r"session\.yaml: gripper in rad; expected percent"):
        SessionSamples(tmp_path, mixed(), sizes, STEPS, 30.0)
    header["actions"] = dict.fromkeys(ARM, "deg")
    path.write_text(yaml.safe_dump(header, sort_keys=False))
    with pytest.raises(
        ConfigError, match="another embodiment: a, b, c, d, e, f; expected a, b, c, d, e, f, gripper"
    ):
        SessionSamples(tmp_path, mixed(), sizes, STEPS, 30.0)
