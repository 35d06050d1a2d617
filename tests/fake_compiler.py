"""Stands in for ``wall_edge_engines.build.worker``: ``python fake_compiler.py BEHAVIOUR.json``.

The file says, by graph, how a job ends (``ok`` by default); jobs are logged beside it. It is strict: a job
that the real worker could not do is answered by an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

FACTS = {"tensorrt-rtx": ("1.7.1", [75, 80, 86, 89, 120]), "tensorrt": ("10.3.0", [])}


def answer(job: dict[str, Any], behaviour: str, partial: Path) -> dict[str, Any]:
    if behaviour == "killed":
        partial.write_bytes(b"half a pl")
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "half":
        partial.write_bytes(b"half a pl")
        print(json.dumps({"phase": "half is written"}), flush=True)
        time.sleep(600)
    if behaviour == "crashed":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        print("Fatal: internal assertion", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "silent":
        sys.exit(3)
    if behaviour == "slow":
        time.sleep(600)
    if behaviour != "ok":
        return {"error": behaviour}
    return {"compiled": written(job), "peak_bytes": 123_000_000}


def written(job: dict[str, Any]) -> dict[str, Any]:
    plan = f"{job['compiler']} {job['onnx']} {job['profiles']}".encode()
    Path(job["plan"]).write_bytes(plan)
    digest = hashlib.sha256(plan).hexdigest()
    return {"sha256": digest, "bytes": len(plan), "seconds": 0.25, "layers": []}


def problems(job: dict[str, Any]) -> list[str]:
    dynamic = {axis for t in job["inputs"].values() for axis in t["shape"] if isinstance(axis, str)}
    wrong = [f"no file {job['onnx']}"] if not Path(job["onnx"]).is_file() else []
    wrong += [f"axes {profile['axes']}" for profile in job["profiles"] if set(profile["axes"]) != dynamic]
    wrong += ["no profile"] if not job["profiles"] else []
    wrong += ["a timing cache ahead of time"] if job["timing_cache"] and job["sm"] is not None else []
    return wrong


def main() -> None:
    notes = Path(sys.argv[1])
    request = json.loads(sys.stdin.readline())
    if "facts" in request:
        version, ahead = FACTS[request["facts"]]
        print(json.dumps({"facts": {"version": version, "ahead_of_time": ahead}}))
        return
    job = request["job"]
    graph = Path(job["plan"]).stem
    with notes.with_suffix(".log").open("a") as log:
        log.write(json.dumps({"graph": graph, **job}) + "\n")
    print(json.dumps({"phase": "tactics 1/2"}), flush=True)
    behaviour = "; ".join(problems(job)) or json.loads(notes.read_text()).get(graph, "ok")
    partial = Path(job["plan"]).with_name(f".{graph}.plan.{os.getpid()}.partial")
    print(json.dumps(answer(job, behaviour, partial)))


if __name__ == "__main__":
    main()
