"""The action loop hands an observation's prefix to the planner, which words the next subgoal from it."""

from __future__ import annotations

from wall_edge.policies.observation import Observation
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.runtime.policy.mission import ActiveInstruction, Mission
from wall_edge.runtime.telemetry.run_log import SubgoalRecord


class PlannerHandoff:
    """The planner's side: one subgoal at a time, from a copy of an observation's prefix.

    Whoever holds the prefix calls :meth:`wants` and :meth:`take`; whoever decodes calls :meth:`decode` and
    then :meth:`done`. One thread may do each: ``busy`` is handed from one to the other.
    """

    def __init__(self, planner: SubgoalPlanner, mission: Mission, period_ns: int) -> None:
        self._planner, self._mission, self._period_ns = planner, mission, period_ns
        self._due_ns = 0
        self._work: tuple[ActiveInstruction, Observation] | None = None
        self.busy = False
        self.count = 0
        """Prefixes handed over so far. ``busy`` does not tell of one: the last may have ended meanwhile."""

    def wants(self, active: ActiveInstruction, now_ns: int) -> bool:
        """Whether a new subgoal should be worded now; the first of an instruction at once."""
        return not self.busy and (active.words is None or now_ns >= self._due_ns)

    def take(self, active: ActiveInstruction, observation: Observation) -> None:
        """The prefix of ``observation`` is in the planner's session now."""
        self._work, self.busy = (active, observation), True
        self.count += 1

    def decode(self) -> str:
        """The next sub-task in words; raises :class:`PolicyError` when the sentence does not end."""
        assert self._work is not None
        return self._planner.words(self._work[0].instruction)

    def done(self, words: str | None, now_ns: int) -> SubgoalRecord | None:
        """Stage the words (None: refused); they take effect with the next chunk that is begun.

        None for words whose instruction has been replaced meanwhile.
        """
        assert self._work is not None
        active, observation = self._work
        self._due_ns = now_ns + self._period_ns
        switched = False
        if words is not None:
            offer = self._mission.offer(active.epoch, words)
            if offer is None:
                self.busy = False
                return None
            active, switched = offer
        self.busy = False
        return SubgoalRecord(
            active.subgoal_id,
            active.epoch,
            observation.frames_ns,
            now_ns,
            words or "",
            switched,
            observation.index,
        )
