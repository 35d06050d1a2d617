"""What was measured, beside what ``wall-edge plan`` predicts for the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wall_edge_engines import EngineSettings
from wall_edge_engines.build.targets.target import NO_TARGET, Target, named_target, target_of, targets
from wall_edge_engines.cuda.driver import DeviceFacts, Driver, device_ordinal
from wall_edge_engines.plan.onnx_work import bundle_workload
from wall_edge_engines.plan.prediction import StagePrediction, predict, prompt_span

from wall_edge.bundle import Bundle
from wall_edge.errors import ConfigError
from wall_edge.files import shown

PROBE = "wall-edge probe --out FILE.yaml, then --target FILE.yaml"


@dataclass(frozen=True)
class Floor:
    """A prediction for one row [ms]: what it takes at least, and where it likely lies."""

    floor_ms: float
    likely_ms: tuple[float, float]

    def plus(self, other: Floor) -> Floor:
        low, high = (a + b for a, b in zip(self.likely_ms, other.likely_ms, strict=True))
        return Floor(self.floor_ms + other.floor_ms, (low, high))

    def times(self, count: int) -> Floor:
        low, high = (count * value for value in self.likely_ms)
        return Floor(count * self.floor_ms, (low, high))


def target_for(name: str | None, settings: EngineSettings) -> tuple[Target | None, str]:
    """The target to predict for, or why there is none; without a ``name``, the GPU that is measured.

    Raises :class:`ConfigError` for a target that is another device than the one that is measured.
    """
    facts = None if settings.device == "cpu" else Driver().facts(device_ordinal(settings.device))
    if name is None:
        if facts is None:
            return None, f"no target describes this processor: {PROBE}"
        target = target_of(facts)
        if target.name == NO_TARGET:
            return None, f"no target describes {facts.name}: {PROBE}"
        return target, ""
    target = named_target(name)
    if target.sm != (None if facts is None else facts.sm) or _is_another(target, facts):
        here = "a processor" if facts is None else f"{facts.name}, SM{facts.sm}"
        what = f"--target {shown(name)} is {target.title}, measured is {here}"
        raise ConfigError(what, expected="one device", fix=PROBE)
    return target, ""


def _is_another(target: Target, facts: DeviceFacts | None) -> bool:
    """Whether a GPU is one that another of our target files describes: Orins differ in their memory alone."""
    if facts is None or target.name not in targets():
        return False
    return target_of(facts).name not in (target.name, NO_TARGET)


def floors(
    bundle: Bundle, target: Target, prompt_tokens: int, steps: int | None
) -> tuple[dict[str, Floor], tuple[str, ...]]:
    """By row, as far as ceilings are known, and what to know of them; ``steps`` is none for a policy whose
    chunk is words."""
    prediction = predict(bundle_workload(bundle, prompt_tokens), target, steps)
    return rows(prediction.stages, steps), prediction.notes


def rows(stages: Mapping[str, StagePrediction], steps: int | None) -> dict[str, Floor]:
    """The predictions of stages as those of what is timed."""
    ranges = {
        name: Floor(stage.floor_ms, stage.likely_ms)
        for name, stage in stages.items()
        if stage.floor_ms is not None and stage.likely_ms is not None
    }
    result: dict[str, Floor] = {
        name: ranges[name] for name in ("vision", "prefix", "lm_head") if name in ranges
    }
    if {"prefix", "word"} <= set(ranges):
        likely = prompt_span(ranges["prefix"].likely_ms, ranges["word"].likely_ms)
        result["prefix"] = replace(ranges["prefix"], likely_ms=likely)
    if steps is not None and "expert" in ranges:
        result["step"], result["action_loop"] = ranges["expert"], ranges["expert"].times(steps)
        if {"vision", "prefix"} <= set(ranges):
            result["chunk"] = ranges["vision"].plus(result["prefix"]).plus(result["action_loop"])
    if {"word", "lm_head"} <= set(ranges):
        result["word"] = result["action_word"] = ranges["word"].plus(ranges["lm_head"])
    return result
