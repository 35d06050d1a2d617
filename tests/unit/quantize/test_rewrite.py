"""Graphs in every precision: valid, of standard operators only, every weight stored once and as asked."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from wall_edge_engines import OnnxRuntimeEngine
from wall_edge_engines.element_types import ONNX
from wall_edge_export.model.inventory import inventory, of_graph
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS
from wall_edge_export.onnx.linear import weights_of
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.streaming_model import weight_reader

from tests.golden_graphs import RECIPES, Workbench, Written, run_graph
from wall_edge.arrays import relative_l2
from wall_edge.bundle import file_digest
from wall_edge.errors import CheckpointError, ConfigError

each_recipe = pytest.mark.parametrize("name", RECIPES)
each_graph = pytest.mark.parametrize("graph", GRAPHS)


@each_recipe
@each_graph
def test_the_graph_is_valid_and_of_standard_operators(bench: Workbench, name: str, graph: str) -> None:
    made = bench.written(name)
    onnx.checker.check_model(str(made.folder / f"{graph}.onnx"), full_check=True)
    model = made.graph(graph)
    int4 = "int4-weights" in made.recipe.families(graph).values()
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 21 if int4 else 20)}
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute)


@each_recipe
@each_graph
def test_inputs_and_outputs_are_what_the_manifest_says(bench: Workbench, name: str, graph: str) -> None:
    model, spec = bench.written(name).graph(graph), bench.written(name).specs[graph]
    for values, wanted in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        assert [value.name for value in values] == list(wanted)
        for value, tensor in zip(values, wanted.values(), strict=True):
            axes = value.type.tensor_type.shape.dim
            assert value.type.tensor_type.elem_type == ONNX[tensor.dtype]
            assert [not axis.dim_param and axis.dim_value for axis in axes] == [
                not isinstance(size, str) and size for size in tensor.shape
            ]


def made_of(bench: Workbench, made: Written, graph: str) -> dict[str, tuple[str, ...]]:
    """The graph's weight tensors with the checkpoint's names of what each is made of."""
    model = bench.traced(graph, made.recipe)
    return {str(v.name): weights_of(v) for v in model.graph.initializers.values() if weights_of(v)}


@each_recipe
@each_graph
def test_every_weight_is_stored_once_and_as_the_recipe_says(bench: Workbench, name: str, graph: str) -> None:
    kinds = {
        "fp32": TensorProto.FLOAT,
        "fp16": TensorProto.FLOAT16,
        "bf16": TensorProto.BFLOAT16,
        "int8": TensorProto.INT8,
        "int8-weights": TensorProto.INT8,
        "int4-weights": TensorProto.INT4,
    }
    made = bench.written(name)
    families = made.recipe.families(graph)
    stored = {t.name: t for t in made.graph(graph).graph.initializer}
    assert len(stored) == len(made.graph(graph).graph.initializer)
    weights = of_graph(inventory(bench.model), graph)
    held: Counter[str] = Counter()
    for tensor, names in made_of(bench, made, graph).items():
        layer = weights[names[0]].family
        exact = "norm" in tensor or "ln_q" in tensor
        precision = families[layer] if layer else "fp32" if exact else families["activations"]
        assert stored[tensor].data_type == kinds[precision], tensor
        assert math.prod(stored[tensor].dims) == sum(math.prod(weights[w].shape) for w in names)
        held.update(names)
    assert held == Counter(list(weights))
    # What else is there are scales, and tables that the model computes from nothing.
    for other in (t for t in stored.values() if t.name not in made_of(bench, made, graph)):
        assert other.data_type != TensorProto.INT4
        if not other.external_data:
            values = np.sort(onnx.numpy_helper.to_array(other), axis=None)
            state = {w: bench.model.state_dict()[w] for w in weights}
            same = [t for t in state.values() if t.numel() == values.size and t.ndim > 1]
            assert not any(np.allclose(values, np.sort(t.numpy(), axis=None)) for t in same)


@each_recipe
@each_graph
def test_the_data_file_holds_the_weights_and_nothing_else(bench: Workbench, name: str, graph: str) -> None:
    made = bench.written(name)
    spans = []
    for tensor in made.graph(graph).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            assert entries["location"] == f"{graph}.data"
            spans.append((int(entries["offset"]), int(entries["length"])))
    spans.sort()
    assert spans[0][0] == 0
    for (start, size), (then, _) in itertools.pairwise(spans):
        assert start % 64 == 0
        assert 0 <= then - (start + size) < 64
    data = made.folder / f"{graph}.data"
    assert data.stat().st_size == sum(spans[-1])
    for path in (data, made.folder / f"{graph}.onnx"):
        assert made.digests[path.name] == file_digest(path)


@pytest.mark.parametrize("name", ["int8", "all int8"])
@pytest.mark.parametrize("graph", ["vision", "prefix", "expert"])
def test_layers_that_read_one_input_share_its_quantisation(bench: Workbench, name: str, graph: str) -> None:
    model = bench.written(name).graph(graph).graph
    producer = {output: node for node in model.node for output in node.output}
    quantised = [node for node in model.node if node.op_type == "QuantizeLinear"]
    sources = [producer[node.input[0]].input[0] for node in quantised]
    assert len(sources) == len(set(sources)), "a tensor is rounded twice"

    families = bench.written(name).recipe.families(graph)
    groups: dict[str, set[str]] = {}
    weights = inventory(bench.model)
    for tensor, names in made_of(bench, bench.written(name), graph).items():
        if families.get(weights[names[0]].family or "") == "int8":
            widened = next(n for n in model.node if n.input[:1] == [tensor])
            gemm = next(n for n in model.node if widened.output[0] in n.input)
            rounding = producer[producer[gemm.input[0]].input[0]]
            assert rounding.op_type == "QuantizeLinear"
            groups.setdefault(str(weights[names[0]].input_group), set()).add(rounding.input[1])
    assert all(scales == {f"{group}.input_scale"} for group, scales in groups.items())
    # Only the last prefix layer asks for its last token alone, so its query reads a tensor of its own.
    assert len(quantised) == len(groups) + (graph == "prefix")


@pytest.mark.parametrize("graph", ["vision", "prefix", "expert"])
def test_a_family_of_another_type_casts_an_input_once(bench: Workbench, graph: str) -> None:
    casts = [
        node.input[0]
        for node in bench.written("all fp16").graph(graph).graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
    ]
    assert casts
    assert max(Counter(casts).values()) == 1


@each_recipe
@pytest.mark.parametrize("graph", ["vision", "prefix", "expert"])
def test_what_reads_one_input_is_one_product(bench: Workbench, name: str, graph: str) -> None:
    made = bench.written(name)
    model = made.graph(graph).graph
    merged = [names for names in made_of(bench, made, graph).values() if len(names) > 1]
    layers = {tuple(w.rsplit(".", 2)[1] for w in names) for names in merged}
    gate_up = {("gate_proj", "up_proj")}
    qkv = {("q_proj", "k_proj", "v_proj")}
    # Vision's q, k and v are one weight already; the last prefix layer's query reads its last token.
    assert layers == gate_up | {"vision": set(), "expert": qkv, "prefix": qkv | {("k_proj", "v_proj")}}[graph]
    splits = [node for node in model.node if node.op_type == "Split" and ".rows" in node.input[1]]
    biases = sum(names[0].endswith(".bias") for names in merged)
    assert len(splits) == len(merged) - biases


def test_scales_are_of_the_type_of_the_products(bench: Workbench) -> None:
    """TensorRT on Orin fails otherwise (NVIDIA/TensorRT#4832)."""
    for graph, name in itertools.product(("vision", "prefix", "expert"), RECIPES):
        made = bench.written(name)
        kind = {"fp32": 1, "fp16": 10, "bf16": 16}[made.recipe.families(graph)["activations"]]
        scales = ("scale", "inverse_smoothing")
        stored = [t for t in made.graph(graph).graph.initializer if t.name.endswith(scales)]
        assert {t.data_type for t in stored} <= {kind}


def test_scales_that_half_precision_cannot_hold_are_refused(bench: Workbench, tmp_path: Path) -> None:
    def tiny(name: str) -> torch.Tensor:
        return weight_reader(bench.case.checkpoint)(name) * 1e-5

    recipe = load_recipe("fp16").with_family("expert", "mlp", "int8-weights")
    writer = GraphWriter(bench.model.shape, bench.case.graph_inputs, tiny)
    with pytest.raises(CheckpointError, match=r"\.scale holds scales from .* activations in bf16"):
        writer.write("expert", recipe, tmp_path)
    writer.write("expert", load_recipe("bf16").with_family("expert", "mlp", "int8-weights"), tmp_path)


@each_graph
def test_a_recipe_leaves_no_trace_in_the_next(bench: Workbench, tmp_path: Path, graph: str) -> None:
    """Precisions once stuck to the traced graph: float32 after int8 was refused, after fp16 it was fp16."""
    digests = []
    for number, name in enumerate(
        ("fp32", "fp16", "fp32", "all int8", "fp32", "bf16", "all int4-weights", "fp32")
    ):
        recipe = RECIPES.get(name) or load_recipe(name)
        (folder := tmp_path / str(number)).mkdir()
        written = bench.writer.write(graph, recipe, folder, bench.calibrated.get(graph))
        if name == "fp32":
            digests.append(written)
    assert all(entry == digests[0] for entry in digests)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8-weights"])
def test_a_trimmed_head_holds_the_rows_that_were_asked_for(
    bench: Workbench, tmp_path: Path, precision: str
) -> None:
    """Traced with all of its rows, the head once refused the few that were given."""
    rows = [3, 17, 200]
    given = replace(bench.case.graph_inputs, head_rows=len(rows))
    writer = GraphWriter(bench.model.shape, given, weight_reader(bench.case.checkpoint, rows))
    recipe = load_recipe("fp32").with_family("lm_head", "lm_head", precision)
    writer.write("lm_head", recipe, tmp_path)
    spec = writer.spec("lm_head", recipe)
    assert spec.outputs["logits"].shape == (3,)
    found = run_graph(OnnxRuntimeEngine(tmp_path, {"lm_head": spec}), "lm_head", bench.inputs["lm_head"])
    whole = bench.run_modules(bench.model, "lm_head")
    assert whole.shape == (256,)
    assert (
        relative_l2(found, whole[rows])
        < {"fp32": 1e-5, "fp16": 2e-3, "bf16": 1e-2, "int8-weights": 0.03}[precision]
    )


def test_a_layer_that_takes_no_blocks_is_refused_by_name(bench: Workbench, tmp_path: Path) -> None:
    recipe = load_recipe("int4-weights")
    for layer in ("qkv", "o"):
        recipe = recipe.with_family("expert", layer, "fp32")
    with pytest.raises(ConfigError, match=r"down_proj\.weight with 40 inputs"):
        bench.writer.write("expert", recipe, tmp_path)


def test_a_weight_that_tracing_lost_is_missed(bench: Workbench, tmp_path: Path) -> None:
    writer = GraphWriter(bench.model.shape, bench.case.graph_inputs, weight_reader(bench.case.checkpoint))
    writer.write("lm_head", load_recipe("fp32"), tmp_path)
    (traced,) = writer._traced.values()
    for value in traced.graph.initializers.values():
        value.metadata_props.clear()
    with pytest.raises(CheckpointError, match=r"lm_head\.weight"):
        writer.write("lm_head", load_recipe("fp32"), tmp_path)
