"""Shapes beyond the published cases, against a second implementation that shares no code with ours.

It is written in numpy from the same facts and runs the whole sequence at every step, so neither a cached
prefix nor an expert's place in the sequence can be wrong in both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from wall_edge_export.reference import goldens as golden

from tests.golden.second_implementation.model import Model
from tests.golden.second_implementation.random_case import random_case
from tests.golden.second_implementation.settings import IMAGE_TOKEN, Settings
from tests.golden.second_implementation.shapes import SHAPES
from tests.golden.second_implementation.weights import read, write

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


# A trace takes seconds, so graphs are made of the shapes that differ most.
TRACED = [
    "first_family_both_experts_narrow",
    "shared_norms_narrow_action_expert",
    "shared_attention_adaptive_norms",
    "no_mask_half_dead",
    "tied_further_rows_padded_vision",
    "everything_at_once",
    "shared_attention_narrow_adaptive_norms",
    "narrow_text_expert",
]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_it_agrees_with_the_published_cases(case: Path) -> None:
    with np.load(case / "case.npz") as file:
        arrays = dict(file)
    outputs = Model(case, later="inference_times" in arrays).outputs(arrays)
    for name, value in outputs.items():
        np.testing.assert_allclose(value, arrays[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_our_reference_agrees_with_it(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _assert_agreement(shape, "reference", tmp_path, capsys)


@pytest.mark.parametrize("shape", TRACED)
def test_our_graphs_agree_with_it(
    shape: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    traced_once: Callable[[], AbstractContextManager[None]],
) -> None:
    with traced_once():
        _assert_agreement(shape, "onnxruntime", tmp_path, capsys)


@pytest.mark.parametrize(
    "other",
    [
        {"causal": True},
        {"predicts_action": True},
        {"shift": 2.0},
        {"scale": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_of_the_config_that_is_not_obeyed_shows(
    other: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(dead=(5, 6))
    random_case(tmp_path, settings, seed=0)
    assert golden.main([str(tmp_path)]) == 0
    changed = replace(settings, **other)  # type: ignore[arg-type]
    (tmp_path / "config.json").write_text(json.dumps(changed.config()))
    capsys.readouterr()
    assert golden.main([str(tmp_path), "--json"]) == 1
    printed = capsys.readouterr()
    if {"shift", "scale"} & set(other):  # the case has its times, too
        assert "inference_times" in printed.err
    else:
        assert json.loads(printed.out)["cases"][str(tmp_path)]["outputs"]["text_logits"]["ok"]


def test_an_image_pad_that_the_model_wrote_is_a_word(tmp_path: Path) -> None:
    """It took an image token's embedding; upstream has no images at hand when it goes on."""
    case = Path(shutil.copytree(CASES[0].with_name("w10_adaptive"), tmp_path / "case"))
    tensors = {name: value.astype(np.float32) for name, value in read(case / "model.safetensors").items()}
    with np.load(case / "case.npz") as file:
        arrays = dict(file)
    head = tensors["lm_head.weight"]
    head[IMAGE_TOKEN] = 1.5 * head[arrays["greedy_text_ids"][0]]
    write(case / "model.safetensors", tensors)
    outputs = Model(case, later=True).outputs(arrays, steps=())
    assert (outputs["greedy_text_ids"] == IMAGE_TOKEN).any()
    arrays |= {name: outputs[name] for name in ("text_logits", "greedy_text_ids")}
    np.savez(case / "case.npz", **arrays)
    assert golden.main([str(case)]) == 0


def _assert_agreement(shape: str, backend: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_case(folder, SHAPES[shape], seed=list(SHAPES).index(shape))
    code = golden.main([str(folder), "--backend", backend, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.out or printed.err
    outputs = json.loads(printed.out)["cases"][str(folder)]["outputs"]
    assert {"text_logits", "greedy_text_ids", "action_1_steps", "action_10_steps"} <= set(outputs)
