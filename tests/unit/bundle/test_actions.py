"""What a kind of action answers, and that every kind is in every table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain, combinations
from typing import get_args, get_type_hints

import pytest

from wall_edge.bundle import (
    MAX_FAST_TOKENS,
    MAX_SUBGOAL_TOKENS,
    ActionKind,
    Embodiment,
    FastActions,
    FastSettings,
    FlowActions,
    GraphSpec,
    Manifest,
    TensorSpec,
    TimeSchedule,
    joint_layout,
    kind_of_graphs,
    require_flow,
    require_steps,
)
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import ConfigError
from wall_edge.policies.action_policy import POLICIES
from wall_edge.verification.action_stages import ACTION_STAGES
from wall_edge.verification.tolerances import graphs_of, tolerances

FLOW = FlowActions((0.0, 0.4, 0.999), TimeSchedule(scale=0.999, shift=2.0))
FAST = FastActions(FastSettings(scale=10.0, vocab_size=2048, min_token=-354))
KINDS: dict[str, ActionKind] = {FLOW.kind: FLOW, FAST.kind: FAST}
GRAPHS = ("vision", "prefix", "lm_head", "expert", "guided")
HORIZON, SLOTS, DOF, ROWS = 6, 20, 7, 99


def specs(*names: str) -> dict[str, GraphSpec]:
    """As much of the graphs as sizes are taken from."""
    noisy = {"noisy_action": TensorSpec((HORIZON, SLOTS), "float32")}
    tensors = {"lm_head": {"logits": TensorSpec((ROWS,), "float32")}, "expert": noisy, "guided": noisy}

    def spec(name: str) -> GraphSpec:
        tensor = tensors.get(name, {})
        return GraphSpec(f"{name}.onnx", f"{name}.data", "fp32", {}, tensor, tensor)

    return {name: spec(name) for name in names}


def test_every_kind_of_a_manifest_is_in_every_table() -> None:
    kinds = {kind.kind for kind in get_args(get_type_hints(Manifest)["actions"])}
    assert kinds == set(KINDS) == set(POLICIES) == set(ACTION_STAGES)


@dataclass(frozen=True)
class Holder:
    actions: FlowActions | FastActions


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_manifest_says_is_read_back(kind: str) -> None:
    written = {"actions": asdict(KINDS[kind])}  # type: ignore[call-overload]
    assert written["actions"]["kind"] == kind
    assert from_mapping(Holder, written, "here").actions == KINDS[kind]


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


@pytest.mark.parametrize("names", subsets((*GRAPHS, "critic")))
@pytest.mark.parametrize(
    ("kind", "allowed"), [(FLOW, (GRAPHS[:4], GRAPHS)), (FAST, (GRAPHS[:3],))], ids=["flow", "fast"]
)
def test_graphs_too_many_or_too_few_are_refused(
    kind: ActionKind, allowed: tuple[tuple[str, ...], ...], names: tuple[str, ...]
) -> None:
    if names in allowed:
        kind.require_graphs(names)
        return
    with pytest.raises(Invalid, match="expected vision, prefix, lm_head"):
        kind.require_graphs(names)


@pytest.mark.parametrize("guidance", [False, True])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_graphs_of_an_export_are_those_that_a_bundle_may_have(kind: ActionKind, guidance: bool) -> None:
    names = kind.graph_names(guidance=guidance)
    kind.require_graphs(names)
    assert kind_of_graphs({*names, "word"}) is type(kind)
    assert ("guided" in names) == (guidance and kind.integrates)


@pytest.mark.parametrize("guidance", [False, True])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_stage_is_checked_where_its_graphs_are(kind: ActionKind, guidance: bool) -> None:
    names, joints = kind.graph_names(guidance=guidance), joint_layout(("lift",), (0.0,), (0.5,))
    families = {name: {"mlp": "fp16"} for name in names}
    limits = tolerances(families, Embodiment("arm", joints, joints), type(kind))
    assert all(set(graphs_of(stage, type(kind))) <= set(names) for stage in limits)
    own = {stage.split(".")[0] for stage in limits} & {*FLOW.stages, *FAST.stages}
    assert own == {stage for stage, graphs in kind.stages.items() if set(graphs) <= set(names)}


def test_flow_answers_by_its_grid_and_its_expert() -> None:
    graphs = specs(*GRAPHS[:4])
    assert FLOW.integration_steps == 2
    assert FLOW.grid(None) == FLOW.time_grid
    assert FLOW.grid(1) == (0.0, 0.999)
    assert FLOW.grid(2)[1] == pytest.approx(0.999 * 2 / 3)
    assert (FLOW.slots(graphs, DOF), FLOW.slot_bound(graphs)) == (SLOTS, SLOTS)
    assert FLOW.generated_tokens == MAX_SUBGOAL_TOKENS
    shapes = FLOW.golden_shapes(graphs, HORIZON, DOF)
    assert shapes["velocities"] == shapes["noisy_actions"] == ("f", (2, HORIZON, SLOTS))
    assert shapes["noise"] == shapes["chunk"] == ("f", (HORIZON, SLOTS))
    assert shapes["actions"] == ("f", (HORIZON, DOF))
    guided = set(FLOW.golden_shapes(specs(*GRAPHS), HORIZON, DOF)) - set(shapes)
    assert guided == {"guidance", "guidance_target", "guidance_weights"}


def test_words_have_neither_steps_nor_slots_of_their_own() -> None:
    graphs = specs(*GRAPHS[:3])
    assert FAST.integration_steps is None
    assert FAST.slots(graphs, DOF) == DOF
    assert FAST.slot_bound(graphs) > 1000  # a slot is an order, which no graph knows
    assert FAST.generated_tokens == MAX_FAST_TOKENS
    assert FAST.files == ("fast_tokenizer.json",)
    assert FAST.golden_shapes(graphs, HORIZON, DOF) == {"action_logits": ("f", (ROWS,))}
    assert FAST.tensors(graphs, HORIZON, TensorSpec(("past", 4, 2, 1, 32), "float32")) == {}


def test_what_only_a_flow_has_is_refused_by_name() -> None:
    assert require_flow(FLOW) is FLOW
    require_steps(FLOW, 5)
    with pytest.raises(ConfigError, match=r"^it: FAST actions; expected a policy that flows$"):
        require_flow(FAST, "a policy that flows", before="it: ")
    with pytest.raises(ConfigError, match="--steps 5 for a FAST policy; expected a flow policy"):
        require_steps(FastActions, 5)
