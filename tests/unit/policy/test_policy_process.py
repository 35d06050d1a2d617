"""The policy process's two threads: who hands work to whom, and that neither waits for the other for ever."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.patience import patient
from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import BundleError, PolicyError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import chunk_dtype, feedback_dtype, frame_dtype
from wall_edge.runtime.ipc.messages import Instruct, Refusal, Stop
from wall_edge.runtime.policy.process import PolicyProcess
from wall_edge.runtime.telemetry.run_log import ChunkRecord, SubgoalRecord
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

PATIENCE_S = 120.0
"""What is done on a busy machine is done by then; what is not hangs."""
WORLD = TabletopWorld(3)
TASK = WORLD.episode.task
PICTURES = WORLD.frames(arm.REST)


class Bench:
    """The body of a policy process in this one; cameras and servo loop are a thread, messages a list."""

    def __init__(self, config: RobotConfig, bundle: Bundle) -> None:
        manifest_horizon = 24
        self.frames = {name: Mailbox(frame_dtype(84, 84)) for name in config.cameras}
        self.feedback = Mailbox(feedback_dtype(config.dof))
        self.chunks = Mailbox(chunk_dtype(manifest_horizon, config.dof))
        self.sent: list[Any] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.process = PolicyProcess(
            config,
            bundle,
            self.frames,
            self.feedback,
            self.chunks,
            self,  # type: ignore[arg-type]
            None,
        )
        self.loop = self.process._loop
        self.near, self._far = multiprocessing.Pipe()
        self._alive, self.raised = True, ""
        self._eyes = threading.Thread(target=self._look, daemon=True)
        self._body = threading.Thread(target=self._run, daemon=True)

    def send(self, message: object) -> None:
        self.sent.append(message)

    def log(self, kind: str, fields: dict[str, Any]) -> None:
        self.logged.append((kind, fields))

    def show(self) -> None:
        joints = np.zeros(1, self.feedback.dtype)[0]
        joints["measured_ns"], joints["position"], joints["last_index"] = time.monotonic_ns(), arm.REST, -1
        self.feedback.write(joints)
        for name, shared in self.frames.items():
            record = np.zeros(1, shared.dtype)[0]
            record["time_ns"], record["pixels"] = time.monotonic_ns(), PICTURES[name]
            shared.write(record)

    def _look(self) -> None:
        while self._alive:
            self.show()
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            self.process.run(self._far)
        except RuntimeError as error:
            self.raised = str(error)

    def start(self) -> None:
        self._eyes.start()
        self._body.start()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.sent
            time.sleep(0.002)

    def of(self, kind: type, epoch: int) -> list[Any]:
        return [m for m in list(self.sent) if isinstance(m, kind) and m.epoch == epoch]  # type: ignore[attr-defined]

    def end(self) -> bool:
        """Whether a Stop ends it, the planner too, by themselves."""
        self.near.send(Stop())
        self._body.join(PATIENCE_S)
        # The process waits 2 s for its planner, which may take longer on a busy machine.
        planners = [thread for thread in threading.enumerate() if thread.name == "planner"]
        for thread in planners:
            thread.join(PATIENCE_S)
        ended = not any(thread.is_alive() for thread in (self._body, *planners))
        self.leave()
        return ended

    def leave(self) -> None:
        self._alive = False
        self.process._stopping.set()
        self.process._forked.set()
        for thread in (self._eyes, self._body):
            if thread.is_alive():
                thread.join(PATIENCE_S)


@pytest.fixture
def bench(robot: RobotConfig, shipped_bundle: Path) -> Iterator[Bench]:
    robot = patient(robot)
    policy = replace(robot.policy, chunk_period_ms=20, subgoal_period_ms=1)
    control = replace(robot.control, blend_ms=10, rate_hz=250)
    config = replace(robot, bundle=shipped_bundle, policy=policy, control=control)
    made = Bench(config, Bundle(shipped_bundle))
    try:
        yield made
    finally:
        made.leave()


def instruct(bench: Bench, epoch: int) -> None:
    bench.near.send(Instruct(epoch, time.monotonic_ns(), TASK.instruction))


def test_chunks_and_subgoals_go_on_side_by_side(bench: Bench) -> None:
    bench.start()
    instruct(bench, 1)
    bench.until(lambda: len(bench.of(ChunkRecord, 1)) >= 5 and len(bench.of(SubgoalRecord, 1)) >= 5)
    assert isinstance(bench.sent[0], SubgoalRecord)  # nothing is done before there are words
    assert bench.sent[0].text == TASK.subgoal(0)
    assert bench.end()
    assert not bench.raised


def test_what_goes_to_sinks_is_logged_with_its_chunk(bench: Bench) -> None:
    begin, values = bench.loop.begin, np.ones((24, 2))

    def with_sink(observation: Any, now_ns: int) -> Any:
        pending = begin(observation, now_ns)
        return pending and replace(pending, body=replace(pending.body, sinks={"base": values}))

    bench.loop.begin = with_sink  # type: ignore[method-assign]
    bench.start()
    instruct(bench, 1)
    bench.until(lambda: len(bench.of(ChunkRecord, 1)) >= 3)
    bench.end()
    chunks = [record.index for record in bench.of(ChunkRecord, 1)]
    assert [fields["chunk"] for _, fields in bench.logged] == chunks
    assert {kind for kind, _ in bench.logged} == {"sink"}
    assert bench.logged[0][1]["values"] == values.tolist()


def test_a_prefix_that_is_taken_just_as_the_planner_ends_wakes_it(bench: Bench) -> None:
    """Busy before and busy after: the planner was not woken, and worded nothing any more."""
    loop, forked = bench.loop, bench.process._forked
    loop.mission.instruct(1, 0, TASK.instruction)

    def act() -> None:
        bench.show()
        assert loop.ready(time.monotonic_ns(), None)
        bench.process._act()

    act()
    assert loop.handoff.busy
    assert forked.is_set()
    forked.clear()
    loop.mission.offer(1, TASK.subgoal(0))
    observe = loop._policy.observe

    def slowly(observation: Any) -> None:
        observe(observation)
        loop.handoff.done(TASK.subgoal(0), 0)  # the planner thread, while this one encodes pictures

    loop._policy.observe = slowly  # type: ignore[method-assign]
    act()
    assert loop.handoff.busy
    assert forked.is_set()


def test_a_new_instruction_while_the_planner_is_busy(bench: Bench) -> None:
    decode, busy, go = bench.loop.handoff.decode, threading.Event(), threading.Event()

    def slow() -> str:
        busy.set()
        go.wait(PATIENCE_S)
        return decode()

    bench.loop.handoff.decode = slow  # type: ignore[method-assign]
    bench.start()
    instruct(bench, 1)
    assert busy.wait(PATIENCE_S)
    instruct(bench, 2)
    bench.until(lambda: bench.loop.mission.active.epoch == 2)  # type: ignore[union-attr]
    time.sleep(0.1)
    assert bench.sent == []  # no words of the new instruction, so nothing to act on
    go.set()
    bench.until(lambda: len(bench.of(ChunkRecord, 2)) >= 2)
    assert bench.of(SubgoalRecord, 1) == bench.of(ChunkRecord, 1) == []
    assert bench.of(SubgoalRecord, 2)[0].text == TASK.subgoal(0)
    seen = bench.of(SubgoalRecord, 2)[0].observation
    assert all(chunk.observation > seen for chunk in bench.of(ChunkRecord, 2))


def test_a_stop_while_the_planner_decodes(bench: Bench) -> None:
    decode, busy = bench.loop.handoff.decode, threading.Event()

    def slow() -> str:
        busy.set()
        time.sleep(0.3)
        return decode()

    bench.loop.handoff.decode = slow  # type: ignore[method-assign]
    bench.start()
    instruct(bench, 1)
    assert busy.wait(PATIENCE_S)
    assert bench.end()
    assert not bench.raised


def test_refused_words_are_told_and_asked_for_again(bench: Bench) -> None:
    decode, left = bench.loop.handoff.decode, [PolicyError("it did not end")]

    def failing() -> str:
        if left:
            raise left.pop()
        return decode()

    bench.loop.handoff.decode = failing  # type: ignore[method-assign]
    bench.start()
    instruct(bench, 1)
    bench.until(lambda: len(bench.of(ChunkRecord, 1)) >= 1)
    refused, subgoal = bench.sent[0], bench.sent[1]
    assert refused == Refusal("subgoal", "it did not end")
    assert (subgoal.text, subgoal.switched) == ("", False)


def test_the_supervisors_check_of_the_bundle_counts_and_a_file_that_changed_since_is_refused(
    robot: RobotConfig, copy_bundle: Callable[[], Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any of it is opened: no digest is computed and no engine asked."""
    bundle = copy_bundle()
    config = patient(replace(robot, bundle=bundle.folder))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the files were opened or hashed")

    with monkeypatch.context() as patched:
        patched.setattr("wall_edge.bundle.reader.hashlib.sha256", never)
        Bench(config, bundle).leave()
    path = bundle.folder / "expert.data"
    path.write_bytes(path.read_bytes())
    monkeypatch.setattr("wall_edge_engines.load", never)
    with pytest.raises(BundleError, match=r"expert\.data: replaced or written to"):
        Bench(config, bundle)


def test_what_goes_wrong_in_the_planner_ends_the_process(bench: Bench) -> None:
    def broken() -> str:
        raise RuntimeError("the engine is gone")

    bench.loop.handoff.decode = broken  # type: ignore[method-assign]
    bench.start()
    instruct(bench, 1)
    bench._body.join(PATIENCE_S)
    assert bench.raised == "the engine is gone"
