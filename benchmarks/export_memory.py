"""Peak memory and time of an export: ``python benchmarks/export_memory.py [--shape wall-oss-flow]``.

A random bf16 checkpoint of the shape is written first (8.4 GB for ``wall-oss-flow``), with a recorded
session of synthetic moments to calibrate on; both are kept in ``--work``. ``wall-edge export`` then runs as
a process of its own. Its peak resident memory is the kernel's count for that process, read from outside;
``cpu_s`` is its processors' time, which other work beside it does not lengthen by much. ``wall-edge verify``
of the bundle comes last, untimed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from wall_edge_export.bundle.workspace import partial_folder

from benchmarks.random_bundles import CALIBRATION_SAMPLES, calibration_session, random_checkpoint
from wall_edge.provenance import provenance

ASKED_BYTES, ASKED_SECONDS = 6e9, 30 * 60


def measured_export(checkpoint: Path, out: Path, precision: str, samples: int, work: Path) -> dict[str, Any]:
    """What ``wall-edge export --json`` reports, and what the kernel says of the process."""
    shutil.rmtree(partial_folder(out), ignore_errors=True)  # a resumed export would look faster than it is
    session = calibration_session(checkpoint, work / "calibration")
    options = ("--precision", precision, "--calibration", session, "--samples", samples, "--json")
    command = [sys.executable, "-m", "wall_edge", "export", checkpoint, "--out", out, *options]
    begun = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"wall-edge export exited with code {process.returncode}")
    wall = time.monotonic() - begun
    return {
        **json.loads(printed),
        "wall_s": round(wall, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "kernel_peak_bytes": usage.ru_maxrss * 1024,
    }


def verified(bundle: Path) -> dict[str, Any]:
    """What ``wall-edge verify`` says: stages past their tolerance, and how far each kind is off at most."""
    command = [sys.executable, "-m", "wall_edge", "verify", str(bundle), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"wall-edge verify exited with code {done.returncode}")
    stages = json.loads(done.stdout)["stages"]
    farthest: dict[str, float] = {}
    for name, stage in stages.items():
        kind = name.partition(".")[0]
        error = stage["relative_l2"]
        farthest[kind] = max(farthest.get(kind, 0.0), math.inf if error is None else error)
    return {
        "past_tolerance": [name for name, stage in stages.items() if not stage["ok"]],
        "relative_l2": {kind: round(error, 4) for kind, error in farthest.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="wall-oss-flow")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--samples", type=int, default=CALIBRATION_SAMPLES)
    parser.add_argument("--work", type=Path, default=Path("runs/export-memory"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    checkpoint = random_checkpoint(given.shape, given.work / given.shape)
    out = given.work / f"{given.shape}-{given.precision}"
    found = measured_export(checkpoint, out, given.precision, given.samples, given.work)
    stored = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    result = {
        "shape": given.shape,
        "checkpoint_bytes": stored,
        "calibration_samples": given.samples,
        **found,
        "within_6_gb": found["kernel_peak_bytes"] <= ASKED_BYTES,
        "within_30_min": found["wall_s"] <= ASKED_SECONDS,
        "verify": verified(out),
        **provenance("torch", "onnx", "onnxruntime"),
    }
    if given.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
