"""Whether a robot can hold its rates with chunks that take so long: what its scheduler needs, in numbers.

What the daemon does (docs/realtime.md): one inference at a time, an observation every ``chunk_period_ms`` at
the next picture, and a chunk is entered at the step that is due when it arrives. From that:

- a chunk must arrive before it is over, unless the arm waits for it (``sync``): the daemon refuses to start;
- the next chunk, observed a period (or, when that is longer, an inference) and at most a picture later, must
  arrive before the last one ends: else the arm stands until it comes, and longer than ``starved_fault_ms`` is
  a fault;
- a chunk older than ``max_chunk_age_ms`` is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge_engines.plan.prediction import Span

Verdict = Literal["yes", "perhaps", "no"]
"""For the whole range of a prediction, for a part of it, for none of it."""


@dataclass(frozen=True)
class RobotRates:
    """What ROBOT.yaml and the policy ask for; times in ms, defaults as in ROBOT.yaml."""

    horizon: int
    action_rate_hz: float
    scheduler: str = "async"
    waits: bool = False
    """Whether the arm stands while a chunk is computed."""
    execute_steps: int | None = None
    """Of ``sync``: steps of a chunk that are executed; None for half of it."""
    chunk_period_ms: float = 100.0
    max_chunk_age_ms: float = 1000.0
    starved_fault_ms: float = 2000.0
    frame_ms: float = 0.0
    """Between two pictures of the slowest camera."""

    @property
    def chunk_lasts_ms(self) -> float:
        """From a chunk's first step to its last."""
        return (self.horizon - 1) * 1000 / self.action_rate_hz


@dataclass(frozen=True)
class Need:
    """One thing that has to be so, with its arithmetic in words."""

    what: str
    holds: Verdict
    words: str


@dataclass(frozen=True)
class RatesVerdict:
    """``holds`` is the worst of the needs."""

    holds: Verdict
    chunk_period_ms: Span
    """From one observation to the next, at best and at worst."""
    standing_ms: Span
    """How long the arm waits for each chunk."""
    needs: tuple[Need, ...]
    words: str


def judge_rates(rates: RobotRates, chunk_ms: Span) -> RatesVerdict:
    """Judge a robot's rates by the likely range of a chunk's time."""
    needs = [_age(rates, chunk_ms)]
    standing = chunk_ms
    if not rates.waits:
        low, high = (_next_arrival(rates, delay) - rates.chunk_lasts_ms for delay in chunk_ms)
        gap, standing = (low, high), (max(0.0, low), max(0.0, high))
        needs = [_arrival(rates, chunk_ms), _succession(rates, chunk_ms, gap), *needs]
    needs.append(_starved(rates, standing))
    period = _period(rates, chunk_ms[0]), _period(rates, chunk_ms[1])
    holds = _worst(needs)
    return RatesVerdict(holds, period, standing, tuple(needs), _summary(rates, holds, period, standing))


def _period(rates: RobotRates, delay: float) -> float:
    """From one observation to the next."""
    if not rates.waits:
        return max(rates.chunk_period_ms, delay)
    executed = (rates.execute_steps or rates.horizon // 2) * 1000 / rates.action_rate_hz
    return max(rates.chunk_period_ms, delay + executed)


def _next_arrival(rates: RobotRates, delay: float) -> float:
    """When the next chunk arrives, from the observation of the one before."""
    return _period(rates, delay) + rates.frame_ms + delay


def _arrival(rates: RobotRates, chunk_ms: Span) -> Need:
    lasts = rates.chunk_lasts_ms
    duration = f"({rates.horizon} - 1) / {rates.action_rate_hz:g} Hz = {lasts:.0f} ms"
    words = f"a chunk takes {_ms(chunk_ms)} and lasts {duration}"
    return Need("a chunk arrives before it is over", _under(chunk_ms, lasts, strictly=True), words)


def _succession(rates: RobotRates, chunk_ms: Span, gap: Span) -> Need:
    arrival = (gap[0] + rates.chunk_lasts_ms, gap[1] + rates.chunk_lasts_ms)
    words = (
        f"period max({rates.chunk_period_ms:g} ms, chunk) + picture {rates.frame_ms:.0f} ms + chunk "
        f"{_ms(chunk_ms)} = {_ms(arrival)}, the last one lasts {rates.chunk_lasts_ms:.0f} ms"
    )
    return Need("the next chunk arrives before the last one ends", _under(gap, 0.0), words)


def _age(rates: RobotRates, chunk_ms: Span) -> Need:
    words = f"a chunk takes {_ms(chunk_ms)}, max_chunk_age_ms is {rates.max_chunk_age_ms:g}"
    return Need("a chunk is not too old", _under(chunk_ms, rates.max_chunk_age_ms), words)


def _starved(rates: RobotRates, standing: Span) -> Need:
    words = f"the arm waits {_ms(standing)} for each chunk, starved_fault_ms is {rates.starved_fault_ms:g}"
    return Need("no fault while the arm waits", _under(standing, rates.starved_fault_ms), words)


def _summary(rates: RobotRates, holds: Verdict, period: Span, standing: Span) -> str:
    verb = {"yes": "holds", "perhaps": "may hold", "no": "does not hold"}[holds]
    rate = f"{_between((1000 / period[1], 1000 / period[0]))} chunks/s"
    waits = f", the arm stands {_ms(standing)} before each" if standing[1] > 0 else ""
    return f"{rates.scheduler} {verb}: {rate}{waits}"


def _under(span: Span, limit: float, *, strictly: bool = False) -> Verdict:
    low, high = (value < limit or (value == limit and not strictly) for value in span)
    return "yes" if high else "perhaps" if low else "no"


def _worst(needs: list[Need]) -> Verdict:
    order: tuple[Verdict, ...] = ("no", "perhaps", "yes")
    return min((need.holds for need in needs), key=order.index)


def _ms(span: Span) -> str:
    return f"{_between(span)} ms"


def _between(span: Span) -> str:
    low, high = (f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in span)
    return low if low == high else f"{low} to {high}"
