"""``wall-edge verify`` names the stage that is off, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wall_edge_engines
from typer.testing import CliRunner
from wall_edge_engines import Engine

from wall_edge.bundle import Bundle, Embodiment, FlowActions, Tolerance, joint_layout
from wall_edge.cli import app
from wall_edge.errors import BundleError
from wall_edge.verification.comparison import StageCheck, compare
from wall_edge.verification.tolerances import graphs_of, tolerances
from wall_edge.verification.verify import verify

Array = np.ndarray
FP32 = {"vision": {"mlp": "fp32"}, "prefix": {"mlp": "fp32"}, "lm_head": {"lm_head": "fp32"}}


@pytest.fixture(scope="module")
def engine(shipped_bundle: Path) -> Engine:
    return wall_edge_engines.load(Bundle(shipped_bundle))


@pytest.fixture
def failing(shipped_bundle: Path, engine: Engine) -> Callable[..., set[str]]:
    """Verify with one golden changed; returns the stages that fail."""

    def run(name: str, change: Callable[[Array], object]) -> set[str]:
        bundle = Bundle(shipped_bundle)
        changed = bundle.goldens[name].copy()
        change(changed)
        bundle.__dict__["goldens"] = {**bundle.goldens, name: changed}
        return {check.stage for check in verify(bundle, engine) if not check.ok}

    return run


def add(amount: float, *where: Any) -> Callable[[Array], object]:
    def change(values: Array) -> None:
        values[where] += amount

    return change


@pytest.mark.parametrize(
    ("golden", "change", "stages"),
    [
        ("action_prompt_ids", add(1, 3), {"action_prompt_ids"}),
        ("velocities", add(0.1, 4), {"velocity.4"}),
        ("chunk", add(0.01), {"chunk"}),
        ("actions", add(0.01, slice(None), 2), {"actions.elbow_flex"}),
        ("text_logits", add(0.1), {"text_logits"}),
        ("subgoal_ids", add(1, -1), {"subgoal_ids"}),
    ],
)
def test_the_stage_that_is_off_is_named(
    failing: Callable[..., set[str]], golden: str, change: object, stages: set[str]
) -> None:
    assert failing(golden, change) == stages


def test_a_stage_is_fed_the_golden_of_the_stage_before(failing: Callable[..., set[str]]) -> None:
    """Wrong keys of layer 2 fail there, and show in the velocities that are computed from them."""
    found = failing("keys_values", add(0.5, slice(None), 2, 0))
    assert {stage for stage in found if not stage.startswith("velocity.")} == {"keys.2"}
    assert any(stage.startswith("velocity.") for stage in found)
    found = failing("keys_values", add(0.5, slice(None), 3, 1))
    assert {stage for stage in found if not stage.startswith("velocity.")} == {"values.3"}
    found = failing("image_embeds", add(0.5))
    assert "image_embeds" in found
    assert "keys.1" in found
    assert not {"velocity.0", "chunk"} & found


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_infinitely_wrong(value: float) -> None:
    found, golden = np.ones(4), np.ones(4)
    found[2] = value
    check = compare("chunk", found, golden, Tolerance("relative_l2", 1e9))
    assert not check.ok
    assert json.loads(json.dumps(check.as_dict()))["relative_l2"] is None


def test_another_shape_is_infinitely_wrong() -> None:
    assert not compare("chunk", np.ones((2, 3)), np.ones((3, 2)), Tolerance("max_abs", 1e9)).ok


@pytest.mark.parametrize(
    ("measure", "limit", "ok"),
    [
        ("max_abs", 0.3, True),
        ("max_abs", 0.29, False),
        ("relative_l2", 0.06, True),
        ("relative_l2", 0.05, False),
    ],
)
def test_errors_of_a_stage(measure: Any, limit: float, ok: bool) -> None:
    golden = np.array([3.0, 4.0])
    check = compare("chunk", golden + np.array([0.0, 0.299999]), golden, Tolerance(measure, limit))
    assert check.max_abs == pytest.approx(0.3, abs=1e-5)
    assert check.relative_l2 == pytest.approx(0.06, abs=1e-5)
    assert check.ok is ok


def test_equal_ids_are_exact_and_one_off_is_not() -> None:
    exact = Tolerance("max_abs", 0.0)
    assert compare("subgoal_ids", np.array([5, 6]), np.array([5, 6]), exact).ok
    assert not compare("subgoal_ids", np.array([5, 7]), np.array([5, 6]), exact).ok
    zeros: StageCheck = compare("chunk", np.zeros(3), np.zeros(3), exact)
    assert (zeros.cosine, zeros.ok) == (1.0, True)


@pytest.mark.parametrize("golden", ["keys_values", "noise", "velocities", "frames.face_view"])
def test_a_missing_golden_is_named(shipped_bundle: Path, engine: Engine, golden: str) -> None:
    bundle = Bundle(shipped_bundle)
    bundle.__dict__["goldens"] = {name: a for name, a in bundle.goldens.items() if name != golden}
    with pytest.raises(BundleError, match=golden):
        verify(bundle, engine)


def test_a_missing_tolerance_is_named(shipped_bundle: Path, engine: Engine) -> None:
    bundle = Bundle(shipped_bundle)
    limits = {name: limit for name, limit in bundle.manifest.tolerances.items() if name != "velocity"}
    bundle.manifest = replace(bundle.manifest, tolerances=limits)
    with pytest.raises(BundleError, match="velocity"):
        verify(bundle, engine)


def test_the_lowest_precision_on_the_way_sets_the_tolerance() -> None:
    joints = joint_layout(("lift", "turn"), (0.0, 0.0), (0.5, 2.0))
    robot = Embodiment("arm", joints, joints)
    exact = tolerances({**FP32, "expert": {"mlp": "fp32"}}, robot, FlowActions)
    mixed = tolerances({**FP32, "expert": {"qkv": "fp16", "mlp": "int4-weights"}}, robot, FlowActions)
    for stage in ("image_embeds", "keys", "values", "text_logits"):
        assert mixed[stage] == exact[stage]
    for stage in ("velocity", "chunk"):
        assert mixed[stage].limit > exact[stage].limit
    assert "subgoal_ids" in exact
    assert "subgoal_ids" not in mixed
    assert mixed["action_prompt_ids"].limit == exact["action_prompt_ids"].limit == 0
    ratio = mixed["actions.turn"].limit / mixed["actions.lift"].limit
    assert ratio == pytest.approx(4)


def test_graphs_of_a_stage() -> None:
    assert graphs_of("keys.3", FlowActions) == ("prefix",)
    assert graphs_of("actions.lift", FlowActions) == ("vision", "prefix", "expert")
    assert graphs_of("action_prompt_ids", FlowActions) == ()


def test_the_command_lists_every_stage_as_json(shipped_bundle: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(shipped_bundle), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert found["recipe"] == "fp32"
    assert {"image_embeds", "keys.0", "values.3", "velocity.9", "chunk"} <= set(found["stages"])
    assert found["stages"]["velocity.0"]["measure"] == "relative_l2"
