"""What each recipe costs and saves on a tabletop policy: ``python benchmarks/quantization.py``.

Every recipe is exported afresh, calibrated on one recorded session, and compared with float32 in the same
run: bytes, latency of a chunk, error of the final chunk over observations of another session, error of
every stage against the goldens, and success in closed loop (virtual time, layouts that neither training nor
calibration has seen). ``auto`` is searched within ``--max-action-error``; its promise is then checked on
the other session.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wall_edge_engines
from rich.progress import track
from wall_edge_engines import EngineSettings
from wall_edge_export.data.load import load_samples
from wall_edge_export.quantize.action_error import action_error, chunks
from wall_edge_export.quantize.precision import load_recipe

from benchmarks.tabletop_success import Player
from wall_edge.array_types import Floats
from wall_edge.bundle import Bundle
from wall_edge.cli.output import stderr
from wall_edge.cli.robot.examples import POLICIES, example_folder
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.prompts import Prompts
from wall_edge.provenance import provenance
from wall_edge.session_format import Sample
from wall_edge.verification.verify import verify

RECIPES = ("fp32", "bf16", "fp16", "int8", "int8-weights", "int4-weights", "int8-int8", "int8-int4", "auto")
_CALIBRATION_SEED, _JUDGING_SEED = 11, 12


def sessions(work: Path, moments: int) -> tuple[Path, Path]:
    """Recorded sessions to calibrate on and to judge by, of different seeds."""
    from examples.tabletop.record_session import record

    folders = tuple(work / f"session-{seed}-{moments}" for seed in (_CALIBRATION_SEED, _JUDGING_SEED))
    for folder, seed in zip(folders, (_CALIBRATION_SEED, _JUDGING_SEED), strict=True):
        if not folder.exists():
            record(folder, moments, seed)
    return folders[0], folders[1]


def export(example: Path, recipe: str, out: Path, calibration: Path, limit: float) -> Bundle:
    """An example's policy in one recipe, through the command that a user would give."""
    command: list[object] = [sys.executable, "-m", "wall_edge", "export", example / "checkpoint"]
    command += ["--out", out, "--robot", example / "robot.yaml", "--precision", recipe, "--json"]
    if recipe == "auto":
        command += ["--max-action-error", limit, "--samples", 64]
    if recipe == "auto" or load_recipe(recipe).calibrated():
        command += ["--calibration", calibration]
    stderr.print(f"export {recipe}")
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return Bundle(out)


def latency_ms(bundle: Bundle, samples: Sequence[Sample]) -> float:
    """Median time from frames to a chunk on one thread, as in the daemon."""
    engine = wall_edge_engines.load(bundle, EngineSettings(threads=1))
    policy = FlowPolicy(Encoder.on(engine, bundle.manifest, Prompts.of(bundle)))
    times = []
    for sample in [samples[0], *samples]:  # the first warms up
        begun = time.perf_counter()
        policy.chunk(sample.observation, sample.words)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:]) * 1e3


def closed_loop(bundle: Bundle, episodes: int) -> tuple[int, float]:
    """Episodes that succeed, and the share of subgoals in the right words."""
    player = Player(bundle, seed=1, every=3, delay=1, steps=None)
    outcomes = [player.play(n) for n in track(range(episodes), bundle.manifest.recipe, console=stderr)]
    asked, right = sum(o.subgoals for o in outcomes), sum(o.right for o in outcomes)
    return sum(o.status == "success" for o in outcomes), right / max(asked, 1)


def measure(
    bundle: Bundle, recipe: str, samples: Sequence[Sample], episodes: int
) -> tuple[dict[str, Any], Floats]:
    """All figures of one recipe but its error, and its chunks."""
    manifest, engine = bundle.manifest, wall_edge_engines.load(bundle, EngineSettings(threads=2))
    found = chunks(manifest, Prompts.of(bundle), engine, samples, seed=7)
    # A joint that hardly moves has no meaningful relative error: verify bounds it in rad.
    checks = [check for check in verify(bundle, engine) if check.measure == "relative_l2"]
    stages = {check.stage: round(check.relative_l2, 6) for check in checks}
    row: dict[str, Any] = {
        "recipe": recipe,
        "bytes": sum(bundle.path(spec.data).stat().st_size for spec in manifest.graphs.values()),
        "graphs": {name: spec.precision for name, spec in manifest.graphs.items()},
        "latency_ms": round(latency_ms(bundle, samples), 2),
        "stages": stages,
    }
    if episodes:
        won, right = closed_loop(bundle, episodes)
        row |= {"episodes": episodes, "successes": won, "subgoals_right": round(right, 4)}
    return row, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="wall-oss", choices=POLICIES, help="generation of the policy")
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="default: all")
    parser.add_argument("--observations", type=int, default=128)
    parser.add_argument("--episodes", type=int, default=100, help="0 leaves the closed loop out")
    parser.add_argument("--max-action-error", type=float, default=0.03, help="for auto")
    parser.add_argument("--work", type=Path, default=Path("runs/quantization"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    example = example_folder("tabletop", given.policy)
    calibration, judging = sessions(given.work, given.observations)
    rows: list[dict[str, Any]] = []
    reference: Floats | None = None
    wanted = [r for r in RECIPES if r == "fp32" or r in (given.recipe or RECIPES)]
    for recipe in wanted:
        out = given.work / given.policy / recipe
        bundle = export(example, recipe, out, calibration, given.max_action_error)
        manifest = bundle.manifest
        samples = load_samples(
            judging,
            embodiment=manifest.embodiment,
            cameras=manifest.cameras,
            horizon=manifest.horizon,
            action_rate_hz=manifest.action_rate_hz,
            count=given.observations,
        ).samples
        row, found = measure(bundle, recipe, samples, given.episodes)
        reference = found if reference is None else reference
        error = action_error(found, reference)
        row |= {"cosine": error.cosine, "relative_l2": error.relative_l2, "observations": len(samples)}
        if recipe == "auto":
            row["promised"], row["kept"] = given.max_action_error, error.relative_l2 <= given.max_action_error
        rows.append(row)
    about = {"policy": given.policy, **provenance("torch", "onnxruntime")}
    _print(rows, about, as_json=given.json)
    if not all(row.get("kept", True) for row in rows):
        sys.exit("auto did not keep its promise on data that it had not seen")


def _print(rows: Sequence[dict[str, Any]], about: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": rows, **about}))
        return
    for row in rows:
        worst = max(row["stages"], key=lambda stage: row["stages"][stage])
        loop = (
            f"{row['successes']}/{row['episodes']} succeed, {row['subgoals_right']:.2%} of words right"
            if "episodes" in row
            else ""
        )
        print(
            f"{row['recipe']:13} {row['bytes'] / 1e6:7.2f} MB {row['latency_ms']:7.1f} ms  "
            f"cosine {row['cosine']:.7f}  relative L2 {row['relative_l2']:.5f}  {loop}  "
            f"worst stage {worst} {row['stages'][worst]:.4f}"
            + (f"  kept: {row['kept']}" if "kept" in row else "")
        )
    for name, value in about.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
