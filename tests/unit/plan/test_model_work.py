"""The workload of a model nobody exported: held against plain arithmetic, and what must hold of any."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from wall_edge_engines.plan.workload import Workload
from wall_edge_export.model.inventory import inventory, of_graph
from wall_edge_export.onnx.trace import hollow_model
from wall_edge_export.plan import model_work
from wall_edge_export.plan.model_work import ModelWork, model_workload
from wall_edge_export.plan.products import run_hollow
from wall_edge_export.plan.source import plan_source
from wall_edge_export.quantize.precision import load_recipe, recipe_names
from wall_edge_export.quantize.weight_bytes import weight_bytes

from wall_edge.errors import ConfigError

TINY = plan_source("tiny", 2)


def total(operations: Mapping[str, int]) -> int:
    return sum(operations.values())


@pytest.fixture(scope="module")
def tiny() -> dict[str, Workload]:
    work = ModelWork(TINY.shape, TINY.graph_inputs)
    return {
        name: work.workload(load_recipe(name), TINY.prompt_tokens)
        for name in recipe_names()
        if "int4" not in name  # 40 inputs of an action MLP take no 4-bit blocks
    }


def test_a_recipe_changes_bytes_and_types_but_no_operation(tiny: dict[str, Workload]) -> None:
    exact = tiny["fp32"]
    for name, workload in tiny.items():
        assert workload.uses.keys() == exact.uses.keys()
        for use, work in workload.uses.items():
            assert total(work.operations) == total(exact.uses[use].operations), (name, use)
            assert work.weight_bytes <= exact.uses[use].weight_bytes, (name, use)
    assert set(exact.uses["prefix"].operations) == {"fp32"}
    assert set(tiny["bf16"].uses["prefix"].operations) == {"bf16", "fp32"}  # the state's product
    assert set(tiny["int8"].uses["prefix"].operations) == {"int8", "bf16", "fp32"}
    assert set(tiny["int8-weights"].uses["expert"].operations) == {"bf16", "fp32"}, "weights alone are 8-bit"
    half = tiny["bf16"]
    assert (half.activation_bytes, exact.activation_bytes) == (2, 4)
    assert 2 * half.cache_token_bytes == exact.cache_token_bytes


def test_one_model_in_several_recipes_is_what_each_alone_is(tiny: dict[str, Workload]) -> None:
    alone = model_workload(TINY.shape, TINY.graph_inputs, load_recipe("int8"), TINY.prompt_tokens)
    assert alone == tiny["int8"]


def test_all_weights_are_read_but_the_table_s_rows(tiny: dict[str, Workload]) -> None:
    workload = tiny["fp32"]
    for graph in ("vision", "expert", "lm_head"):
        assert workload.uses[graph].weight_bytes == workload.stored_bytes[graph]
    rows, width = TINY.shape.vocab_size, TINY.shape.hidden_size
    for use, tokens in (("prefix", TINY.prompt_tokens), ("word", 1)):
        unread = workload.stored_bytes["prefix"] - workload.uses[use].weight_bytes
        assert unread == (rows - tokens) * width * 4


def test_weights_have_the_bytes_of_their_tensors() -> None:
    sizes = weight_bytes(TINY.shape, TINY.graph_inputs, load_recipe("fp32"))
    weights = inventory(hollow_model(TINY.shape))
    for graph, stored in sizes.items():
        assert stored == {name: 4 * math.prod(w.shape) for name, w in of_graph(weights, graph).items()}


def test_a_guided_graph_is_stored_and_no_use() -> None:
    guided = replace(TINY.graph_inputs, guidance=True)
    plain = model_workload(TINY.shape, TINY.graph_inputs, load_recipe("bf16"), TINY.prompt_tokens)
    workload = model_workload(TINY.shape, guided, load_recipe("bf16"), TINY.prompt_tokens)
    assert workload.uses == plain.uses
    exact = model_workload(TINY.shape, TINY.graph_inputs, load_recipe("fp32"), TINY.prompt_tokens)
    assert workload.stored_bytes == {**plain.stored_bytes, "guided": exact.stored_bytes["expert"]}


def test_a_trimmed_vocabulary_head_has_fewer_rows() -> None:
    trimmed = replace(TINY.graph_inputs, head_rows=100)
    workload = model_workload(TINY.shape, trimmed, load_recipe("fp32"), TINY.prompt_tokens)
    width = TINY.shape.hidden_size
    assert workload.stored_bytes["lm_head"] == workload.uses["lm_head"].weight_bytes == 100 * width * 4
    assert workload.uses["lm_head"].operations == {"fp32": 2 * 2 * 100 * width}, (
        "one row of two is for nothing"
    )


def test_fast_actions_have_no_expert() -> None:
    source = plan_source("tiny-fast", 1)
    workload = model_workload(source.shape, source.graph_inputs, load_recipe("fp32"), source.prompt_tokens)
    assert list(workload.uses) == ["vision", "prefix", "word", "lm_head"]
    assert "expert" not in workload.stored_bytes


def test_what_the_recipe_cannot_hold_is_named() -> None:
    with pytest.raises(ConfigError, match="40 inputs in int4-weights; expected a multiple of 16"):
        model_workload(TINY.shape, TINY.graph_inputs, load_recipe("int4-weights"), TINY.prompt_tokens)


@pytest.mark.parametrize("tokens", [0, 126, 32_769])
def test_a_prompt_that_cannot_be(tokens: int) -> None:
    with pytest.raises(ConfigError, match="expected more than the images' 126, at most 32768"):
        model_workload(TINY.shape, TINY.graph_inputs, load_recipe("fp32"), tokens)


class Mixed(nn.Module):
    """Every way to multiply that the stages use, and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.plain = nn.Linear(6, 8), nn.Linear(6, 8, bias=False)
        self.table, self.idle = nn.Embedding(50, 6), nn.Linear(2, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        scores = self.linear(x).reshape(2, 2, -1) @ self.plain(x).reshape(2, 2, -1).transpose(-1, -2)
        return scores + torch.ones(3, 2).T @ torch.ones(3, 2)


def test_products_are_listed_with_what_they_read() -> None:
    run = run_hollow(Mixed(), [((4,), torch.int64)])
    assert [(p.weight, p.operations) for p in run.products] == [
        ("linear.weight", 2 * 4 * 6 * 8),
        ("plain.weight", 2 * 4 * 6 * 8),
        (None, 2 * 2 * 2 * 2 * 8),
        (None, 2 * 2 * 3 * 2),
    ]
    assert run.read == {"linear.weight", "linear.bias", "plain.weight"}
    assert run.rows == {"table.weight": 4}


class Convolving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def test_a_product_without_a_rule_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"convolution.*a product whose operations nobody counts"):
        run_hollow(Convolving(), [((1, 2, 3), torch.float32)])


def test_a_linear_layer_that_no_product_shows_is_an_error() -> None:
    source = plan_source("tiny", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            model_work,
            "run_hollow",
            lambda module, inputs: replace(run_hollow(module, inputs), products=()),
        )
        with pytest.raises(ConfigError, match=r"vision: the product of .* is not seen"):
            model_workload(source.shape, source.graph_inputs, load_recipe("fp32"), source.prompt_tokens)
