"""A whole plan from fakes: which recipe it is of, what it refuses, what a program reads of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import Target
from wall_edge_engines.plan.rates import RobotRates
from wall_edge_engines.plan.report import Device, PlanReport, Subject, make_plan
from wall_edge_engines.plan.workload import Workload

from tests.unit.plan.workloads import GB, device, use, workload
from wall_edge.errors import EngineError

RATES = RobotRates(horizon=32, action_rate_hz=30.0)
SMALL = workload(
    "int8-int8",
    uses={name: use(entry.bytes // 4, int8=GB) for name, entry in workload().uses.items()},
    stored_bytes={name: size // 4 for name, size in workload().stored_bytes.items()},
)


class Policy:
    """A subject that can be exported in two recipes, and remembers which it was counted in."""

    def __init__(self, **workloads: Workload) -> None:
        self.workloads = {name.replace("_", "-"): work for name, work in workloads.items()}
        self.asked: list[str] = []

    def subject(self, recipe: str | None = None) -> Subject:
        return Subject("policy", recipe, self._families, self._workload, self._sizes)

    def _families(self, recipe: str) -> dict[str, dict[str, str]]:
        return {"vision": {"mlp": "int8" if recipe == "int8-int8" else recipe}}

    def _workload(self, recipe: str) -> Workload:
        self.asked.append(recipe)
        return self.workloads[recipe]

    def _sizes(self, recipe: str) -> PolicySizes:
        return PolicySizes.of_workload(self.workloads[recipe], 500)


BOTH = {"bf16": workload(), "int8_int8": SMALL}


def plan(
    target: Target, memory: int | None = 64 * GB, recipe: str | None = None, own: str | None = None
) -> PlanReport:
    return make_plan(Policy(**BOTH).subject(own), Device(target, memory), RATES, 10, recipe)


def test_without_a_recipe_the_recommended_one_is_planned() -> None:
    """bf16 takes 20 to 40 ms a step and 300 to 500 ms before: 32 steps of 33 ms are not enough for two."""
    report = plan(device())
    assert report.rates is not None
    assert (report.workload.recipe, report.rates.holds) == ("int8-int8", "yes")
    assert report.recommendation.recipe == "int8-int8"


def test_a_recipe_that_was_asked_for_is_planned_whatever_is_recommended() -> None:
    report = plan(device(), recipe="bf16")
    assert (report.workload.recipe, report.recommendation.recipe) == ("bf16", "int8-int8")
    assert report.rates is not None
    assert report.rates.holds != "yes"


def test_nothing_is_counted_twice_and_nothing_that_nobody_needs() -> None:
    policy = Policy(bf16=SMALL, int8_int8=SMALL)
    make_plan(policy.subject(), Device(device(), 64 * GB), RATES, 10)
    assert policy.asked == ["bf16"]


def test_a_policy_that_does_not_fit_is_planned_and_then_refused() -> None:
    report = plan(device(), memory=6 * GB)
    assert report.workload.recipe == "bf16"  # the target's first, as none can be recommended
    assert report.recommendation.recipe is None
    with pytest.raises(
        EngineError, match=r"bf16 on .*running takes .* = \d+\.\d\d GB, more than its 6\.00 GB"
    ):
        report.require_fits()


def test_a_bundle_is_planned_in_its_own_recipe_and_told_of_others() -> None:
    report = plan(device(), memory=6 * GB, own="bf16")
    assert report.workload.recipe == "bf16"
    assert "plan the checkpoint with int8-int8" in report.recommendation.words


def test_a_precision_that_the_target_lacks_is_refused_as_build_does() -> None:
    old = device(element_types=("fp32", "fp16"), recipes=("bf16",), sm=75)
    with pytest.raises(
        EngineError, match=r"vision, mlp: bf16 does not exist on .*SM75.*nearest there is fp32"
    ):
        plan(old)


def test_a_program_reads_what_the_issue_promised() -> None:
    report = json.loads(json.dumps(plan(device()).as_dict()))
    assert report["predicted"] is True
    assert (report["target"], report["integration_steps"]) == ("round", 10)
    for name in ("vision", "prefix", "expert", "lm_head"):
        stage = report["stages"][name]
        assert set(stage) == {"bytes", "operations", "floor_ms", "likely_ms", "bound"}
        assert stage["floor_ms"] <= stage["likely_ms"][0] <= stage["likely_ms"][1]
    assert set(report["memory_bytes"]) == {"run", "build"}
    assert len(report["chunk_ms"]) == 2
    more = "recipe cameras prompt_tokens fits refusal chunk_rate_hz rates recommendation notes"
    assert set(more.split()) <= set(report)


def test_a_target_without_ceilings_still_has_memory() -> None:
    report = plan(
        replace(device(), bandwidth_gb_s=replace(device().bandwidth_gb_s, theoretical=None, measured=()))
    )
    assert report.rates is None
    assert report.as_dict()["chunk_ms"] is None
    assert report.memory.run.total > 0


def test_half_types_on_a_processor_are_said_to_be_read_as_float32() -> None:
    report = plan(device(sm=None), recipe="bf16")
    assert any("twice the bytes" in note for note in report.notes)
