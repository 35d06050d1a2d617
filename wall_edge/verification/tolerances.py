"""How far a stage may be off, by the precision of the graphs that it runs through."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle import ActionKind, Embodiment, Tolerance

_LIMITS = {"fp32": 1e-4, "fp16": 0.01, "bf16": 0.05, "int8-weights": 0.05, "int8": 0.10, "int4-weights": 0.20}
"""The tolerance table: relative L2 error that a stage may show, by the lowest precision it runs through.

int8's 0.10 is the gate of infinigence/ApxInf, bf16's 0.05 that of TensorRT ports of such models. With every
operator rounded, the shipped policy's worst stage is at 0.017 in bf16 and at 0.002 in fp16
(tests/golden/test_half_types.py). Actions have their own limits below.
"""
_ACTION_LIMITS = {
    "fp32": 1e-3,
    "fp16": 5e-3,
    "bf16": 0.05,
    "int8-weights": 0.03,
    "int8": 0.05,
    "int4-weights": 0.08,
}
"""Largest error of an action's degree of freedom, as a share of its normalisation range (its scale)."""

_COMMON = {
    "image_embeds": ("vision",),
    "keys": ("prefix",),
    "values": ("prefix",),
    "text_logits": ("prefix", "lm_head"),
}
"""The graphs whose precision shows in a stage, of those that every policy has."""


def tolerances(
    families: Mapping[str, Mapping[str, str]], embodiment: Embodiment, actions: type[ActionKind]
) -> dict[str, Tolerance]:
    """Limits of every kind of stage for graphs with these layer families' precisions."""
    limits: dict[str, Tolerance] = {}
    for stage, graphs in (_COMMON | dict(actions.stages)).items():
        if graphs == ("guided",) and "guided" not in families:  # an optional graph
            continue
        precisions = {p for graph in graphs for p in families.get(graph, {"": "fp32"}).values()}
        if graphs == ("guided",):  # float32 inside, behind keys/values as the prefix gives them
            precisions.add(families["prefix"].get("activations", "fp32"))
        if stage != "actions":
            limits[stage] = Tolerance("relative_l2", max(_LIMITS[precision] for precision in precisions))
            continue
        share = max(_ACTION_LIMITS[precision] for precision in precisions)
        for name, scale in zip(embodiment.action.names, embodiment.action.scale, strict=True):
            limits[f"{stage}.{name}"] = Tolerance("max_abs", share * scale)
    exact = all(precision == "fp32" for graph in families.values() for precision in graph.values())
    if exact:  # a rounded model may word a tie differently
        limits["subgoal_ids"] = Tolerance("max_abs", 0.0)
    limits["action_prompt_ids"] = Tolerance("max_abs", 0.0)
    return limits


def graphs_of(stage: str, actions: type[ActionKind]) -> tuple[str, ...]:
    """The graphs whose precision shows in a stage (``keys.3`` → ``prefix``)."""
    return (_COMMON | dict(actions.stages)).get(stage.split(".")[0], ())
