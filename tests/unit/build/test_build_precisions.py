"""A precision that a target lacks is refused with the nearest that works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from wall_edge_engines.build.targets.precisions import (
    nearest,
    parser_doubts,
    recommendation,
    require_precisions,
)
from wall_edge_engines.build.targets.selection import Selection
from wall_edge_engines.build.targets.target import Target, named_target, target_of
from wall_edge_engines.cuda.driver import DeviceFacts

from wall_edge.bundle import PRECISIONS, Bundle, Manifest
from wall_edge.errors import EngineError

TURING = target_of(DeviceFacts("T4", 75, 16 << 30, integrated=False, driver="12.6"))


@pytest.fixture(scope="module")
def manifest(shipped_bundle: Path) -> Manifest:
    return Bundle(shipped_bundle).manifest


def with_family(manifest: Manifest, graph: str, family: str, precision: str) -> Manifest:
    spec = manifest.graphs[graph]
    changed = replace(spec, families={**spec.families, family: precision})
    return replace(manifest, graphs={**manifest.graphs, graph: changed}, recipe=precision)


@pytest.mark.parametrize("name", ["orin-agx-64", "orin-nano-8", "thor", "h100", "sm86-check"])
def test_every_precision_exists_on_every_target(manifest: Manifest, name: str) -> None:
    for precision in PRECISIONS:
        require_precisions(with_family(manifest, "expert", "mlp", precision), named_target(name))


@pytest.mark.parametrize(
    ("precision", "instead"),
    [("int8", "fp16"), ("int8-weights", "fp16"), ("int4-weights", "fp16")],
)
def test_what_turing_lacks(manifest: Manifest, precision: str, instead: str) -> None:
    with pytest.raises(EngineError) as refused:
        require_precisions(with_family(manifest, "expert", "mlp", precision), TURING)
    text = str(refused.value)
    assert f"graph expert, mlp: {precision} does not exist on T4 (SM75); expected fp32, fp16" in text
    assert f"the nearest there is {instead}: export again with --precision {instead}" in text


@pytest.mark.parametrize(
    ("precision", "lacking", "instead"),
    [
        ("fp32", (), "fp32"),
        ("bf16", ("bf16",), "fp32"),  # not fp16: it would overflow
        ("int4-weights", ("int4",), "int8-weights"),
        ("int4-weights", ("int4", "int8"), "fp16"),
        ("int8", ("int8", "fp16"), "fp32"),
        ("int8-int4", (), "bf16"),  # a recipe of several precisions: what the target is best at
    ],
)
def test_the_nearest(precision: str, lacking: tuple[str, ...], instead: str) -> None:
    agx = named_target("orin-agx-64")
    poor: Target = replace(agx, element_types=tuple(t for t in agx.element_types if t not in lacking))
    assert nearest(precision, poor) == instead


def test_a_recipe_that_is_not_recommended_is_named_not_refused(manifest: Manifest) -> None:
    agx = named_target("orin-agx-64")
    note = "fp32 is not a recipe for Jetson AGX Orin 64 GB: better bf16 or int8-int8"
    assert recommendation(manifest, agx) == [note]
    assert recommendation(replace(manifest, recipe="int8-int8"), agx) == []


def unfit(bundle: Bundle) -> None:
    """Put an operator in that TensorRT 10.3 does not have."""
    path = bundle.folder / bundle.manifest.graphs["lm_head"].file
    model = onnx.load(path, load_external_data=False)
    next(node for node in model.graph.node if node.op_type == "ArgMax").op_type = "Bernoulli"
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("compiler", "version", "doubted"),
    [
        ("tensorrt", "10.3.0.30", True),
        ("tensorrt", "10.13.3", True),
        ("tensorrt", "10.14.1", False),
        ("tensorrt", "11.4.1", False),
        ("tensorrt-rtx", "1.7.1.116", False),
    ],
)
def test_what_an_early_parser_may_not_take(
    copy_bundle: Callable[[], Bundle], compiler: str, version: str, doubted: bool
) -> None:
    bundle = copy_bundle()
    selection = Selection(compiler, version, named_target("orin-agx-64"), None)
    assert parser_doubts(bundle, selection) == []
    unfit(bundle)
    doubts = parser_doubts(bundle, selection)
    assert bool(doubts) == doubted
    assert all(line.startswith(f"graph lm_head: TensorRT {version} may not take this: ") for line in doubts)
