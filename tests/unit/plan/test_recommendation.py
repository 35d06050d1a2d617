"""Which recipe, and how many steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wall_edge_engines.plan.rates import Verdict
from wall_edge_engines.plan.recommendation import Option, recommend


def up_to(steps: int, perhaps: int = 0) -> Callable[[int | None], Verdict]:
    """Holds with at most ``steps``, and perhaps with at most ``perhaps``."""
    return lambda asked: "yes" if (asked or 1) <= steps else "perhaps" if (asked or 1) <= perhaps else "no"


def never(_: int | None) -> Verdict:
    pytest.fail("a recipe was looked at that nobody needs")


def test_the_first_that_fits_and_holds_is_taken_and_no_other_is_looked_at() -> None:
    advice = recommend([Option("bf16", "", up_to(10)), Option("int8", "", never)], 10)
    assert (advice.recipe, advice.steps) == ("bf16", 10)


def test_what_does_not_fit_is_passed_over() -> None:
    advice = recommend([Option("bf16", "too large", never), Option("int8", "", up_to(10))], 10)
    assert (advice.recipe, advice.steps) == ("int8", 10)


def test_another_recipe_comes_before_fewer_steps() -> None:
    advice = recommend([Option("bf16", "", up_to(5)), Option("int8", "", up_to(10))], 10)
    assert (advice.recipe, advice.steps) == ("int8", 10)


def test_fewer_steps_are_for_tune_to_confirm() -> None:
    advice = recommend([Option("bf16", "", up_to(5)), Option("int8", "", up_to(7))], 10)
    assert (advice.recipe, advice.steps) == ("bf16", 5)
    assert "5 of 10 steps" in advice.words
    assert "wall-edge tune" in advice.words


def test_below_half_of_the_steps_what_may_hold_is_better() -> None:
    advice = recommend([Option("bf16", "", up_to(4, 10))], 10)
    assert (advice.recipe, advice.steps) == ("bf16", 10)
    assert "measure it" in advice.words


def test_what_may_hold_is_to_be_measured() -> None:
    advice = recommend([Option("bf16", "", up_to(0)), Option("int8", "", up_to(0, 10))], 10)
    assert (advice.recipe, advice.steps) == ("int8", 10)
    assert "measure it" in advice.words


def test_where_nothing_holds_it_is_said() -> None:
    advice = recommend([Option("bf16", "", up_to(0))], 10)
    assert (advice.recipe, advice.steps) == ("bf16", 10)
    assert "nothing holds the rates" in advice.words


def test_where_nothing_fits_every_arithmetic_is_told() -> None:
    advice = recommend([Option("bf16", "20 GB of 8", never), Option("int8", "9 GB of 8", never)], 10)
    assert (advice.recipe, advice.steps) == (None, None)
    assert advice.words == "no recipe fits; bf16: 20 GB of 8; int8: 9 GB of 8"


def test_without_a_time_nothing_is_said_of_rates() -> None:
    advice = recommend([Option("bf16", "", lambda _: None), Option("int8", "", never)], 10)
    assert advice.recipe == "bf16"
    assert "no time is predicted" in advice.words


def test_words_for_actions_have_no_steps() -> None:
    sure, unsure = (recommend([Option("bf16", "", up_to(1 - n, n))], None) for n in (0, 1))
    assert (sure.recipe, sure.steps, unsure.recipe, unsure.steps) == ("bf16", None, "bf16", None)
    assert sure.words.startswith("bf16: fits and holds")
    assert "steps" not in unsure.words
