"""The daemon under a service manager: what that is told, and where its signals lead."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import serving_port

from tests.machines.powered_arm import PoweredArm, robot_file, servos_of
from tests.machines.service_manager import Manager
from wall_edge.config import RobotConfig
from wall_edge.runtime.telemetry.event_log import read_events

BLOCKABLE = """
if __name__ == "__main__":
    import sys, time
    from pathlib import Path
    from wall_edge.runtime.daemon.supervisor import Supervisor
    from wall_edge.__main__ import main
    block, receive = Path(sys.argv.pop(1)), Supervisor.receive
    def blocked(self, timeout_s):
        while block.exists():
            time.sleep(0.01)
        return receive(self, timeout_s)
    Supervisor.receive = blocked
    main()
"""
"""``wall-edge`` whose main thread hangs while a file is there, as it would on a dead disk."""


class Unit(PoweredArm):
    """``wall-edge run`` as the main process of a unit, on an arm that outlives it."""

    def __init__(self, bus: FeetechTwin, robot: Path, manager: Manager) -> None:
        super().__init__(bus)
        self.manager, self.folder = manager, robot.parent
        self.block, self.events = self.folder / "block", self.folder / "events.jsonl"
        program = self.folder / "blockable.py"
        program.write_text(BLOCKABLE)
        command = [
            sys.executable,
            str(program),
            str(self.block),
            "run",
            str(robot),
            "--events",
            str(self.events),
        ]
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        here = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.limp_before = self.limp()
        self.main = manager.start(command, {**os.environ, **state, **here})

    def pid(self, name: str) -> int:
        spawned = [event for event in read_events(self.events) if event["kind"] == "spawned"]
        return next(int(str(event["pid"])) for event in spawned if event["process"] == name)

    def follows(self) -> None:
        self.manager.wait_until(lambda: self._has("chunkrecord"), seconds=240)

    def _has(self, kind: str) -> bool:
        return self.events.exists() and any(event["kind"] == kind for event in read_events(self.events))


@pytest.fixture
def start(shipped_bundle: Path, robot: RobotConfig, tmp_path: Path) -> Iterator[Callable[..., Unit]]:
    managers: list[Manager] = []
    bus = servos_of(robot)
    with serving_port(bus) as port:

        def make(watchdog_s: float, address: str = "") -> Unit:
            path = robot_file(tmp_path, shipped_bundle, port.path)
            managers.append(Manager(address or str(tmp_path / "notify"), watchdog_s))
            return Unit(bus, path, managers[-1])

        yield make
        for manager in managers:
            manager.close()
            assert manager.wrong == []


def test_ready_means_that_the_arm_holds(start: Callable[..., Unit], tmp_path: Path) -> None:
    """Said once it is under torque and not before; then signs of life; then a stop that asks for its time."""
    unit = start(watchdog_s=4, address=f"@wall-edge-{os.getpid()}-{tmp_path.name}")
    assert unit.limp_before
    manager = unit.manager
    manager.wait_until(lambda: manager.count("READY") == 1, seconds=240)
    assert unit.powered()
    assert manager.count("EXTEND_TIMEOUT_USEC") > 1
    unit.follows()
    before = manager.count("WATCHDOG")
    manager.wait_until(lambda: manager.count("WATCHDOG") > before + 3)
    manager.wait_until(
        lambda: any("following" in value for _, name, value in manager.words if name == "STATUS")
    )
    manager.signal(signal.SIGTERM)
    code, output, errors = manager.ended()
    assert (code, "released after" in output) == (0, True), errors
    assert unit.limp()
    assert unit.at_rest()
    words = [(name, value) for _, name, value in manager.words]
    ending = words[words.index(("STOPPING", "1")) :]
    assert [name for name, _ in ending] == ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS", "STATUS"]
    assert ending[-1] == ("STATUS", "released")


def test_a_hung_servo_process_starves_the_watchdog(start: Callable[..., Unit]) -> None:
    """The supervisor's loop goes round all the while: it alone is no sign of life."""
    unit = start(watchdog_s=0.8)
    unit.follows()
    manager = unit.manager
    before = manager.count("WATCHDOG")
    manager.wait_until(lambda: manager.count("WATCHDOG") > before + 3)
    os.kill(unit.pid("servo"), signal.SIGSTOP)
    manager.settle()
    fed = manager.count("WATCHDOG")
    code, output, errors = manager.ended()
    assert manager.count("WATCHDOG") <= fed + 2  # a tick that was not told of yet, and one under way
    assert (code, "the servo process was silent" in errors) == (1, True), output
    assert manager.count("STOPPING") == 1
    assert unit.limp()
    assert "the servo process was silent" in manager.words[-1][2]


def test_a_hung_supervisor_starves_the_watchdog_whose_signal_brings_the_arm_to_rest(
    start: Callable[..., Unit],
) -> None:
    """Ticks and the heart go on: neither feeds. The servo process obeys SIGTERM, and nobody is killed."""
    unit = start(watchdog_s=3)
    unit.follows()
    manager = unit.manager
    manager.wait_until(lambda: not unit.at_rest())
    unit.block.touch()
    manager.wait_until(lambda: manager.silent_s() > manager.watchdog_s)
    assert unit.powered()
    manager.signal(signal.SIGTERM)  # WatchdogSignal
    manager.wait_until(unit.limp)
    assert unit.at_rest()
    assert unit.main.poll() is None
    assert manager.count("STOPPING") == 0
    unit.block.unlink()
    output, errors = unit.main.communicate(timeout=120)
    assert (unit.main.returncode, "released after" in output) == (0, True), errors


def test_a_suspended_supervisor(start: Callable[..., Unit]) -> None:
    """All its threads stand, the heart too: the servo process goes to rest before any signal comes."""
    unit = start(watchdog_s=3)
    unit.follows()
    os.kill(unit.main.pid, signal.SIGSTOP)
    unit.manager.wait_until(unit.limp)
    assert unit.at_rest()
    unit.manager.signal(signal.SIGTERM)
    unit.main.communicate(timeout=120)
    assert unit.main.returncode in (0, 1)


def test_a_killed_supervisor_leaves_a_servo_process_that_the_units_signal_does_not_break_off(
    start: Callable[..., Unit],
) -> None:
    """Why KillMode is not mixed: what is left gets SIGTERM, not SIGKILL, amid its way to rest."""
    unit = start(watchdog_s=30)
    unit.follows()
    servo = unit.pid("servo")
    os.kill(unit.main.pid, signal.SIGKILL)
    os.killpg(unit.main.pid, signal.SIGTERM)
    unit.main.communicate(timeout=120)  # ends with the last process that has its pipes
    deadline = time.monotonic() + 60
    while Path(f"/proc/{servo}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert unit.limp()
    assert unit.at_rest()
