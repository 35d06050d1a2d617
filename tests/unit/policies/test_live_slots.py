"""What verification compares of a chunk: the robot's degrees of freedom, among slots that it leaves out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wall_edge.array_types import Array
from wall_edge.bundle import Embodiment, FlowActions, Tolerance, joint_layout
from wall_edge.verification.comparison import StageCheck, compare
from wall_edge.verification.flow_stages import FlowStages

HORIZON, SLOTS, STEPS = 8, 26, 2
LIVE = (0, 1, 2, 3, 4, 9)
DEAD = [slot for slot in range(SLOTS) if slot not in LIVE]
INT8 = Tolerance("relative_l2", 0.10)


def stages() -> FlowStages:
    """Of a robot of six joints whose model has 26 slots; nothing runs."""
    layout = joint_layout([f"joint{n}" for n in range(6)], (0.0,) * 6, (1.0,) * 6, LIVE)
    manifest: Any = SimpleNamespace(
        embodiment=Embodiment("arm", layout, layout),
        actions=FlowActions(tuple(np.linspace(0.0, 0.999, STEPS + 1).tolist())),
        graphs={"expert": None, "guided": None},
        horizon=HORIZON,
        action_slots=SLOTS,
    )
    session = SimpleNamespace(set_keys_values=lambda _: None)
    moment: Any = SimpleNamespace(
        manifest=manifest, encoder=SimpleNamespace(manifest=manifest, session=session)
    )
    return FlowStages(moment)


def checks(change: Any) -> dict[str, StageCheck]:
    """Every stage of slots, with ``change`` made to what the engine computed."""
    rng = np.random.default_rng(5)
    made = stages()
    goldens = {name: rng.standard_normal((HORIZON, SLOTS)) for name in ("chunk", "guidance")}
    shape = (STEPS, HORIZON, SLOTS)
    goldens |= {"keys_values": np.zeros(1), "noisy_actions": np.zeros(shape)}
    goldens |= {"velocities": rng.standard_normal(shape), "actions": np.zeros((HORIZON, 6))}

    def changed(golden: Array) -> Array:
        actual = golden.copy()
        change(actual)
        return actual

    def check(stage: str, kind: str, actual: Array, golden: Array) -> StageCheck:  # noqa: ARG001
        return compare(stage, actual, golden, INT8)

    velocities = iter(goldens["velocities"])
    made._policy = SimpleNamespace(velocity=lambda *_: changed(next(velocities)))  # type: ignore[assignment]
    guided = (changed(goldens["velocities"][1]), changed(goldens["guidance"]))
    made._guided = lambda _: guided  # type: ignore[method-assign]
    whole = {"chunk": changed(goldens["chunk"]), "actions": goldens["actions"]}
    found = [*made.step_checks(goldens, check), *made.whole_checks(whole, goldens, check)]
    return {check.stage: check for check in found if not check.stage.startswith("actions.")}


ALL = {"velocity.0", "velocity.1", "guided_velocity", "guidance", "chunk"}


def test_the_exact_slots_that_a_robot_leaves_out_hide_no_error_of_its_own() -> None:
    """An error of 15 % in six of 26 slots was one of about 7 %, within the tolerance of 10 %."""

    def change(values: Array) -> None:
        values[:, LIVE] *= 1.15

    found = checks(change)
    assert found.keys() == ALL
    for check in found.values():
        assert check.relative_l2 == pytest.approx(0.15)
        assert not check.ok


def test_what_is_said_of_slots_that_a_robot_leaves_out_is_nobody_s_motion() -> None:
    def change(values: Array) -> None:
        values[:, DEAD] += 100.0

    assert {check.relative_l2 for check in checks(change).values()} == {0.0}


def test_a_slot_that_is_not_finite_fails_whoever_takes_it() -> None:
    """The runtime gives such a chunk to nobody."""

    def change(values: Array) -> None:
        values[3, DEAD[0]] = np.nan

    assert not any(check.ok for check in checks(change).values())
