"""Replay golden cases: ``python -m wall_edge_export.reference.goldens DIR… [--backend …] [--json]``.

A case is a folder (:mod:`wall_edge_export.reference.golden_case`). Every output's maximum absolute error is
printed; token ids and positions must agree exactly. The exit code is 1 when a tolerance is exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_engines import ENGINES, Engine, EngineSettings, ModelSession

from wall_edge.array_types import Array
from wall_edge.bundle import Tolerance
from wall_edge.cli.output import stage_progress
from wall_edge.errors import CheckpointError, WallEdgeError
from wall_edge.policies.prompt_text import next_position, positions
from wall_edge.verification.comparison import StageCheck, compare
from wall_edge_export.model.wall import WallModel
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GraphInputs, image_cells
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.golden_case import GoldenCase

BACKENDS = ("reference", *ENGINES)
"""The torch modules, and every engine on freshly exported graphs."""
_REFERENCE_TOLERANCE, _ENGINE_TOLERANCE = 1e-4, 1e-3
_PADDED_POSITION = 1

_EXACT = 0.0
"""The tolerance of token ids and positions."""


@contextmanager
def engine_for(
    backend: str,
    model: WallModel,
    graph_inputs: GraphInputs,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Engine]:
    """The engine of a name in ``BACKENDS``."""
    if backend == "reference":
        yield ReferenceEngine(model, graph_inputs)
        return
    recipe = load_recipe("fp32")
    with tempfile.TemporaryDirectory(prefix="wall-edge-golden-") as folder:
        writer = GraphWriter(model.shape, graph_inputs, model.state_dict().__getitem__)
        for graph in GRAPHS:
            progress(graph)
            writer.write(graph, recipe, Path(folder))
        specs = {graph: writer.spec(graph, recipe) for graph in GRAPHS}
        settings = EngineSettings(backend, ENGINES[backend].device, threads=2)
        engine = ENGINES[backend].open_graphs(Path(folder), specs, settings)
        try:
            yield engine
        finally:
            engine.close()


def run_case(
    case: GoldenCase, backend: str, progress: Callable[[str], None] = lambda _: None
) -> list[StageCheck]:
    """Compute every output of the case through ``backend`` and compare; ``progress`` gets stage names."""
    tolerance = _REFERENCE_TOLERANCE if backend == "reference" else _ENGINE_TOLERANCE
    progress("load")
    with engine_for(backend, case.checkpoint.load(), case.graph_inputs, progress) as engine:
        progress("compare")
        longest = max(case["input_ids"].shape[1], case["text_input_ids"].shape[1])
        session = ModelSession(engine, capacity=longest + case["greedy_text_ids"].size)
        session.encode_images({"patches": case["pixel_values"]})
        checks = [_check("image_embeds", session.image_embeds(), case["image_embeds"], tolerance)]
        checks += _action_checks(case, session, tolerance)
        checks += _text_checks(case, session, tolerance)
    return checks


def _action_checks(case: GoldenCase, session: ModelSession, tolerance: float) -> Iterator[StageCheck]:
    ids, keep = case["input_ids"][0], case["attention_mask"][0].astype(bool)
    position_ids = np.full((3, len(ids)), _PADDED_POSITION, dtype=np.int64)
    position_ids[:, keep] = _positions(case, ids[keep])
    yield _check("position_ids", position_ids, case["position_ids"][:, 0], _EXACT)

    # Padding is never seen by another token, so it is left out instead of masked.
    ids, position_ids = ids[keep], position_ids[:, keep]
    prompt = ids != case.action_token
    count = int(prompt.sum())
    if not prompt[:count].all():
        raise CheckpointError(
            f"{case.checkpoint.folder}: input_ids", expected="action tokens at the end only"
        )
    session.prefill(ids[:count], position_ids[:, :count], *_state(case))
    mask, noise = case["dof_mask"][0], case["noise"][0]
    for steps in case.steps():
        action = session.denoise(noise, mask, position_ids[:, count:], case.schedule.grid(steps))
        name = f"action_{steps}_steps"
        yield _check(name, action, case[name][0], tolerance)


def _text_checks(case: GoldenCase, session: ModelSession, tolerance: float) -> Iterator[StageCheck]:
    ids = case["text_input_ids"][0]
    position_ids = _positions(case, ids)
    session.prefill(ids, position_ids, *_state(case))
    yield _check("text_logits", session.logits(), case["text_logits"], tolerance)
    position, generated = next_position(position_ids), []
    for _ in range(case["greedy_text_ids"].size):
        generated.append(session.next_token()[0])
        session.append(generated[-1], position)
        position += 1
    yield _check("greedy_text_ids", np.array(generated), case["greedy_text_ids"], _EXACT)


def _state(case: GoldenCase) -> tuple[Array, ...]:
    """What the state token takes; nothing where the prompt spells the state."""
    if not case.checkpoint.shape.state_token:
        return ()
    return case["proprioception"][0, 0], case["agent_pos_mask"][0, 0]


def _positions(case: GoldenCase, ids: Array) -> npt.NDArray[np.int64]:
    cells = image_cells(case.grids, case.checkpoint.shape.vision.spatial_merge_size)
    return positions(ids, cells, case.graph_inputs.image_token_id)


def _check(output: str, actual: Array, golden: Array, tolerance: float) -> StageCheck:
    return compare(output, actual, golden, Tolerance("max_abs", tolerance))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wall_edge_export.reference.goldens", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--backend", choices=BACKENDS, default="reference")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        results = {folder: _run_with_progress(folder, options.backend) for folder in options.folders}
    except WallEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(_report(results, options.backend)))
    else:
        for folder, checks in results.items():
            _print(folder, checks, options.backend)
    return 0 if all(check.ok for checks in results.values() for check in checks) else 1


def _run_with_progress(folder: Path, backend: str) -> list[StageCheck]:
    graphs = () if backend == "reference" else GRAPHS
    case = GoldenCase(folder)
    with stage_progress(folder.name, ("load", *graphs, "compare")) as progress:
        return run_case(case, backend, progress)


def _report(results: dict[Path, list[StageCheck]], backend: str) -> dict[str, Any]:
    cases = {
        str(folder): {
            "ok": all(check.ok for check in checks),
            "outputs": {
                check.stage: {
                    "max_abs_error": check.as_dict()["max_abs"],
                    "tolerance": check.tolerance,
                    "ok": check.ok,
                }
                for check in checks
            },
        }
        for folder, checks in results.items()
    }
    return {"backend": backend, "ok": all(case["ok"] for case in cases.values()), "cases": cases}


def _print(folder: Path, checks: list[StageCheck], backend: str) -> None:
    print(f"{folder} ({backend})")
    for check in checks:
        allowed = f"<= {check.tolerance:g}" if check.tolerance else "exact"
        print(f"  {check.stage:<18} {check.max_abs:9.2e}  {allowed:<9} {'ok' if check.ok else 'FAIL'}")


if __name__ == "__main__":
    sys.exit(main())
