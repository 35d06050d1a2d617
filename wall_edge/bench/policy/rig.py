"""What is timed: a policy and a planner on one engine, as the policy process has them."""

from __future__ import annotations

import time
from collections.abc import Callable

from wall_edge_engines import Engine

from wall_edge.bench.policy.session import WORDS, TimedSession
from wall_edge.bundle import MAX_SUBGOAL_TOKENS, Bundle, session_capacity
from wall_edge.errors import PolicyError
from wall_edge.policies.action_policy import action_policy
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts

CHUNK = "chunk"


class PolicyRig:
    """One observation and one instruction, again and again. One thread at a time.

    ``steps``: integration steps, the bundle's time grid without it. Sessions end with the rig: before its
    engine is closed.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        observation: Observation,
        words: str,
        *,
        steps: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        manifest, self._clock = bundle.manifest, clock
        self._observation, self._words = observation, words
        capacity, prompts = session_capacity(manifest), Prompts.of(bundle)
        self._session = TimedSession(engine, capacity=capacity, clock=clock)
        self._planner = Encoder.on(engine, manifest, prompts, lane="words")
        self.encoder = Encoder(manifest, prompts, self._session)
        self.policy = action_policy(bundle, self.encoder, integration_steps=steps)

    @property
    def speaks(self) -> bool:
        """Whether the chunk comes in words (FAST), as many as the model says."""
        return not self.encoder.manifest.actions.integrates

    def chunk(self) -> float:
        """Seconds of one chunk, from frames and joints to positions; nothing waits but its end.

        Raises :class:`PolicyError` for what is no chunk.
        """
        self._session.timing = False
        begun = self._clock()
        self.policy.chunk(self._observation, self._words)
        return self._clock() - begun

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of one chunk: those of :class:`TimedSession`, one of its words, and ``host``,
        what is left."""
        self._session.timing = True
        self._session.restart()
        begun = self._clock()
        try:
            self.policy.chunk(self._observation, self._words)
        except PolicyError:
            if not self.speaks:  # words that are no chunk took their time all the same
                raise
        spent = dict(self._session.spent)
        spent["host"] = self._clock() - begun - sum(spent.values())
        if WORDS in spent:
            spent[WORDS] /= self._session.runs[WORDS]
        return spent

    def subgoal(self, words: int = MAX_SUBGOAL_TOKENS) -> tuple[list[float], list[float]]:
        """Seconds of each of the next ``words`` of a sub-task, and of the vocabulary head alone."""
        self._session.timing = False
        self.encoder.observe(self._observation)
        self.encoder.fork(self._planner)
        tokens = self._planner.greedy_tokens(self._planner.prefill_subgoal(self._words, observed=True))
        next(tokens)
        times, heads = [], []
        for _ in range(min(words, MAX_SUBGOAL_TOKENS) - 1):
            begun = self._clock()
            next(tokens)
            after = self._clock()
            self._planner.session.next_token()
            times.append(after - begun)
            heads.append(self._clock() - after)
        return times, heads
