"""Replay golden cases: ``python -m wall_edge_export.reference.goldens DIR… [--backend …] [--json]``.

A case is a folder with ``config.json``, ``model.safetensors`` and ``case.npz`` (an observation and what an
independent implementation computes from it in float32). Every output's maximum absolute error is printed;
token ids and positions must agree exactly. The exit code is 1 when a tolerance is exceeded.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_engines.base import Engine
from wall_edge_engines.onnxruntime import OnnxRuntimeEngine
from wall_edge_engines.session import ModelSession

from wall_edge.bundle.time_grid import uniform_grid
from wall_edge.cli.output import stage_progress
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError, WallEdgeError
from wall_edge.files import read_arrays
from wall_edge.policies.flow import integrate
from wall_edge.policies.prompt_text import next_position, positions
from wall_edge_export.checkpoint.files import Checkpoint
from wall_edge_export.model import WallModel
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GraphInputs, image_cells
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.engine import ReferenceEngine

TOLERANCES = {"reference": 1e-4, "onnxruntime": 1e-3}
_STEPS = re.compile(r"action_(\d+)_steps")
_PADDED_POSITION = 1

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One output against the golden: ``tolerance`` 0 means exact."""

    output: str
    max_abs_error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return bool(self.max_abs_error <= self.tolerance)


@dataclass(frozen=True)
class _TokenIds:
    """``config.json`` of a case without a tokenizer."""

    image_token_id: int
    special_token_ids: dict[str, int]


# Rank and kind ("i" whole numbers, "f" floats) of what every case must hold.
_ARRAYS = {
    "input_ids": (2, "i"),
    "attention_mask": (2, "i"),
    "text_input_ids": (2, "i"),
    "greedy_text_ids": (1, "i"),
    "position_ids": (3, "i"),
    "image_grid_thw": (2, "i"),
    "pixel_values": (2, "f"),
    "image_embeds": (2, "f"),
    "proprioception": (3, "f"),
    "agent_pos_mask": (3, "f"),
    "dof_mask": (3, "f"),
    "noise": (3, "f"),
    "text_logits": (1, "f"),
}


class GoldenCase:
    """One folder: the checkpoint, the observation and the expected outputs."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = Checkpoint(folder)
        self.arrays: dict[str, Array] = read_arrays(folder / "case.npz", CheckpointError)
        self._check_arrays()
        grid = self["image_grid_thw"]
        if grid.shape[1] != 3 or not len(grid) or np.any(grid[:, 0] != 1):
            raise self._wrong(f"image_grid_thw {grid.tolist()}", "still images (t = 1), at least one")
        self.grids = tuple((int(h), int(w)) for _, h, w in grid)
        where = str(folder / "config.json")
        tokens = from_mapping(_TokenIds, self.checkpoint.config, where, CheckpointError, strict=False)
        for token in ("<|propri|>", "<|action|>"):
            if token not in tokens.special_token_ids:
                raise CheckpointError(f"{where}: special_token_ids without {token}", expected="its token id")
        self.given = GraphInputs(
            grids=self.grids,
            image_token_id=tokens.image_token_id,
            state_token_id=tokens.special_token_ids["<|propri|>"],
            horizon=int(self["noise"].shape[1]),
        )
        self.action_token = tokens.special_token_ids["<|action|>"]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def steps(self) -> list[int]:
        """The numbers of integration steps that the case holds results for."""
        return sorted(int(found[1]) for name in self.arrays if (found := _STEPS.fullmatch(name)))

    def _wrong(self, found: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.checkpoint.folder / 'case.npz'}: {found}", expected=expected)

    def _check_arrays(self) -> None:
        for name, (rank, kind) in _ARRAYS.items():
            array = self.arrays.get(name)
            kinds = "iub" if kind == "i" else "f"
            if array is None or array.ndim != rank or array.dtype.kind not in kinds or array.size == 0:
                found = "missing" if array is None else f"{array.dtype} of shape {list(array.shape)}"
                wanted = "whole numbers" if kind == "i" else "floats"
                raise self._wrong(f"array {name} is {found}", f"{wanted} with {rank} axes")
        if not self.steps():
            raise self._wrong("no action_N_steps", "the result of at least one integration")
        rows = self.checkpoint.shape.vocab_size
        for name in ("input_ids", "text_input_ids"):
            if self[name].min() < 0 or self[name].max() >= rows:
                raise self._wrong(f"{name} up to {self[name].max()}", f"token ids below {rows}")


@contextmanager
def engine_for(
    backend: str, model: WallModel, given: GraphInputs, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Engine]:
    """The torch modules, or ONNX Runtime on freshly exported graphs."""
    if backend == "reference":
        yield ReferenceEngine(model, given)
        return
    families = load_recipe("fp32")
    with tempfile.TemporaryDirectory(prefix="wall-edge-golden-") as folder:
        writer = GraphWriter(model.shape, given, model.state_dict().__getitem__)
        for graph in GRAPHS:
            progress(graph)
            writer.write(graph, families.families(graph), Path(folder))
        specs = {graph: writer.spec(graph, families.families(graph)) for graph in GRAPHS}
        yield OnnxRuntimeEngine(Path(folder), specs, threads=2)


def run_case(case: GoldenCase, backend: str, progress: Callable[[str], None] = lambda _: None) -> list[Check]:
    """Compute every output of the case through ``backend`` and compare; ``progress`` gets stage names."""
    tolerance = TOLERANCES[backend]
    progress("load")
    with engine_for(backend, case.checkpoint.load(), case.given, progress) as engine:
        progress("compare")
        longest = max(case["input_ids"].shape[1], case["text_input_ids"].shape[1])
        session = ModelSession(engine, capacity=longest + case["greedy_text_ids"].size)
        session.encode_images({"patches": case["pixel_values"]})
        checks = [Check("image_embeds", _error(session.image_embeds(), case["image_embeds"]), tolerance)]
        checks += _action_checks(case, session, tolerance)
        checks += _text_checks(case, session, tolerance)
    return checks


def _action_checks(case: GoldenCase, session: ModelSession, tolerance: float) -> Iterator[Check]:
    ids, keep = case["input_ids"][0], case["attention_mask"][0].astype(bool)
    placed = np.full((3, len(ids)), _PADDED_POSITION, dtype=np.int64)
    placed[:, keep] = _positions(case, ids[keep])
    yield Check("position_ids", _error(placed, case["position_ids"][:, 0]), 0.0)

    # Padding is never seen by another token, so it is left out instead of masked.
    ids, placed = ids[keep], placed[:, keep]
    prompt = ids != case.action_token
    count = int(prompt.sum())
    if not prompt[:count].all():
        raise CheckpointError(
            f"{case.checkpoint.folder}: input_ids", expected="action tokens at the end only"
        )
    session.prefill(
        ids[:count], placed[:, :count], case["proprioception"][0, 0], case["agent_pos_mask"][0, 0]
    )
    mask, noise = case["dof_mask"][0], case["noise"][0]
    for steps in case.steps():
        grid = uniform_grid(steps)
        action = integrate(lambda x, t: session.velocity(x, mask, t, placed[:, count:]), noise, grid)
        name = f"action_{steps}_steps"
        yield Check(name, _error(action, case[name][0]), tolerance)


def _text_checks(case: GoldenCase, session: ModelSession, tolerance: float) -> Iterator[Check]:
    ids = case["text_input_ids"][0]
    placed = _positions(case, ids)
    state, mask = case["proprioception"][0, 0], case["agent_pos_mask"][0, 0]
    session.prefill(ids, placed, state, mask)
    logits = session.logits()
    yield Check("text_logits", _error(logits, case["text_logits"]), tolerance)
    position, generated = next_position(placed), []
    for _ in range(case["greedy_text_ids"].size):
        generated.append(int(logits.argmax()))
        session.append(generated[-1], position)
        logits = session.logits()
        position += 1
    yield Check("greedy_text_ids", _error(np.array(generated), case["greedy_text_ids"]), 0.0)


def _positions(case: GoldenCase, ids: Array) -> npt.NDArray[np.int64]:
    cells = image_cells(case.grids, case.checkpoint.shape.vision.spatial_merge_size)
    return positions(ids, cells, case.given.image_token_id)


def _error(found: Array, expected: Array) -> float:
    """Largest absolute difference; infinite when shapes differ or a value is not finite."""
    if found.shape != expected.shape or not np.all(np.isfinite(found)):
        return float("inf")
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wall_edge_export.reference.goldens", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--backend", choices=sorted(TOLERANCES), default="reference")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        results = {folder: _run_shown(folder, given.backend) for folder in given.folders}
    except WallEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(_report(results, given.backend)))
    else:
        for folder, checks in results.items():
            _print(folder, checks, given.backend)
    return 0 if all(check.ok for checks in results.values() for check in checks) else 1


def _run_shown(folder: Path, backend: str) -> list[Check]:
    graphs = GRAPHS if backend == "onnxruntime" else ()
    case = GoldenCase(folder)
    with stage_progress(folder.name, ("load", *graphs, "compare")) as progress:
        return run_case(case, backend, progress)


def _report(results: dict[Path, list[Check]], backend: str) -> dict[str, Any]:
    cases = {
        str(folder): {
            "ok": all(check.ok for check in checks),
            "outputs": {
                check.output: {
                    "max_abs_error": check.max_abs_error if np.isfinite(check.max_abs_error) else None,
                    "tolerance": check.tolerance,
                    "ok": check.ok,
                }
                for check in checks
            },
        }
        for folder, checks in results.items()
    }
    return {"backend": backend, "ok": all(case["ok"] for case in cases.values()), "cases": cases}


def _print(folder: Path, checks: list[Check], backend: str) -> None:
    print(f"{folder} ({backend})")
    for check in checks:
        allowed = f"<= {check.tolerance:g}" if check.tolerance else "exact"
        print(f"  {check.output:<18} {check.max_abs_error:9.2e}  {allowed:<9} {'ok' if check.ok else 'FAIL'}")


if __name__ == "__main__":
    sys.exit(main())
