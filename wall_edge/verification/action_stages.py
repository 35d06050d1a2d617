"""Which stages a kind of action has."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle import FastActions, FlowActions
from wall_edge.verification.fast_stages import FastStages
from wall_edge.verification.flow_stages import FlowStages

ActionStages = FlowStages | FastStages
ACTION_STAGES: Mapping[str, type[ActionStages]] = {FlowActions.kind: FlowStages, FastActions.kind: FastStages}
"""By kind."""
