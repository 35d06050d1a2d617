"""How soon an emergency stop brakes: ``python benchmarks/daemon/emergency_stop.py [--tries 50]``.

``wall-edge run`` on a simulated arm that outlives it, with cameras from video files, on a terminal that takes
no more output (as after Ctrl-S). In motion, SIGUSR1 goes to the main process; how long until the tick whose
setpoint is the first of the fastest stop is read from the servo process's own log. Asked: two servo periods
and 20 ms, every time braking where it is (never on the way to rest), torque off and latched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import pty
import random
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import PtyPort, serving_port

from wall_edge.config import load_robot
from wall_edge.provenance import provenance
from wall_edge.runtime.telemetry.event_log import read_events
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

ROBOT = Path(__file__).parents[2] / "examples" / "tabletop" / "robot.yaml"
_ALLOWED_MS = 20.0
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Try:
    """One emergency stop. ``reaction_ms``: from the signal to the first braking setpoint."""

    reaction_ms: float
    speed: float
    """Of the fastest joint just before the signal [rad/s]."""
    braked: bool
    """From the motion into FAULT, and no way to rest before or after."""
    limp: bool
    latched: bool
    exit_code: int


class Robot:
    """ROBOT.yaml of an arm on ``port``, in ``folder``; its cameras are video files of the arm at rest."""

    def __init__(self, folder: Path, bundle: Path, port: PtyPort, fault_hold_ms: float = 100.0) -> None:
        world = TabletopWorld(0)
        data: dict[str, Any] = yaml.safe_load(ROBOT.read_text())
        data["bundle"], data["instruction"] = str(bundle), world.episode.task.instruction
        data["simulated"] = False
        data["drives"]["arm"].update(port=port.path, timeout_ms=40)
        data["control"].update(feedback_timeout_ms=500, fault_hold_ms=fault_hold_ms)
        del data["simulation"]
        for name, frame in world.frames(arm.REST).items():
            video = _video(folder / f"{name}.avi", frame)
            data["cameras"][name].update(kind="opencv", device=video.name, frozen_ms=1e6)
        self.folder, self.path = folder, folder / "robot.yaml"
        self.path.write_text(yaml.safe_dump(data))
        self.period_ms = 1000.0 / data["control"]["rate_hz"]
        self.events = folder / "events.jsonl"
        self.state_home = folder / "state"

    def start(self, output: int) -> subprocess.Popen[bytes]:
        """``wall-edge run`` with ``output`` as its terminal."""
        command = [sys.executable, "-m", "wall_edge", "run", str(self.path), "--events", str(self.events)]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.state_home)}
        standard = {"stdin": output, "stdout": output, "stderr": output}
        return subprocess.Popen(command, start_new_session=True, env=environment, **standard)

    def wait_for(self, kind: str, process: subprocess.Popen[bytes]) -> None:
        """Until an event of that kind is in the log."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (self.events.exists() and any(e["kind"] == kind for e in read_events(self.events))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no {kind} event; exit code {process.returncode}")
            time.sleep(0.02)

    def pid(self, name: str) -> int:
        """Of a process of the daemon."""
        spawned = {str(e["process"]): e["pid"] for e in read_events(self.events) if e["kind"] == "spawned"}
        return int(str(spawned[name]))

    def latch(self) -> str:
        """What waits for a person."""
        return " ".join(path.read_text() for path in self.state_home.glob("wall-edge/*.json"))


def _video(path: Path, frame: np.ndarray, seconds: int = 60) -> Path:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (84, 84))
    for _ in range(30 * seconds):
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path


def _promptly() -> None:
    """Real servos answer whatever the processor is doing; their stand-ins are not preempted either."""
    threads = [t.native_id for t in threading.enumerate() if t is not threading.main_thread()]
    processes = [process.pid for process in multiprocessing.active_children()]
    for number in (*threads, *processes):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(number or 0, os.SCHED_FIFO, os.sched_param(70))


def _speed(bus: FeetechTwin) -> float:
    before, begun = bus.positions(time.monotonic_ns()), time.monotonic_ns()
    time.sleep(0.02)
    now = time.monotonic_ns()
    return float(np.abs(bus.positions(now) - before).max() / ((now - begun) / 1e9))


def one_try(folder: Path, bundle: Path, wait_s: float, target: str = "main") -> Try:
    """One run of the daemon, stopped ``wait_s`` after its first chunk.

    ``target``: which process the signal goes to, ``main``, ``servo`` or all of the ``unit``.
    """
    config = load_robot(ROBOT)
    bus = FeetechTwin(config.joints, arm.REST)
    ours, theirs = pty.openpty()
    with serving_port(bus) as port:
        _promptly()
        robot = Robot(folder, bundle, port)
        process = robot.start(theirs)
        try:
            robot.wait_for("chunkrecord", process)
            termios.tcflow(theirs, termios.TCOOFF)  # Ctrl-S
            time.sleep(wait_s)
            speed = _speed(bus)
            sent_ns = time.monotonic_ns()
            if target == "unit":
                os.killpg(process.pid, signal.SIGUSR1)
            else:
                os.kill(robot.pid("servo") if target == "servo" else process.pid, signal.SIGUSR1)
            code = process.wait(_PATIENCE_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(ours)
            os.close(theirs)
        limp = all(servo.get("torque_enable") == 0 for servo in bus.servos.values())
    changes = [event for event in read_events(robot.events) if event["kind"] == "servo_state"]
    stops = [change for change in changes if change["after"] == "FAULT"]
    reaction_ms = (int(str(stops[0]["time_ns"])) - sent_ns) / 1e6 if stops else float("inf")
    braked = len(stops) == 1 and all(change["after"] != "STOPPING" for change in changes)
    return Try(reaction_ms, speed, braked, limp, "emergency stop" in robot.latch(), code)


def require_bundle(path: Path) -> Path:
    """The tabletop's bundle, exported to ``path`` if it is not there."""
    if not (path / "manifest.yaml").exists():
        arguments = (ROBOT.parent / "checkpoint", "--out", path, "--robot", ROBOT)
        command = [sys.executable, "-m", "wall_edge", "export", *map(str, arguments)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path.resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--bundle", type=Path, default=Path("runs/tabletop-bundle"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle = require_bundle(given.bundle)
    delays, tries = random.Random(given.seed), []
    for number in range(given.tries):
        with tempfile.TemporaryDirectory() as folder:
            tries.append(one_try(Path(folder), bundle, delays.uniform(0.1, 0.6)))
        print(f"{number + 1:3} {tries[-1]}", file=sys.stderr)
    reaction = np.array([one.reaction_ms for one in tries])
    asked_ms = 2 * 1000.0 / load_robot(ROBOT).control.rate_hz + _ALLOWED_MS
    result = {
        "tries": len(tries),
        "asked_ms": asked_ms,
        "worst_ms": float(reaction.max()),
        **{f"p{p}_ms": float(np.percentile(reaction, p)) for p in (50, 90, 99)},
        "in_time": int((reaction <= asked_ms).sum()),
        "braked": sum(one.braked for one in tries),
        "limp": sum(one.limp for one in tries),
        "latched": sum(one.latched for one in tries),
        "exit_code_1": sum(one.exit_code == 1 for one in tries),
        "in_motion": sum(one.speed > 0.05 for one in tries),
        **provenance("onnxruntime"),
    }
    if given.json:
        print(json.dumps({**result, "each": [asdict(one) for one in tries]}))
        return
    for name, value in result.items():
        print(f"{name:12} {value:.2f}" if isinstance(value, float) else f"{name:12} {value}")


if __name__ == "__main__":
    main()
