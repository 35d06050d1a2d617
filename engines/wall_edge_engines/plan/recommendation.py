"""Which recipe to export with, and how many integration steps: the first that fits and holds the rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wall_edge.errors import plural
from wall_edge_engines.plan.rates import Verdict

TUNE = "whether so few keep the actions is for 'wall-edge tune' to say, on recorded data"


@dataclass(frozen=True)
class Option:
    """A recipe that could be exported with.

    ``holds``: the rates, with so many integration steps (None: actions are words); None where no time can
    be predicted.
    """

    recipe: str
    refusal: str
    """Why it cannot be taken: memory, or an element type; empty where it can."""
    holds: Callable[[int | None], Verdict | None]


@dataclass(frozen=True)
class Recommendation:
    """``recipe`` is None where nothing can be recommended, ``steps`` also for words; ``words`` say why."""

    recipe: str | None
    steps: int | None
    words: str


def recommend(options: Iterable[Option], steps: int | None) -> Recommendation:
    """The first option that fits and holds the rates at ``steps``; else with the most steps that hold them,
    half of ``steps`` at least; else the first that may hold them.

    Options are looked at one by one, so that what comes first costs the least.
    """
    fit: list[Option] = []
    refusals: list[str] = []
    for option in options:
        if option.refusal:
            refusals.append(f"{option.recipe}: {option.refusal}")
            continue
        fit.append(option)
        verdict = option.holds(steps)
        if verdict is None:
            words = f"{option.recipe} fits; no time is predicted, so nothing is said of rates"
            return Recommendation(option.recipe, steps, words)
        if verdict == "yes":
            words = f"{_title(option, steps)}: fits and holds the rates over the whole predicted range"
            return Recommendation(option.recipe, steps, words)
    if not fit:
        return Recommendation(None, None, "no recipe fits; " + "; ".join(refusals))
    return _fewer_steps(fit, steps) or _perhaps(fit, steps)


def _title(option: Option, steps: int | None) -> str:
    return option.recipe if steps is None else f"{option.recipe}, {plural(steps, 'step')}"


def _fewer_steps(options: list[Option], steps: int | None) -> Recommendation | None:
    """Not below half of them: an action error is likelier there than a range's upper end."""
    most = (steps or 1) - 1
    for option in options:
        for fewer in range(most, most // 2, -1):
            if option.holds(fewer) == "yes":
                held = f"{option.recipe} with {fewer} of {steps} steps holds the rates"
                words = f"{held} over the whole predicted range: {TUNE}"
                return Recommendation(option.recipe, fewer, words)
    return None


def _perhaps(options: list[Option], steps: int | None) -> Recommendation:
    """Where no number of steps that is advised is sure to do."""
    for option in options:
        if option.holds(steps) == "perhaps":
            words = f"{_title(option, steps)}: fits, and may hold the rates: measure it on the device"
            return Recommendation(option.recipe, steps, words)
    advice = "take a longer horizon, another scheduler or another device"
    words = f"{options[0].recipe} fits, but nothing holds the rates: {advice}"
    return Recommendation(options[0].recipe, steps, words)
