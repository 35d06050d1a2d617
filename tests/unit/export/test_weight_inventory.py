"""The one inventory of a model's weights: where each goes, what it is, and what it shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.model.inventory import Inventory, Weight, inventory, of_graph
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graphs import GRAPHS, GUIDED
from wall_edge_export.quantize.precision import load_recipe

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "golden" / "cases"
CHECKPOINTS = [ROOT / "examples" / "tabletop" / "checkpoint", *sorted(CASES.iterdir())]


def weights_of(folder: Path) -> Inventory:
    with torch.device("meta"):
        return inventory(WallModel(Checkpoint(folder).shape))


first, later, adaptive = (
    pytest.fixture(name=name, scope="module")(lambda case=case: weights_of(CASES / case))
    for name, case in (("first", "two_views"), ("later", "w05_causal"), ("adaptive", "w10_adaptive"))
)

each_checkpoint = pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)


@each_checkpoint
def test_it_has_every_weight_in_the_order_of_the_state(folder: Path) -> None:
    with torch.device("meta"):
        model = WallModel(Checkpoint(folder).shape)
    assert [(name, weight.name, weight.shape) for name, weight in inventory(model).items()] == [
        (name, name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()
    ]


@each_checkpoint
def test_every_matrix_has_a_family_where_it_is_used_and_nothing_else_has(folder: Path) -> None:
    """A matrix without a family, or the stream's type, would stay in float32 unseen; a norm with one would
    lose its precision."""
    recipe, weights = load_recipe("int8-int4"), weights_of(folder)
    used: dict[str, set[str]] = {graph: set() for graph in GRAPHS}
    for weight in weights.values():
        assert weight.graphs
        assert (GUIDED in weight.graphs) == ("expert" in weight.graphs)
        assert weight.matrix == (len(weight.shape) > 1)
        assert (weight.input_group is not None) == weight.matrix
        for graph in set(weight.graphs) - {GUIDED}:
            if weight.matrix and weight.layer is None:
                assert not weight.exact
                assert weight.name.endswith(".1.dense.weight")
            elif weight.matrix:
                assert weight.family in recipe.families(graph), weight.name
                used[graph].add(str(weight.family))
            else:
                assert weight.family is None
                assert recipe.precision(graph, weight) is None
                assert "norm" in weight.name or "ln_q" in weight.name or weight.name.endswith(".bias")
                assert weight.name.endswith(".bias") == (weight.layer is not None or not weight.exact)
    # The other way round: a recipe names only families that a layer is in, but for a state spelt in words.
    unused = set() if Checkpoint(folder).shape.state_token else {"action_head"}
    named = {graph: set(recipe.families(graph)) - {"activations"} for graph in GRAPHS}
    assert used == {**named, "prefix": named["prefix"] - unused}


@pytest.mark.parametrize(
    ("name", "graphs", "family"),
    [
        ("visual.patch_embed.proj.weight", "vision", "patch_embed"),
        ("visual.blocks.1.attn.qkv.weight", "vision", "attention"),
        ("visual.blocks.1.attn.proj.weight", "vision", "attention"),
        ("visual.blocks.1.attn.proj.bias", "vision", None),
        ("visual.blocks.0.mlp.down_proj.weight", "vision", "mlp"),
        ("visual.merger.mlp.2.weight", "vision", "merger"),
        ("visual.merger.ln_q.weight", "vision", None),
        ("model.embed_tokens.weight", "prefix", "embedding"),
        ("model.layers.1.self_attn.v_proj.weight", "prefix expert guided", "qkv"),
        ("model.layers.1.self_attn.q_proj.bias", "prefix expert guided", None),
        ("model.layers.1.self_attn.o_proj.weight", "prefix expert guided", "o"),
        ("model.layers.1.moe.experts.0.up_proj.weight", "prefix", "mlp"),
        ("model.layers.1.moe.experts.1.down_proj.weight", "expert guided", "mlp"),
        ("model.layers.1.input_layernorm.weight", "prefix expert guided", None),
        ("model.norm.weight", "prefix expert guided", None),
        ("action_preprocessor.propri_proj.weight", "prefix", "action_head"),
        ("action_preprocessor.w1.weight", "expert guided", "action_head"),
        ("action_preprocessor.action_proj_back.weight", "expert guided", "action_head"),
        ("lm_head.weight", "lm_head", "lm_head"),
    ],
)
def test_the_first_family(first: Inventory, name: str, graphs: str, family: str | None) -> None:
    assert (first[name].graphs, first[name].family) == (tuple(graphs.split()), family)


@pytest.mark.parametrize(
    ("name", "graphs", "family"),
    [
        ("model.layers.1.self_attn.q_proj_experts.0.weight", "prefix", "qkv"),
        ("model.layers.1.self_attn.q_proj_experts.0.bias", "prefix", None),
        ("model.layers.1.self_attn.k_proj_experts.1.weight", "expert guided", "qkv"),
        ("model.layers.1.self_attn.o_proj_experts.1.weight", "expert guided", "o"),
        ("model.layers.1.input_layernorms.0.weight", "prefix", None),
        ("model.layers.1.post_attention_layernorms.1.weight", "expert guided", None),
        ("model.norms.1.weight", "expert guided", None),
    ],
)
def test_what_an_expert_has_to_itself(later: Inventory, name: str, graphs: str, family: str | None) -> None:
    weight = later[name]
    assert (weight.graphs, weight.family) == (tuple(graphs.split()), family)
    assert weight.expert == (0 if graphs == "prefix" else 1)


def test_what_adaptive_norms_multiply_has_the_stream_s_type_and_their_condition_is_exact(
    adaptive: Inventory,
) -> None:
    for name, family, exact in (
        ("model.layers.0.input_layernorms.1.dense.weight", None, False),
        ("model.norms.1.dense.weight", None, False),
        ("action_preprocessor.time_mlp_in.weight", "action_head", True),
    ):
        weight = adaptive[name]
        assert (weight.graphs, weight.family, weight.exact) == (("expert", "guided"), family, exact)


def test_layers_that_read_one_input_share_its_name(first: Inventory, later: Inventory) -> None:
    attention, mlp = "model.layers.1.self_attn", "model.layers.1.moe.experts.1"
    assert groups(first, *(f"{attention}.{name}_proj" for name in "qkv")) == [f"{attention}.qkv_input"] * 3
    assert groups(first, f"{mlp}.gate_proj", f"{mlp}.up_proj") == [f"{mlp}.mlp_input"] * 2
    lone = (f"{attention}.o_proj", f"{mlp}.down_proj", "visual.blocks.0.attn.proj", "visual.merger.mlp.0")
    assert groups(first, *lone) == [f"{layer}.input" for layer in lone]
    for expert in (0, 1):
        own = [f"{attention}.{name}_proj_experts.{expert}" for name in "qkv"]
        assert groups(later, *own) == [f"{attention}.qkv_input.{expert}"] * 3


def groups(weights: Inventory, *layers: str) -> list[str | None]:
    return [weights[f"{layer}.weight"].input_group for layer in layers]


@each_checkpoint
def test_layers_that_share_an_input_take_as_much_of_it(folder: Path) -> None:
    by_group: dict[str, list[Weight]] = {}
    for weight in weights_of(folder).values():
        if weight.matrix:
            by_group.setdefault(str(weight.input_group), []).append(weight)
    for members in by_group.values():
        assert len({(m.shape[1:], m.family, m.graphs, m.part, m.exact) for m in members}) == 1


@each_checkpoint
def test_twice_a_layer_something_is_added_to_the_residual(folder: Path) -> None:
    shape, weights = Checkpoint(folder).shape, weights_of(folder)
    for graph, layers in (("vision", shape.vision.depth), ("prefix", shape.num_layers)):
        adding = [weight for weight in of_graph(weights, graph).values() if weight.residual]
        assert len(adding) == 2 * layers
        assert {weight.shape[0] for weight in adding} <= {shape.vision.hidden_size, shape.hidden_size}
