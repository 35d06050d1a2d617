"""What ``wall-edge inspect`` and ``wall-edge export`` say of a bundle's policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from wall_edge.bundle import ActionKind, FastActions, FastSettings, FlowActions, StateText, TimeSchedule
from wall_edge.cli.bundle.facts import policy_facts, slot_facts


def said(actions: ActionKind, **changes: Any) -> dict[str, str]:
    """Of as much of a manifest as is looked at."""
    plain = {
        "policy": "wall-oss, flow actions",
        "prompt_wording": "upstream",
        "prompt_action_space": None,
        "state_text": None,
        "max_prompt_tokens": 900,
        "horizon": 32,
        "action_rate_hz": 20.0,
        "actions": actions,
    }
    manifest: Any = SimpleNamespace(**{**plain, **changes})
    return policy_facts(manifest)


def test_the_first_generation() -> None:
    assert said(FlowActions(TimeSchedule().grid(9))) == {
        "policy": "wall-oss, flow actions",
        "prompt": "upstream wording, the state in a token of its own, at most 900 tokens",
        "chunk": "32 steps at 20 Hz (1.60 s)",
        "integration": "9 Euler steps, times 0 to 1",
    }


def test_the_later_generation() -> None:
    schedule = TimeSchedule(0.999, 2.0)
    facts = said(
        FlowActions(schedule.grid(10), schedule),
        prompt_wording="wall-oss-0.5",
        prompt_action_space="Rel EEF",
        state_text=StateText(256),
    )
    assert facts["prompt"] == (
        "wall-oss-0.5 wording, a system turn for Rel EEF, the state in words of 256 bins, at most 900 tokens"
    )
    assert facts["integration"] == "10 Euler steps, times 0 to 0.999, shifted by 2"


def test_times_that_a_robot_chose_are_not_the_schedules() -> None:
    actions = FlowActions((0.0, 0.4, 0.95), TimeSchedule(0.999, 2.0))
    assert said(actions)["integration"] == "2 Euler steps, times 0 to 0.95"


def test_actions_in_words_are_not_integrated() -> None:
    facts = said(FastActions(FastSettings(scale=10.0, vocab_size=2048, min_token=-354)))
    assert facts["integration"] == "none: a chunk is words"


def counted(**numbers: int | None) -> dict[str, str]:
    manifest: Any = SimpleNamespace(**numbers)
    return slot_facts(manifest)


def test_slots_are_told_where_a_robot_takes_fewer() -> None:
    """Six joints of a model of 26 slots looked like a model of six."""
    numbers: dict[str, int | None] = {"dof": 6, "action_slots": 26, "state_dof": 7, "model_state_slots": 20}
    assert counted(**numbers) == {
        "slots": "6 of the model's 26 for actions, 7 of the model's 20 for the state"
    }
    assert counted(**{**numbers, "model_state_slots": None}) == {"slots": "6 of the model's 26 for actions"}
    assert counted(**{**numbers, "action_slots": 6}) == {"slots": "7 of the model's 20 for the state"}
    assert counted(dof=6, action_slots=6, state_dof=7, model_state_slots=7) == {}
