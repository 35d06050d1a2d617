"""Check a bundle against its goldens, stage by stage, so that a device can check itself.

The goldens are the float32 torch modules' results for one observation, recorded at export: a moment of the
calibration data where there is any (on noise, activations leave the calibrated ranges), else a synthetic one.
A stage is fed the *golden* result of the stage before it, so that what it shows is its own error: frames →
image tokens, golden image tokens → keys/values of every layer and text logits, golden keys/values and golden
noisy actions → the velocity of every step (the graph ``guided``, if any: velocity and guidance of the middle
one). The chunk, normalised and in physical units, is checked end to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from wall_edge_engines import Engine

from wall_edge.array_types import Array
from wall_edge.bundle import Bundle, Manifest, Tolerance, require_goldens, unchecked_stage
from wall_edge.policies.prompts import Prompts
from wall_edge.verification.comparison import StageCheck, compare
from wall_edge.verification.moment import Arrays
from wall_edge.verification.stages import Stages
from wall_edge.verification.tolerances import graphs_of, tolerances

FLOATS = {"fp32", "fp16", "bf16"}
WIDENED = 0.4
"""Of a half type's limit. The shipped policy's bf16 stages are 0.7 % off then, 1.8 % with all rounded."""


def verify(bundle: Bundle, engine: Engine) -> list[StageCheck]:
    """Compare every stage with the bundle's goldens; each must be there, and of the stage's shape."""
    manifest, goldens = bundle.manifest, bundle.goldens
    require_goldens(manifest, goldens, bundle.folder)
    for kind in _kinds(manifest):
        if kind not in manifest.tolerances:
            raise unchecked_stage(bundle.folder, f"no tolerance of {kind}", "one for every stage")
    stages = Stages(manifest, Prompts.of(bundle), engine, goldens)
    return list(_checks(stages, goldens, _limits(manifest, engine)))


def _limits(manifest: Manifest, engine: Engine) -> dict[str, Tolerance]:
    """The bundle's tolerances, closer where the engine computes half types in float32.

    There only the weights are rounded: what is as far off as a device may be is broken.
    """

    def limit(kind: str, tolerance: Tolerance) -> Tolerance:
        graphs = [graph for graph in graphs_of(kind, type(manifest.actions)) if graph in manifest.graphs]
        precisions = {p for graph in graphs for p in manifest.graphs[graph].families.values()}
        if precisions <= FLOATS and any(_widened(manifest, engine, graph) for graph in graphs):
            return replace(tolerance, limit=WIDENED * tolerance.limit)
        return tolerance

    return {kind: limit(kind, tolerance) for kind, tolerance in manifest.tolerances.items()}


def _widened(manifest: Manifest, engine: Engine, graph: str) -> bool:
    """Whether the engine takes float32 where the graph has a half type."""
    stored, computed = manifest.graphs[graph], engine.graphs[graph]
    return (stored.inputs, stored.outputs) != (computed.inputs, computed.outputs)


def _kinds(manifest: Manifest) -> list[str]:
    """The stages that this bundle has, as its tolerances name them."""
    families = {name: graph.families for name, graph in manifest.graphs.items()}
    return list(tolerances(families, manifest.embodiment, type(manifest.actions)))


def _checks(stages: Stages, goldens: Arrays, limits: Mapping[str, Tolerance]) -> Iterator[StageCheck]:
    def check(stage: str, kind: str, actual: Array, golden: Array) -> StageCheck:
        return compare(stage, actual, golden, limits[kind])

    yield check("action_prompt_ids", "action_prompt_ids", stages.prompt_ids(), goldens["action_prompt_ids"])
    whole = stages.actions.whole()
    yield check("image_embeds", "image_embeds", stages.session.image_embeds(), goldens["image_embeds"])

    stages.session.set_image_embeds(goldens["image_embeds"])
    stages.actions.prefill()
    actual, golden = stages.session.keys_values(), goldens["keys_values"]
    for layer in range(golden.shape[1]):
        for part, kind in enumerate(("keys", "values")):
            yield check(f"{kind}.{layer}", kind, actual[:, layer, part], golden[:, layer, part])

    yield from stages.actions.step_checks(goldens, check)
    yield from stages.actions.whole_checks(whole, goldens, check)

    stages.session.set_image_embeds(goldens["image_embeds"])
    words = stages.subgoal()
    yield check("text_logits", "text_logits", words["text_logits"], goldens["text_logits"])
    if "subgoal_ids" in limits:
        yield check("subgoal_ids", "subgoal_ids", words["subgoal_ids"], goldens["subgoal_ids"])
