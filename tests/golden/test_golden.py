"""The published golden cases through every backend, and a check that the check can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from wall_edge_export.reference import goldens as golden

from tests.doubles.installed import gpu_or_double

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize("backend", golden.BACKENDS)
def test_every_output_agrees(
    case: Path,
    backend: str,
    capsys: pytest.CaptureFixture[str],
    traced_once: Callable[[], AbstractContextManager[None]],
) -> None:
    with traced_once(), gpu_or_double(backend):
        assert golden.main([str(case), "--backend", backend, "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["cases"][str(case)]["outputs"]
    assert set(outputs) == {
        "image_embeds",
        "position_ids",
        "action_1_steps",
        "action_9_steps",
        "action_10_steps",
        "text_logits",
        "greedy_text_ids",
    }
    assert outputs["position_ids"]["tolerance"] == 0
    assert outputs["greedy_text_ids"]["tolerance"] == 0


def _with_array(case: Path, folder: Path, name: str, change: object) -> Path:
    copy = Path(shutil.copytree(case, folder / "changed"))
    with np.load(case / "case.npz") as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    changed[name] = change(changed[name])  # type: ignore[operator]
    np.savez(copy / "case.npz", **changed)
    return copy


@pytest.mark.parametrize("name", ["image_embeds", "action_10_steps", "text_logits"])
def test_a_difference_past_tolerance_exits_1(name: str, golden_case: Path, tmp_path: Path) -> None:
    assert golden.main([str(_with_array(golden_case, tmp_path, name, lambda a: a + 2e-4))]) == 1


def test_one_wrong_token_exits_1(golden_case: Path, tmp_path: Path) -> None:
    def bump(ids: np.ndarray) -> np.ndarray:
        ids[3] += 1
        return ids

    assert golden.main([str(_with_array(golden_case, tmp_path, "greedy_text_ids", bump))]) == 1


def test_left_padding_changes_nothing(golden_case: Path, tmp_path: Path) -> None:
    """Padded tokens are masked and stand at position 1, as the reference places them."""
    copy = Path(shutil.copytree(golden_case, tmp_path / "padded"))
    with np.load(golden_case / "case.npz") as file:
        arrays = {key: file[key] for key in file.files}
    pads = 5
    arrays["input_ids"] = np.pad(arrays["input_ids"], ((0, 0), (pads, 0)))
    arrays["attention_mask"] = np.pad(arrays["attention_mask"], ((0, 0), (pads, 0)))
    arrays["position_ids"] = np.pad(arrays["position_ids"], ((0, 0), (0, 0), (pads, 0)), constant_values=1)
    np.savez(copy / "case.npz", **arrays)
    assert golden.main([str(copy)]) == 0


def test_a_missing_case_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert golden.main([str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no such folder" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("inference_times", lambda _: np.zeros((1000, 1000), np.float32), "float32 of shape [1000, 1000]"),
        ("inference_times", lambda a: a[:0], "float32 of shape [0]"),
        ("inference_times", lambda a: a[:1], "inference_times [0.0]; expected those of"),
        ("inference_times", lambda _: np.zeros(100_000, np.float32), "expected those of"),
        ("inference_times", lambda a: np.full_like(a, np.nan), "expected those of"),
        ("inference_times", lambda a: a.astype(str), "<U32 of shape [11]"),
        ("padding_action", lambda a: a[..., :-1], "expected 7 finite numbers"),
        ("padding_action", lambda a: np.full_like(a, np.inf), "expected 7 finite numbers"),
        ("padding_action", lambda a: a.astype(str), "<U32 of shape [1, 1, 7]"),
        ("noise", lambda a: np.repeat(a, 2, axis=0), "expected 1 on axis 0: one observation a case"),
    ],
)
def test_a_later_case_with_an_array_that_is_none_of_its_kind(
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert golden.main([str(_with_array(CASES[0].with_name("w10_adaptive"), tmp_path, name, change))]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert len(error) < 1500


def _rewritten(case: str, folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> Path:
    copy = Path(shutil.copytree(CASES[0].with_name(case), folder / "changed"))
    with np.load(copy / "case.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(copy / "case.npz", **arrays)
    return copy


def _without(*names: str) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda arrays: [arrays.pop(name) for name in names]


def _masks_of_whole_numbers(arrays: dict[str, np.ndarray]) -> None:
    for name in ("dof_mask", "agent_pos_mask", "attention_mask"):
        arrays[name] = arrays[name].astype(np.int32)


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("w01_state_token", _without("padding_action")),  # with dead degrees of freedom: they went elsewhere
        ("w01_state_token", _without("inference_times")),
        ("w01_state_token", lambda arrays: arrays.update(padding_action=arrays["padding_action"][0, 0])),
        ("w01_state_token", _masks_of_whole_numbers),
        ("w05_x_pred", _without("proprioception", "agent_pos_mask")),
    ],
    ids=["no padding", "no times", "one axis", "masks", "no state"],
)
def test_a_later_case_may_say_it_otherwise(
    case: str, change: Callable[[dict[str, np.ndarray]], object], tmp_path: Path
) -> None:
    assert golden.main([str(_rewritten(case, tmp_path, change))]) == 0


def test_a_case_whose_prompt_spells_the_state_needs_no_state_token(tmp_path: Path) -> None:
    copy = _rewritten("w05_x_pred", tmp_path, lambda _: None)
    config = json.loads((copy / "config.json").read_text())
    del config["special_token_ids"]["<|propri|>"]
    (copy / "config.json").write_text(json.dumps(config))
    assert golden.main([str(copy)]) == 0


@pytest.mark.parametrize("robots", [1, 2])
def test_statistics_say_the_padding_of_a_case_without(
    robots: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one robot: -0.5 to 1.5 has its 0 at -0.5."""

    def moved(arrays: dict[str, np.ndarray]) -> None:
        _without("padding_action", "action_9_steps", "action_10_steps")(arrays)
        arrays["action_1_steps"][arrays["dof_mask"] == 0] += 0.999 * -0.5

    copy = _rewritten("w01_state_token", tmp_path, moved)
    tensors = load_file(copy / "model.safetensors")
    for kind in ("action", "propri"):
        for robot in ("arm", "other")[:robots]:
            name = f"action_preprocessor.normalizer_{kind}"
            tensors[f"{name}.min.{robot}"] = np.full(16, -0.5, np.float32)
            tensors[f"{name}.delta.{robot}"] = np.full(16, 2.0, np.float32)
    save_file(tensors, copy / "model.safetensors")
    assert golden.main([str(copy)]) == robots - 1
    assert ("expected one of arm, other" in capsys.readouterr().err) == (robots == 2)


@pytest.mark.parametrize("scheduler", [{"s": "0.999"}, {"s": None}, {"time_shift": []}, {"s": 2}, 7])
def test_a_later_case_with_a_scheduler_of_no_numbers(
    scheduler: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(CASES[0].with_name("w10_adaptive"), tmp_path / "changed"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "noise_scheduler": scheduler}))
    assert golden.main([str(copy)]) == 1
    error = capsys.readouterr().err
    assert "noise_scheduler" in error
    assert error.count("\n") == 1
