"""Words never outlive the instruction that they were decoded for."""

from __future__ import annotations

from wall_edge.runtime.policy.mission import Mission


def test_nothing_to_do_before_the_first_instruction() -> None:
    mission = Mission(subgoals=True)
    assert mission.active is None
    assert mission.offer(1, "touch it.") is None


def test_chunks_wait_for_the_first_subgoal_of_an_epoch() -> None:
    mission = Mission(subgoals=True)
    mission.instruct(1, 0, "touch a, then b.")
    assert mission.active is not None
    assert mission.active.words is None
    taken = mission.offer(1, "touch a.")
    assert taken is not None
    assert taken[1]
    assert mission.active.words == "touch a."
    mission.instruct(2, 0, "touch c.")
    assert mission.active.words is None


def test_without_subgoals_the_instruction_is_acted_on() -> None:
    mission = Mission(subgoals=False)
    mission.instruct(1, 0, "touch a.")
    assert mission.active is not None
    assert mission.active.words == "touch a."


def test_the_same_words_are_no_switch_and_new_words_get_a_new_id() -> None:
    mission = Mission(subgoals=True)
    mission.instruct(1, 0, "touch a, then b.")
    ids = []
    for words, switched in (("touch a.", True), ("touch a.", False), ("touch b.", True)):
        taken = mission.offer(1, words)
        assert taken is not None
        assert taken[1] is switched
        ids.append(taken[0].subgoal_id)
    assert ids[0] == ids[1] < ids[2]


def test_a_subgoal_for_an_older_instruction_is_dropped() -> None:
    mission = Mission(subgoals=True)
    mission.instruct(1, 0, "touch a.")
    mission.instruct(2, 0, "touch b.")
    assert mission.offer(1, "touch a.") is None
    assert mission.active is not None
    assert mission.active.words is None
