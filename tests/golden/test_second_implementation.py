"""Shapes beyond the published cases, against a second implementation that shares no code with ours.

It is written in numpy from the same facts and runs the whole sequence at every step, so neither a cached
prefix nor an expert's place in the sequence can be wrong in both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from wall_edge_export.reference import goldens as golden

from tests.golden.second_implementation.model import Model
from tests.golden.second_implementation.random_case import random_case
from tests.golden.second_implementation.settings import Settings
from tests.golden.second_implementation.shapes import SHAPES

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_it_agrees_with_the_published_cases(case: Path) -> None:
    with np.load(case / "case.npz") as file:
        arrays = {name: file[name] for name in file.files}
    outputs = Model(case, later="inference_times" in arrays).outputs(arrays)
    for name, value in outputs.items():
        np.testing.assert_allclose(value, arrays[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["reference", "onnxruntime"])
def test_ours_agrees_with_it(
    shape: str,
    backend: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    traced_once: Callable[[], AbstractContextManager[None]],
) -> None:
    random_case(tmp_path, SHAPES[shape], seed=list(SHAPES).index(shape))
    with traced_once():
        code = golden.main([str(tmp_path), "--backend", backend, "--json"])
    outputs = json.loads(capsys.readouterr().out)["cases"][str(tmp_path)]["outputs"]
    assert code == 0, outputs
    assert outputs["action_10_steps"]["tolerance"] <= 1e-3


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
