"""A policy on a device: times, memory, rates and what to take, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

from wall_edge.errors import EngineError
from wall_edge_engines.build.targets.memory import smaller_recipe
from wall_edge_engines.build.targets.precisions import require_families
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import Target
from wall_edge_engines.plan.memory import MemoryPlan, plan_memory
from wall_edge_engines.plan.prediction import Prediction, predict
from wall_edge_engines.plan.rates import RatesVerdict, RobotRates, Verdict, judge_rates
from wall_edge_engines.plan.recommendation import Option, Recommendation, recommend
from wall_edge_engines.plan.workload import Workload

_NOT_COUNTED = "neither launches nor element-wise work are counted: a small model takes longer"
_WIDENED = "a processor computes half types in float32 and reads twice the bytes that are counted here"


@dataclass(frozen=True)
class Subject:
    """A policy that is planned: a bundle, or what an export would make of a checkpoint or a shape."""

    name: str
    recipe: str | None
    """A bundle's; None where any can be exported with."""
    families: Callable[[str], Mapping[str, Mapping[str, str]]]
    """Precision by graph and layer family, of a recipe."""
    workload: Callable[[str], Workload]
    sizes: Callable[[str], PolicySizes]


@dataclass(frozen=True)
class Device:
    """What is planned for; ``memory_bytes``: as it tells, or as sold; none for a target of no device."""

    target: Target
    memory_bytes: int | None
    swap_bytes: int = 0


@dataclass(frozen=True)
class PlanReport:
    """Everything of a plan; ``rates`` is None where no ceiling of the target is known."""

    subject: str
    target: Target
    workload: Workload
    prediction: Prediction
    memory: MemoryPlan
    rates: RatesVerdict | None
    recommendation: Recommendation

    @property
    def notes(self) -> tuple[str, ...]:
        widened = self.target.sm is None and self.workload.activation_bytes < 4
        return (_NOT_COUNTED, *self.prediction.notes, *([_WIDENED] if widened else ()))

    def require_fits(self) -> None:
        """Raises :class:`EngineError` with the arithmetic of what does not fit."""
        if not self.memory.fits:
            recipe = self.workload.recipe
            raise EngineError(
                f"{recipe} on {self.target.title}: {self.memory.refusal}",
                fix="" if self.memory.runs else smaller_recipe(recipe, self.target),
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; times in ms, sizes in bytes."""
        prediction, memory = self.prediction, self.memory
        stages = {name: asdict(stage) for name, stage in prediction.stages.items()}
        word = stages.pop("word")
        return {
            "predicted": True,
            "subject": self.subject,
            "target": prediction.target,
            "recipe": self.workload.recipe,
            "cameras": self.workload.cameras,
            "prompt_tokens": self.workload.prompt_tokens,
            "integration_steps": prediction.integration_steps,
            "stages": stages,
            "word": word,
            "chunk_floor_ms": prediction.chunk_floor_ms,
            "chunk_ms": prediction.chunk_ms,
            "chunk_rate_hz": prediction.chunk_rate_hz,
            "memory_bytes": {"run": memory.run.total, "build": memory.build},
            "device_memory_bytes": memory.device,
            "fits": memory.fits,
            "refusal": memory.refusal,
            "rates": None if self.rates is None else asdict(self.rates),
            "recommendation": asdict(self.recommendation),
            "notes": list(self.notes),
        }


def make_plan(
    subject: Subject, device: Device, rates: RobotRates, steps: int | None, recipe: str | None = None
) -> PlanReport:
    """Plan ``recipe``; without one the bundle's, or the one that is recommended, or the target's first.

    ``steps``: of integration; None where actions are words. Raises :class:`ConfigError` for fewer than one,
    :class:`EngineError` for a recipe in a precision that the target lacks.
    """
    planner = _Planner(subject, device, rates)
    advice = recommend(planner.options(), steps)
    if recipe is None:
        recipe = subject.recipe or advice.recipe or device.target.recipes[0]
    require_families(subject.families(recipe), recipe, device.target)
    if advice.recipe is None and subject.recipe is not None:
        others = ", ".join(name for name in device.target.recipes if name != subject.recipe)
        advice = replace(
            advice, words=f"{advice.words}; plan the checkpoint with {others or 'another target'}"
        )
    prediction = planner.prediction(recipe, steps)
    return PlanReport(
        subject=subject.name,
        target=device.target,
        workload=planner.workload(recipe),
        prediction=prediction,
        memory=planner.memory(recipe),
        rates=None if prediction.chunk_ms is None else judge_rates(rates, prediction.chunk_ms),
        recommendation=advice,
    )


class _Planner:
    """Weighs every recipe once."""

    def __init__(self, subject: Subject, device: Device, rates: RobotRates) -> None:
        self._subject, self._device, self._rates = subject, device, rates
        self.workload = cache(subject.workload)
        self.memory = cache(self._memory)

    def options(self) -> Iterator[Option]:
        recipes = self._device.target.recipes if self._subject.recipe is None else (self._subject.recipe,)
        for recipe in recipes:
            yield Option(recipe, self._refusal(recipe), partial(self._holds, recipe))

    def prediction(self, recipe: str, steps: int | None) -> Prediction:
        return predict(self.workload(recipe), self._device.target, steps)

    def _memory(self, recipe: str) -> MemoryPlan:
        device = self._device
        sizes = self._subject.sizes(recipe)
        return plan_memory(sizes, device.target, device.memory_bytes, device.swap_bytes)

    def _refusal(self, recipe: str) -> str:
        try:
            require_families(self._subject.families(recipe), recipe, self._device.target)
        except EngineError as problem:
            return str(problem)
        return self.memory(recipe).refusal

    def _holds(self, recipe: str, steps: int | None) -> Verdict | None:
        chunk_ms = self.prediction(recipe, steps).chunk_ms
        return None if chunk_ms is None else judge_rates(self._rates, chunk_ms).holds
