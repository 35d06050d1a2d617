"""What is verified of FAST actions: the logits of a chunk's first word."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest
from wall_edge.verification.comparison import StageCheck
from wall_edge.verification.moment import Arrays, Check, Moment


class FastStages:
    """As :class:`wall_edge.verification.flow_stages.FlowStages`, of actions that are words."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment

    @classmethod
    def inputs(cls, manifest: Manifest, rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG003
        """None: words need no noise."""
        return {}

    def prefill(self) -> None:
        """Cache the action prompt's keys/values, given the image tokens that are there."""
        self._moment.encoder.prefill_action(self._moment.observation, self._moment.words)

    def whole(self) -> dict[str, Array]:
        """Logits of the first FAST token, from frames."""
        session = self._moment.encoder.session
        session.encode_images(self._moment.observation.frames)
        self.prefill()
        return {"action_logits": session.logits()}

    def record(self) -> dict[str, Array]:
        """All that the goldens hold of the actions."""
        return self.whole()

    def step_checks(self, goldens: Arrays, check: Check) -> Iterator[StageCheck]:  # noqa: ARG002
        """None: there are no steps."""
        return iter(())

    def whole_checks(self, whole: Arrays, goldens: Arrays, check: Check) -> Iterator[StageCheck]:
        """What :meth:`whole` gave."""
        yield check("action_logits", "action_logits", whole["action_logits"], goldens["action_logits"])
