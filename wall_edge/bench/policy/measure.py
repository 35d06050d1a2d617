"""``wall-edge bench policy``: load, time, and say what was measured and what was going on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

import wall_edge_engines
from wall_edge_engines import Engine, EngineSettings
from wall_edge_engines.cuda.driver import Driver, device_ordinal
from wall_edge_engines.tensorrt.engine import TensorRtEngine
from wall_edge_engines.tensorrt.inspection import attention_fusion

from wall_edge.bench.policy.comparable import doubts
from wall_edge.bench.policy.floors import Floor, floors, target_for
from wall_edge.bench.policy.memory import MemoryWatch
from wall_edge.bench.policy.power import draws
from wall_edge.bench.policy.report import (
    Attention,
    PolicyReport,
    Prediction,
    Row,
    WarmUp,
    missing_percentiles,
)
from wall_edge.bench.policy.rig import CHUNK, PolicyRig
from wall_edge.bench.policy.run import PHASES, Options, Run, timed_run
from wall_edge.bench.policy.statistics import Spread
from wall_edge.bench.policy.words import FLOOR, STAGES_APART, TIMED, TITLES
from wall_edge.board import Facts, Tree, rails, read_facts
from wall_edge.bundle import Bundle, require_steps
from wall_edge.policies.instruction import require_fitting, require_words
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.state_text import said_state
from wall_edge.provenance import provenance
from wall_edge.verification.goldens import synthetic_observation

STAGES = ("engine", *PHASES)
_VERSIONS = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "cuda-bindings")


def measure(
    bundle: Bundle,
    settings: EngineSettings,
    options: Options = Options(),  # noqa: B008 - frozen
    target: str | None = None,
    *,
    tree: Tree | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> PolicyReport:
    """Time ``bundle``'s policy on the engine of ``settings``; ``tree`` is where the machine's files are.

    Raises WallEdgeError for what cannot be measured here, in one sentence.
    """
    _require(bundle, options)
    machine, steps = tree or Tree(), _steps(bundle, options)
    observation = synthetic_observation(bundle.manifest)
    prompt_tokens = _prompt_tokens(bundle, observation, options.instruction)
    prediction = _prediction(bundle, settings, target, prompt_tokens, steps)
    before = read_facts(machine)
    with closing(MemoryWatch(settings.device, machine)) as watch:
        told("engine")
        begun = time.perf_counter()
        with closing(wall_edge_engines.load(bundle, settings)) as engine:
            load_s = time.perf_counter() - begun
            run = _timed(bundle, engine, observation, options, machine, told, watch)
            attention, description = _attention(engine, bundle), engine.description
        memory = watch.memory()
    rows = _rows(run, prediction.floors, steps)
    power = draws(run.busy, run.idle, max(1, len(run.times[CHUNK])))
    return PolicyReport(
        not_comparable_because=tuple(_doubts(before, read_facts(machine), run, settings)),
        rows=rows,
        warm_up=WarmUp(load_s, 1e3 * run.first_chunk_s, options.warm_up),
        memory=memory,
        power=power,
        power_note="" if power else _no_power(run, machine),
        attention=attention,
        prediction=prediction,
        setup={
            **_setup(bundle, settings, options),
            "engine": description,
            "prompt_tokens": prompt_tokens,
            "integration_steps": steps,
        },
        board=before,
        busy_cores=run.other_cores,
        notes=(*_refusals(run), STAGES_APART, *missing_percentiles(rows)),
        provenance=provenance(*_VERSIONS),
    )


def _timed(
    bundle: Bundle,
    engine: Engine,
    observation: Observation,
    options: Options,
    machine: Tree,
    told: Callable[[str], None],
    watch: MemoryWatch,
) -> Run:
    """Sessions end here, before the engine is closed: what they hold of the device is given back too."""
    rig = PolicyRig(bundle, engine, observation, options.instruction, steps=options.steps)
    return timed_run(rig, options, rails(machine), told, watch.look)


def _require(bundle: Bundle, options: Options) -> None:
    require_words(options.instruction, "--instruction")
    require_fitting(options.instruction, bundle)
    if options.steps is not None:
        require_steps(bundle.manifest.actions, options.steps)


def _prompt_tokens(bundle: Bundle, observation: Observation, words: str) -> int:
    """Of the prompt that is timed. The longest states' would make a floor that can be beaten."""
    manifest = bundle.manifest
    said = said_state(manifest.embodiment.state, manifest.state_text, observation.state)
    return len(Prompts.of(bundle).action(words, said).ids)


def _steps(bundle: Bundle, options: Options) -> int | None:
    """Integration steps of a chunk; none of words."""
    return options.steps or bundle.manifest.actions.integration_steps


def _rows(run: Run, predicted: Mapping[str, Floor], steps: int | None) -> dict[str, Row]:
    spreads = {name: Spread.of(times) for name, times in run.times.items() if times}
    if steps is not None:
        spreads["step"] = spreads["action_loop"].divided(steps)
    rows = {}
    for name in TITLES:
        if name in spreads:
            words = TIMED["chunk_words" if name == CHUNK and steps is None else name]
            rows[name] = Row(spreads[name], words, predicted.get(name))
    return rows


def _prediction(
    bundle: Bundle, settings: EngineSettings, name: str | None, prompt_tokens: int, steps: int | None
) -> Prediction:
    device, no_target = target_for(name, settings)
    if device is None:
        return Prediction(None, {}, (no_target,))
    predicted, notes = floors(bundle, device, prompt_tokens, steps)
    return Prediction(device.name, predicted, (FLOOR, *notes))


def _attention(engine: Engine, bundle: Bundle) -> Attention:
    if not isinstance(engine, TensorRtEngine):
        return Attention({}, f"not told: {engine.description.split(',')[0]} is no TensorRT engine")
    graphs = attention_fusion(engine, bundle)
    return Attention({name: {"fused": graph.fused, **asdict(graph)} for name, graph in graphs.items()}, "")


def _no_power(run: Run, machine: Tree) -> str:
    if not rails(machine):
        return "not readable: no INA3221 or INA238 below /sys/class/hwmon"
    if run.refusal:
        return "not told: no chunk was timed"
    return "not readable: no monitor gave values all along"


def _refusals(run: Run) -> list[str]:
    return [f"no chunk to time end to end: {run.refusal}"] if run.refusal else []


def _doubts(before: Facts, after: Facts, run: Run, settings: EngineSettings) -> list[str]:
    device = settings.device
    integrated = device != "cpu" and Driver().facts(device_ordinal(device)).integrated
    return doubts(before, after, run.other_cores, run.seconds, device, integrated=integrated)


def _setup(bundle: Bundle, settings: EngineSettings, options: Options) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "bundle": bundle.digest,
        "recipe": manifest.recipe,
        "policy": manifest.policy,
        "cameras": {name: [camera.width, camera.height] for name, camera in manifest.cameras.items()},
        "image_tokens": sum(camera.tokens for camera in manifest.cameras.values()),
        "horizon": manifest.horizon,
        "device": settings.device,
        "threads": settings.threads if settings.device == "cpu" else None,
        "instruction": options.instruction,
        "repeats": options.repeats,
    }
