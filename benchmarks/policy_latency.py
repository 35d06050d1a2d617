"""Latency of one action chunk beside LeRobot's: ``python benchmarks/policy_latency.py --peer lerobot``.

Both sides compute the same chunk from the same random weights, prompt, frames, state and noise, in turns on
the same machine and device; on a CPU with the same number of threads. Ours is :meth:`FlowPolicy.chunk`, from
camera frames to joint positions, on an engine's bundle or on torch's modules (``--engine reference``), timed
as ``wall-edge bench policy`` times it.
LeRobot's model (``peers/lerobot_wall_x.py``, a virtual environment of its own) starts at finished patches and
token ids and ends at normalised actions, in float32 or as LeRobot rounds it (``--peer-dtype bfloat16``):
resizing is in our time and not in the peer's.

Beside the chunk: the integration loop as one operation of the engine (on a GPU one CUDA graph, where the
engine captures) and as launches from the host; how fast the device copies; and what share of that a step's
weights and keys/values take. Checkpoints and bundles stay in ``--work`` for the next run; delete it after a
change of the exporter. Load by other programs makes the figures useless: it is measured and printed too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_engines import Engine, EngineSettings

from benchmarks.latency_engines import (
    ENGINE_NAMES,
    Launches,
    copy_bandwidth,
    open_engine,
    require_engine,
    step_bytes,
)
from benchmarks.peers.lerobot_process import Peer, peer_inputs, peer_python, start_noise
from benchmarks.random_bundles import WORDS, exported, random_checkpoint, synthetic_observation
from wall_edge.bench.policy.load import BUSY_CORES, OtherLoad
from wall_edge.bench.policy.rig import PolicyRig
from wall_edge.bench.policy.session import LOOP
from wall_edge.bundle import Bundle, require_flow
from wall_edge.cli.output import stderr
from wall_edge.errors import EngineError, WallEdgeError
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.provenance import provenance

CACHE = Path.home() / ".cache" / "wall-edge"
Array = npt.NDArray[Any]


class Ours:
    """A bundle on an engine, warmed up; ``actions`` is its normalised chunk from :func:`start_noise`."""

    def __init__(self, bundle: Bundle, observation: Observation, engine: Engine) -> None:
        manifest, self._rig = bundle.manifest, PolicyRig(bundle, engine, observation, WORDS)
        noise = start_noise(manifest.horizon, manifest.action_slots)
        self.actions = FlowPolicy(self._rig.encoder).normalised_chunk(observation, WORDS, noise)
        self.prompt_tokens = len(self._rig.encoder.action_prompt(observation, WORDS).ids)
        self.chunk()  # the prompt in two pieces: other lengths than in one

    def loop_ms(self, repeats: int) -> float:
        """Median time of the integration alone, behind a prefix that is cached."""
        return float(np.median([1e3 * self._rig.stages()[LOOP] for _ in range(repeats)]))

    def chunk(self) -> dict[str, float]:
        """Milliseconds of one chunk, and of another one's stages: they wait for one another."""
        spent = {"ours": self._rig.chunk(), **self._rig.stages()}
        spent["expert"] = spent.pop(LOOP)
        return {stage: 1e3 * seconds for stage, seconds in spent.items()}


def measure(ours: Ours, peer: Peer | None, repeats: int) -> dict[str, Any]:
    """Both sides in turns: medians, deciles, our stages, how well the chunks agree, and the load beside."""
    mine: list[dict[str, float]] = []
    theirs: list[float] = []
    agreement: dict[str, float | None] = {"chunk_cosine": None, "chunk_max_abs": None}
    load, peer_s = OtherLoad(), 0.0
    for _ in range(repeats):
        if peer is not None:
            answer = peer.chunk()
            theirs.append(answer.ms)
            peer_s += answer.cpu_s
            agreement = chunk_agreement(ours.actions, answer.actions)
        mine.append(ours.chunk())
    row: dict[str, Any] = {**spread("ours", [run["ours"] for run in mine]), **spread("peer", theirs)}
    row["ratio"] = row["peer_ms"] / row["ours_ms"] if theirs else None
    for stage in ("vision", "prefix", "expert"):
        row[f"{stage}_ms"] = float(np.median([run[stage] for run in mine]))
    busy = load.cores(peer_s)
    return {**row, **agreement, "busy_cores": busy, "doubtful": busy > BUSY_CORES}


def timed(
    settings: EngineSettings,
    bundle: Bundle,
    checkpoint: Path,
    observation: Observation,
    peer: Peer | None,
    repeats: int,
) -> dict[str, Any]:
    """:func:`measure` on the engine of ``settings``; then its loop both ways, and its share of the device."""
    with closing(open_engine(settings, bundle, checkpoint)) as engine:
        return {**_timed_on(engine, bundle, observation, peer, repeats), "engine": engine.description}


def _timed_on(
    engine: Engine, bundle: Bundle, observation: Observation, peer: Peer | None, repeats: int
) -> dict[str, Any]:
    """Sessions end here, before the engine is closed: what they hold of the device is given back too."""
    ours = Ours(bundle, observation, engine)
    row = measure(ours, peer, repeats)
    loop_ms = ours.loop_ms(repeats)
    steps = _steps(bundle)
    read = step_bytes(bundle, ours.prompt_tokens)
    copied = copy_bandwidth(engine)
    return {
        **row,
        "loop_ms": loop_ms,
        "launches_ms": Ours(bundle, observation, Launches(engine)).loop_ms(repeats),
        "step_ms": loop_ms / steps,
        "copy_gb_s": copied / 1e9,
        "step_share": read * steps / (1e-3 * loop_ms) / copied,
    }


def _steps(bundle: Bundle) -> int:
    return require_flow(bundle.manifest.actions, "a flow policy, as the peer is").integration_steps


def spread(side: str, times_ms: Sequence[float]) -> dict[str, float | None]:
    """Median, 10th and 90th percentile; None without times."""
    names = (f"{side}_ms", f"{side}_p10_ms", f"{side}_p90_ms")
    if not times_ms:
        return dict.fromkeys(names)
    return dict(zip(names, np.percentile(times_ms, (50, 10, 90)).tolist(), strict=True))


def chunk_agreement(ours: Array, theirs: Array) -> dict[str, float | None]:
    """Cosine and largest absolute difference of two normalised chunks ``[horizon, slots]``."""
    if ours.shape != theirs.shape:
        raise EngineError(f"a chunk of shape {list(theirs.shape)}", expected=str(list(ours.shape)))
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    cosine = float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))
    return {"chunk_cosine": cosine, "chunk_max_abs": float(np.abs(a - b).max())}


def rows(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a precision. Everything is exported and installed before anything is timed."""
    python = peer_python(given.peer_venv) if given.peer == "lerobot" else None
    label = given.checkpoint.resolve().name if given.checkpoint else given.shape
    work = given.work / label
    settings = EngineSettings(given.engine, given.device, given.threads)
    require_engine(settings, given.precision)
    checkpoint = given.checkpoint or random_checkpoint(given.shape, work / "checkpoint")
    bundles = {precision: exported(checkpoint, work, precision) for precision in given.precision}
    first = next(iter(bundles.values()))
    observation = synthetic_observation(first.manifest)
    arrays = peer_inputs(first, observation, WORDS)
    steps = _steps(first)
    common = {
        "threads": given.threads,
        "repeats": given.repeats,
        "integration_steps": steps,
        "prompt_tokens": arrays["input_ids"].shape[1] - first.manifest.horizon,
    }
    with ExitStack() as running:
        peer = None
        if python is not None:
            np.savez(work / "inputs.npz", **arrays)  # type: ignore[arg-type]
            stderr.print("loading LeRobot's model", highlight=False)
            peer = Peer(
                python,
                checkpoint,
                work / "inputs.npz",
                threads=given.threads,
                steps=steps,
                device=given.device,
                dtype=given.peer_dtype,
            )
            running.enter_context(closing(peer))
            common["peer"] = ", ".join(f"{name} {version}" for name, version in peer.versions.items())
        for precision, bundle in bundles.items():
            # Nothing keeps the engine: a large model's weights are in memory once at a time.
            measured = timed(settings, bundle, checkpoint, observation, peer, given.repeats)
            if measured["doubtful"]:
                busy = measured["busy_cores"]
                stderr.print(f"note: other programs kept {busy} cores busy; the figures are doubtful")
            size = sum(path.stat().st_size for path in bundle.folder.iterdir())
            yield {"shape": label, "precision": precision, **measured, "bundle_bytes": size, **common}


def _table(measured: Sequence[dict[str, Any]]) -> str:
    columns = (
        "ours_ms",
        "vision_ms",
        "prefix_ms",
        "expert_ms",
        "peer_ms",
        "ratio",
        "step_ms",
        "launches_ms",
        "step_share",
        "chunk_cosine",
        "chunk_max_abs",
    )
    lines = [f"{'shape':14} {'precision':12} " + " ".join(f"{name:>13}" for name in columns)]
    for row in measured:
        values = " ".join(f"{_number(name, row[name]):>13}" for name in columns)
        lines.append(f"{row['shape']:14} {row['precision']:12} {values}{'  doubtful' * row['doubtful']}")
    shown = ("threads", "repeats", "integration_steps", "prompt_tokens", "peer")
    notes = {name: measured[0].get(name) for name in (*shown, "machine", "python", "versions", "date")}
    notes["copies"] = f"{measured[0]['copy_gb_s']:.1f} GB/s, read and written"
    notes |= {f"engine, {row['precision']}": row["engine"] for row in measured}
    notes["busy_cores"] = max(row["busy_cores"] for row in measured)
    return "\n".join([*lines, "", *(f"{name:18} {value}" for name, value in notes.items())])


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return {
        "ratio": "{:.2f}",
        "step_share": "{:.0%}",
        "chunk_cosine": "{:.7f}",
        "chunk_max_abs": "{:.2e}",
    }.get(name, "{:.1f}").format(value)


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="wall-oss-mini", help="of 'wall-edge checkpoint random'")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint folder instead of random weights")
    parser.add_argument("--precision", action="append", help="repeatable; fp32 and int8 without it")
    parser.add_argument("--repeats", type=_positive, default=3)
    parser.add_argument("--threads", type=_positive, default=2)
    parser.add_argument("--engine", choices=ENGINE_NAMES, default="onnxruntime")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, of both sides")
    parser.add_argument("--peer-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--work", type=Path, default=CACHE / "policy-latency", help="kept between runs")
    parser.add_argument("--peer", choices=("lerobot", "none"), default="lerobot")
    parser.add_argument("--peer-venv", type=Path, default=CACHE / "peers" / "lerobot-0.4.4")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    given.precision = list(dict.fromkeys(given.precision or ("fp32", "int8")))
    return given


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    given = _arguments(arguments)
    try:
        measured = [{**row, **provenance("onnxruntime", "onnxruntime-gpu", "torch")} for row in rows(given)]
    except WallEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(measured) if given.json else _table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
