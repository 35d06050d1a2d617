"""Observations in, chunks out: whose words a chunk acts on, and how the planner is handed its work."""

from __future__ import annotations

import json
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import wall_edge_engines

from wall_edge.bundle import Bundle, FastActions, FastSettings
from wall_edge.config import PolicyConfig, RobotConfig, RtcScheduler, SyncScheduler, load_robot
from wall_edge.errors import ConfigError
from wall_edge.policies.observation import Observation
from wall_edge.runtime.policy.action_loop import ActionLoop, require_horizon
from wall_edge.runtime.policy.handoff import PlannerHandoff
from wall_edge.runtime.policy.mission import Mission
from wall_edge.runtime.policy.process import require_pace
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

MS = 1_000_000
TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
TASK = TabletopWorld(3).episode.task


@pytest.fixture(scope="module")
def parts(shipped_bundle: Path) -> tuple[Bundle, Any]:
    bundle = Bundle(shipped_bundle)
    return bundle, wall_edge_engines.load(bundle)


def loop(parts: tuple[Bundle, Any], **settings: Any) -> ActionLoop:
    robot = load_robot(TABLETOP)
    return ActionLoop(*parts, replace(robot, policy=PolicyConfig(**settings)))


def look(index: int = 1, time_ms: int = 1000) -> Observation:
    frames = TabletopWorld(3).frames(arm.REST)
    return Observation(time_ms * MS, frames, np.array(arm.REST), time_ms * MS - 1, 500 * MS, index)


def four_of_six(
    parts: tuple[Bundle, Any], folder: Path, settings: PolicyConfig
) -> tuple[Bundle, Any, RobotConfig]:
    """The arm with a policy of its first four joints: the model's other slots are padding."""
    bundle, engine = copy(parts[0]), parts[1]
    robot, named = bundle.manifest.embodiment, arm.JOINTS
    layouts = {
        side: replace(layout, degrees=layout.degrees[:4], offset=layout.offset[:4], scale=layout.scale[:4])
        for side, layout in (("state", robot.state), ("action", robot.action))
    }
    bundle.manifest = replace(bundle.manifest, embodiment=replace(robot, **layouts))
    entries = {name: {"kind": "joint", "joint": name, "unit": "rad"} for name in named[:4]}
    file = folder / "robot.yaml"
    action = entries | dict.fromkeys(named[4:], "padding")
    file.write_text(json.dumps({"extends": str(TABLETOP), "embodiment": {"action": action}}))
    return bundle, engine, replace(load_robot(file), policy=settings)


class FakePlanner:
    def words(self, instruction: str) -> str:
        return f"first, {instruction}"


class TestHandoff:
    def parts_of(self) -> tuple[PlannerHandoff, Mission]:
        mission = Mission(subgoals=True)
        mission.instruct(1, 0, "touch it.")
        return PlannerHandoff(FakePlanner(), mission, 200 * MS), mission  # type: ignore[arg-type]

    def test_the_first_words_are_wanted_at_once_and_the_next_after_a_pause(self) -> None:
        handoff, mission = self.parts_of()
        assert mission.active is not None
        assert handoff.wants(mission.active, 0)
        handoff.take(mission.active, look(index=7))
        assert handoff.busy
        assert not handoff.wants(mission.active, 10**12)  # one at a time
        record = handoff.done(handoff.decode(), 300 * MS)
        assert record is not None
        assert (record.text, record.switched, record.observation) == ("first, touch it.", True, 7)
        assert (record.observation_ns, record.ready_ns) == (1000 * MS - 1, 300 * MS)
        assert not handoff.busy
        assert mission.active.words == "first, touch it."
        assert not handoff.wants(mission.active, 499 * MS)
        assert handoff.wants(mission.active, 500 * MS)

    def test_refused_words_change_nothing_and_are_told(self) -> None:
        handoff, mission = self.parts_of()
        assert mission.active is not None
        handoff.take(mission.active, look())
        record = handoff.done(None, 5)
        assert record is not None
        assert (record.text, record.switched) == ("", False)
        assert mission.active.words is None
        assert not handoff.busy

    def test_words_of_an_earlier_instruction_are_dropped(self) -> None:
        handoff, mission = self.parts_of()
        assert mission.active is not None
        handoff.take(mission.active, look())
        mission.instruct(2, 0, "touch another.")
        assert handoff.done(handoff.decode(), 5) is None
        assert mission.active.words is None
        assert handoff.wants(mission.active, 5)  # the new instruction's first words, at once


class TestActionLoop:
    def test_a_subgoal_takes_effect_with_the_next_chunk(self, parts: tuple[Bundle, Any]) -> None:
        actions = loop(parts)
        assert not actions.ready(0, None)  # nothing to do yet
        actions.mission.instruct(1, 0, TASK.instruction)
        assert actions.ready(1000 * MS, None)
        assert actions.begin(look(1), 1000 * MS) is None  # no words to act on
        assert actions.handoff.busy
        assert not actions.ready(1000 * MS, None)  # until they are there
        actions.handoff.done(TASK.subgoal(0), 1040 * MS)
        assert actions.ready(1040 * MS, None)
        pending = actions.begin(look(2), 1050 * MS)
        assert pending is not None
        actions.mission.offer(1, TASK.subgoal(1))  # staged while the chunk is computed
        published = actions.finish(pending, 1070 * MS)
        assert published is not None
        chunk, record = published
        assert (record.subgoal, record.subgoal_id, record.observation) == (TASK.subgoal(0), 1, 2)
        assert (chunk.plan_start_ns, chunk.observation_time_ns) == (500 * MS, 1000 * MS)
        assert (chunk.epoch, chunk.index, chunk.published_time_ns) == (1, 1, 1070 * MS)
        assert actions.begin(look(3), 1150 * MS).active.words == TASK.subgoal(1)  # type: ignore[union-attr]

    def test_a_chunk_of_a_replaced_instruction_is_not_published(self, parts: tuple[Bundle, Any]) -> None:
        actions = loop(parts, subgoals=False)
        actions.mission.instruct(1, 0, TASK.instruction)
        assert actions.ready(0, None)
        pending = actions.begin(look(), 0)
        actions.mission.instruct(2, 0, TASK.instruction)
        assert pending is not None
        assert actions.finish(pending, 5) is None

    @pytest.mark.parametrize("subgoals", [False, True])
    def test_a_policy_that_sees_less_than_all_joints_answers(
        self, parts: tuple[Bundle, Any], tmp_path: Path, subgoals: bool
    ) -> None:
        """It refused each observation: "state [6 values]; expected 4 finite values"."""
        actions = ActionLoop(*four_of_six(parts, tmp_path, PolicyConfig(subgoals=subgoals)))
        actions.mission.instruct(1, 0, TASK.instruction)
        assert actions.ready(0, None)
        if subgoals:
            assert actions.begin(look(), 0) is None
            actions.handoff.done(actions.handoff.decode(), 1)
        pending = actions.begin(look(), 0)
        assert pending is not None
        assert pending.values.shape == (24, 4)
        assert pending.body.positions.shape == (24, 6)
        assert (pending.body.positions[:, 4:] == arm.REST[4:]).all()

    def test_an_instruction_begins_with_a_new_scheduler(self, parts: tuple[Bundle, Any]) -> None:
        actions = loop(parts, subgoals=False)
        actions.mission.instruct(1, 0, TASK.instruction)
        assert actions.ready(0, None)
        pending = actions.begin(look(), 0)
        assert pending is not None
        actions.finish(pending, 5)
        assert actions.scheduler.plan is not None
        assert not actions.ready(1, None)
        actions.mission.instruct(2, 0, TASK.instruction)
        assert actions.ready(1, None)
        assert actions.scheduler.plan is None

    def test_a_chunk_is_a_function_of_its_observation(self, parts: tuple[Bundle, Any]) -> None:
        """Not of the clock, nor of what was computed before: the daemon and virtual time agree."""
        chunks = []
        for before, now in ((0, 0), (3, 10**15)):
            actions = loop(parts, subgoals=False)
            actions.mission.instruct(1, 0, TASK.instruction)
            actions.warm_up()
            for index in range(before):
                actions.begin(look(50 + index), now)
            chunks.append(actions.begin(look(9), now))
        assert chunks[0] is not None
        assert chunks[1] is not None
        np.testing.assert_array_equal(chunks[0].values, chunks[1].values)

    def test_a_chunk_that_is_over_when_it_arrives(self, parts: tuple[Bundle, Any]) -> None:
        given = parts[0].manifest, PolicyConfig()
        require_horizon(*given, 766 * MS, "a delay")
        told = r"a delay of 900 ms: .*\(24 - 1\) · 33.3 = 767 ms, so 767 - 900 = -133 ms"
        with pytest.raises(ConfigError, match=told):
            require_horizon(*given, 900 * MS, "a delay")
        with pytest.raises(ConfigError, match="shorter than a chunk"):
            require_horizon(*given, 767 * MS, "a delay")
        waits = PolicyConfig(scheduler=SyncScheduler())
        require_horizon(parts[0].manifest, waits, 10_000 * MS, "a delay")

    @pytest.mark.parametrize(("times_ms", "tries"), [([60], 1), ([900, 60], 2), ([900, 800, 900], 3)])
    def test_one_slow_answer_refuses_no_start(
        self, parts: tuple[Bundle, Any], times_ms: list[int], tries: int
    ) -> None:
        """One run was timed: another program's burst in that second, and the robot did not start."""
        ticks = iter([end for ms in times_ms for end in (0, ms * MS)])
        runs: list[int] = []
        timed = cast(ActionLoop, SimpleNamespace(manifest=parts[0].manifest, warm_up=lambda: runs.append(1)))
        slow = pytest.raises(ConfigError, match="time of 800 ms") if tries == 3 else nullcontext()
        with slow:
            require_pace(timed, PolicyConfig(), lambda: next(ticks))
        assert len(runs) == tries

    def test_rtc_needs_its_graph(self, parts: tuple[Bundle, Any]) -> None:
        with pytest.raises(ConfigError, match="export it again with --guidance"):
            loop(parts, scheduler=RtcScheduler(form="jacobian"))
        loop(parts, scheduler=RtcScheduler())

    def test_rtc_needs_a_flow(self, parts: tuple[Bundle, Any]) -> None:
        manifest = copy(parts[0].manifest)
        fast = FastActions(FastSettings(scale=10.0, vocab_size=2048, min_token=-354))
        object.__setattr__(manifest, "actions", fast)  # a whole FAST manifest is not the point here
        told = "policy.scheduler rtc with FAST actions; expected a flow policy, or another scheduler"
        with pytest.raises(ConfigError, match=told):
            RtcScheduler().require(manifest)
