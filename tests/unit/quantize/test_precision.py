"""Recipes: every layer of every checkpoint has a precision, and a mistake in a recipe is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_export.onnx.graphs import GRAPHS, Activations
from wall_edge_export.quantize.precision import (
    CALIBRATED,
    INT4_BLOCKS,
    Precision,
    Recipe,
    int4_block,
    load_recipe,
    recipe_folder,
    recipe_names,
    summary,
)

from wall_edge.errors import ConfigError

ROOT = Path(__file__).parents[3]
NAMES, PRECISIONS = recipe_names(), get_args(Precision)


def write(path: Path, change: Any = None) -> str:
    """A recipe file like fp16's, with a change."""
    data = yaml.safe_load((recipe_folder() / "fp16.yaml").read_text())
    if change is not None:
        change(data)
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_the_recipes_that_the_documents_name_are_there() -> None:
    assert {"fp32", "fp16", "bf16", "int8", "int8-weights", "int4-weights", "int8-int8", "int8-int4"} <= set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_names_a_precision_for_every_family(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    for graph in GRAPHS:
        assert set(recipe.families(graph).values()) <= set(PRECISIONS)
        assert recipe.families(graph).get("action_head", "fp32") == "fp32"
        assert recipe.families(graph)["activations"] in ("fp32", "fp16", "bf16")
        assert recipe.families(graph)["activations"] != "fp16" or name == "fp16"
    used = {precision for graph in GRAPHS for precision in recipe.families(graph).values()}
    assert recipe.calibrated() == bool(used & set(CALIBRATED))
    assert recipe.calibrated(("lm_head",)) is False
    assert Recipe.from_dict(recipe.as_dict()) == recipe


def test_the_types_are_what_their_names_say() -> None:
    for name in ("fp32", "fp16", "bf16"):
        recipe = load_recipe(name)
        used = {p for graph in GRAPHS for f, p in recipe.families(graph).items() if f != "action_head"}
        assert used == {name}
        assert not recipe.calibrated()


@pytest.mark.parametrize("name", ["int9", "FP16", "", "nowhere/recipe", "fp16.txt"])
def test_an_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_recipe(name)
    for choice in (repr(name), "auto", "fp16", "int8-weights", "YAML"):
        assert choice in str(refused.value)


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", lambda d: d["expert"].update(mlp="int8-weights"))
    recipe = load_recipe(path)
    assert recipe.name == "mine"
    assert recipe.families("expert")["mlp"] == "int8-weights"
    assert recipe.families("prefix") == load_recipe("fp16").families("prefix")


def test_the_action_head_may_go_unsaid(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "short.yml", lambda d: d["expert"].pop("action_head")))
    assert recipe.families("expert")["action_head"] == "fp32"


def test_activations_that_go_unsaid_are_float32(tmp_path: Path) -> None:
    """As in every recipe that was written before there was a choice."""
    recipe = load_recipe(
        write(tmp_path / "old.yaml", lambda d: [d[graph].pop("activations") for graph in GRAPHS])
    )
    assert recipe.activations == Activations("float32", "float32")
    assert recipe.families("vision") == {**load_recipe("fp16").families("vision"), "activations": "fp32"}


def test_vision_may_have_other_activations_than_the_decoder(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "mixed.yaml", lambda d: d["vision"].update(activations="bf16")))
    assert recipe.activations == Activations(vision="bfloat16", decoder="float16")


@pytest.mark.parametrize("graph", ["prefix", "lm_head", "expert"])
def test_the_decoder_s_graphs_share_one_type_of_keys_and_values(tmp_path: Path, graph: str) -> None:
    path = write(tmp_path / "mixed.yaml", lambda d: d[graph].update(activations="bf16"))
    with pytest.raises(
        ConfigError,
        match=r"mixed\.yaml: \w+\.activations is '\w+'; expected .* as in prefix, whose keys/values it reads",
    ):
        load_recipe(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["vision"].update(mpl="fp16"), "vision.mpl"),
        (lambda d: d["vision"].pop("mlp"), "vision.mlp"),
        (lambda d: d.pop("lm_head"), "lm_head"),
        (lambda d: d.update(text={"mlp": "fp16"}), "text"),
        (lambda d: d["prefix"].update(qkv="int7"), "prefix.qkv"),
        (lambda d: d["prefix"].update(qkv=16), "prefix.qkv"),
        (lambda d: d["prefix"].update(embedding="int8"), "prefix.embedding"),
        (lambda d: d["vision"].update(patch_embed="int4-weights"), "vision.patch_embed"),
        (lambda d: d["lm_head"].update(lm_head="int8"), "lm_head.lm_head"),
        (lambda d: d["lm_head"].update(lm_head="int4-weights"), "lm_head.lm_head"),
        (lambda d: d["expert"].update(action_head="fp16"), "expert.action_head"),
        (lambda d: d["vision"].update(activations="int8"), "vision.activations"),
        (lambda d: d["lm_head"].update(activations="float16"), "lm_head.activations"),
        (lambda d: d["prefix"].update(action_head="int8"), "prefix.action_head"),
        (lambda d: d.update(name="other"), "no recipe"),
        (lambda d: d.update(expert=None), "expert"),
    ],
)
def test_a_mistake_is_refused_by_name(tmp_path: Path, change: Any, named: str) -> None:
    path = write(tmp_path / "mine.yaml", change)
    with pytest.raises(ConfigError) as refused:
        load_recipe(path)
    assert path in str(refused.value)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"- fp16", b"fp16", b"a: [", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_recipe(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_a_recipe_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="precision"):
            load_recipe(str(path))


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ({"lm_head": "fp16"}, "fp16"),
        ({"action_head": "fp32", "qkv": "fp16", "o": "fp16", "mlp": "fp16"}, "fp16"),
        ({"action_head": "fp32", "qkv": "fp32"}, "fp32"),
        ({"embedding": "fp16", "qkv": "int8", "mlp": "int8", "action_head": "fp32"}, "int8+fp16"),
        ({"qkv": "fp16", "o": "int8-weights", "mlp": "int4-weights"}, "int4-weights+int8-weights+fp16"),
        ({"o": "int8", "mlp": "int8-weights"}, "int8+int8-weights"),
        ({"activations": "bf16", "lm_head": "int8-weights"}, "int8-weights+bf16"),
        ({"activations": "bf16", "action_head": "fp32", "mlp": "bf16"}, "bf16"),
    ],
)
def test_a_summary_begins_with_the_lowest_precision(families: dict[str, str], expected: str) -> None:
    assert summary(families) == expected
    assert summary(dict(reversed(families.items()))) == expected


@given(st.sampled_from(NAMES), st.data())
def test_with_family_changes_that_family_alone(name: str, data: st.DataObject) -> None:
    recipe = load_recipe(name)
    graph = data.draw(st.sampled_from(["vision", "prefix", "expert"]))
    layer = data.draw(st.sampled_from(sorted({"mlp", "o", "qkv", "attention"} & set(recipe.families(graph)))))
    precision = data.draw(st.sampled_from(PRECISIONS))
    changed = recipe.with_family(graph, layer, precision)
    assert changed.families(graph) == {**recipe.families(graph), layer: precision}
    assert all(changed.families(other) == recipe.families(other) for other in GRAPHS if other != graph)
    assert changed.name == name
    assert recipe == load_recipe(name)


@pytest.mark.parametrize(
    ("graph", "layer", "precision"),
    [("expert", "action_head", "fp16"), ("vision", "qkv", "fp16"), ("prefix", "mlp", "int3")],
)
def test_with_family_takes_no_nonsense(graph: str, layer: str, precision: str) -> None:
    with pytest.raises(ConfigError, match=layer):
        load_recipe("fp16").with_family(graph, layer, precision)


@given(st.integers(1, 20000))
def test_a_block_of_4_bit_weights_divides_the_inputs(columns: int) -> None:
    """TensorRT infers the block from the number of scales: a short last one would shift all the others."""
    if columns % min(INT4_BLOCKS):
        with pytest.raises(ConfigError, match=rf"layer\.weight with {columns} inputs"):
            int4_block("layer.weight", columns)
    else:
        block = int4_block("layer.weight", columns)
        assert columns % block == 0
        assert not any(columns % larger == 0 for larger in INT4_BLOCKS if larger > block)


@pytest.mark.parametrize("columns", [2048, 11008, 1280, 5120, 1024, 64])
def test_wall_oss_has_blocks_that_tensorrt_has_a_kernel_for(columns: int) -> None:
    assert int4_block("layer.weight", columns) == 64
