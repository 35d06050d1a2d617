"""What is kept of an observation's cache: no token too many, none too few, whatever is asked in which order.

The engine is a fake whose keys/values are a checksum of all that a token may depend on: the tokens before it,
their positions, pictures and state. So a row that should have been computed again is a wrong row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wall_edge_engines import Engine, ModelSession
from wall_edge_engines.base import Lane
from wall_edge_engines.host_tensor import HostTensor

from tests.unit.policies.text_robot import (
    CAMERAS,
    merging_tokenizer,
    qwen_like_tokenizer,
    text_manifest,
    text_prompts,
)
from wall_edge.bundle import ElementType, StateText, TensorSpec
from wall_edge.errors import EngineError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.prompts import Prompts, common_front

IMAGES = sum(camera.tokens for camera in CAMERAS.values())
MODULUS = 65_521
WORDS = ("touch the red block.", "touch the red block, now", "Proprioception: 3 4 5", "go 12 7")
INSTRUCTION = "touch the red block."


class ChecksumEngine(Engine):
    """``vision`` and ``prefix``, with or without a state token; counts the prompt tokens that it runs."""

    description = "checksums"

    def __init__(self, tokenizer: PromptTokenizer, *, state_token: bool) -> None:
        self._ids, self.ran = tokenizer.ids, 0
        row = TensorSpec(("tokens", 1, 2, 1, 1), "float32")
        embeds, last = TensorSpec((IMAGES, 1), "float32"), TensorSpec((1, 1), "float32")
        frames = {n: TensorSpec((c.height, c.width, 3), "uint8") for n, c in CAMERAS.items()}
        state = {name: TensorSpec((5,), "float32") for name in ("state", "state_mask")}
        prefix = {
            "input_ids": TensorSpec(("tokens",), "int64"),
            "image_embeds": embeds,
            "positions": TensorSpec((3, "tokens"), "int64"),
            "mask": TensorSpec(("tokens", "keys"), "bool"),
            "past_kv": TensorSpec(("past", 1, 2, 1, 1), "float32"),
        } | (state if state_token else {})
        graphs: Any = {
            "vision": SimpleNamespace(inputs=frames, outputs={"image_embeds": embeds}),
            "prefix": SimpleNamespace(inputs=prefix, outputs={"kv": row, "hidden": last}),
        }
        self.graphs = graphs

    def tensor(self, shape: tuple[int, ...], dtype: ElementType) -> HostTensor:
        return HostTensor.zeros(shape, dtype)

    def _bind(self, graph: str, tensors: Mapping[str, Any], lane: Lane) -> Any:  # noqa: ARG002
        return SimpleNamespace(run=lambda: getattr(self, graph)({n: t.array for n, t in tensors.items()}))

    def vision(self, arrays: dict[str, Any]) -> None:
        arrays["image_embeds"][:, 0] = np.arange(IMAGES) + sum(int(arrays[n].sum()) for n in CAMERAS)

    def prefix(self, arrays: dict[str, Any]) -> None:
        ids, past = arrays["input_ids"], arrays["past_kv"]
        self.ran += len(ids)
        images = iter(arrays["image_embeds"][:, 0])
        sum_ = int(past[-1, 0, 0, 0, 0]) if len(past) else 1
        for row, token in enumerate(ids):
            extra = int(next(images)) if token == self._ids.image else 0
            if token == self._ids.state:
                extra = int(1e4 * arrays["state"].sum()) + int(arrays["state_mask"].sum())
            place = arrays["positions"][:, row] @ np.array([1, 31, 97])
            sum_ = (sum_ * 131 + int(token) * 7 + int(place) + extra) % MODULUS
            arrays["kv"][row] = sum_


@pytest.fixture(scope="module", params=["merging", "qwen-like"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    if request.param == "merging":
        return merging_tokenizer()
    folder: Path = tmp_path_factory.mktemp("qwen")
    return qwen_like_tokenizer(folder)


def new_encoder(tokenizer: PromptTokenizer, text: StateText | None, **style: Any) -> Encoder:
    manifest = text_manifest(text)
    engine = ChecksumEngine(tokenizer, state_token=text is None)
    return Encoder(manifest, text_prompts(tokenizer, manifest, **style), ModelSession(engine, capacity=512))


def observation(picture: int = 1, state: float = 0.0) -> Observation:
    frames = {n: np.full((c.height, c.width, 3), picture, np.uint8) for n, c in CAMERAS.items()}
    return Observation(0, frames, np.array([state, 1.0 + state, 0.5]))


def ran(encoder: Encoder) -> int:
    """Prompt tokens that were run since it was asked last."""
    engine = cast(ChecksumEngine, encoder.session._engine)
    count, engine.ran = engine.ran, 0
    return count


def test_another_state_runs_the_tokens_from_the_first_other_id(tokenizer: PromptTokenizer) -> None:
    encoder = new_encoder(tokenizer, StateText(256))
    encoder.observe(observation())
    assert ran(encoder) == encoder.prompts.observation_tokens
    first = encoder.prefill_action(observation(state=0.1), WORDS[0], observed=True).ids
    assert ran(encoder) == len(first) - encoder.prompts.observation_tokens
    second = encoder.prefill_action(observation(state=0.3), WORDS[0], observed=True).ids
    same = next(n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    before = tokenizer.encode(f"\nInstruction: {WORDS[0]}\nPredict the next action in robot action.\n")
    assert same > encoder.prompts.observation_tokens + len(before) - 2  # at the state, or where it is merged
    assert ran(encoder) == len(second) - same
    encoder.prefill_action(observation(state=0.3), WORDS[0], observed=True)
    assert ran(encoder) == 1  # the last one: what comes next reads its output


def test_a_subgoal_and_a_chunk_share_the_front_of_their_requests(tokenizer: PromptTokenizer) -> None:
    encoder = new_encoder(tokenizer, StateText(256))
    encoder.observe(observation())
    subgoal = encoder.prefill_subgoal(WORDS[0], observed=True).ids
    ran(encoder)
    action = encoder.prefill_action(observation(), WORDS[0], observed=True).ids
    same = next(n for n, (one, other) in enumerate(zip(subgoal, action, strict=False)) if one != other)
    assert same > encoder.prompts.observation_tokens
    assert ran(encoder) == len(action) - same


def test_new_pictures_run_everything_again(tokenizer: PromptTokenizer) -> None:
    encoder = new_encoder(tokenizer, StateText(256))
    encoder.observe(observation())
    prompt = encoder.prefill_action(observation(), WORDS[0], observed=True)
    ran(encoder)
    encoder.encode_images(observation(picture=2))
    encoder.prefill_action(observation(picture=2), WORDS[0], observed=True)
    assert ran(encoder) == len(prompt.ids)


def test_a_state_token_runs_again_whatever_its_id(tokenizer: PromptTokenizer) -> None:
    """Its id says nothing of the state that it carries."""
    encoder = new_encoder(tokenizer, None)
    encoder.observe(observation())
    ids = encoder.prefill_action(observation(state=0.1), WORDS[0], observed=True).ids
    ran(encoder)
    encoder.prefill_action(observation(state=0.1), WORDS[0], observed=True)
    assert ran(encoder) == len(ids) - ids.tolist().index(tokenizer.ids.state)


def test_another_system_turn_runs_the_pictures_again(tokenizer: PromptTokenizer) -> None:
    """The subgoal's is the plain one: nothing behind it can be kept, in no session."""
    acting, planning = (new_encoder(tokenizer, StateText(256), action_space="Abs EEF") for _ in range(2))
    planning.session = ModelSession(acting.session._engine, capacity=512)
    acting.observe(observation(picture=3))
    ran(acting)
    acting.fork(planning)
    prompt = planning.prefill_subgoal(INSTRUCTION, observed=True)
    assert len(prompt.ids) - 10 < ran(acting) < len(prompt.ids)
    alone = new_encoder(tokenizer, StateText(256))
    alone.encode_images(observation(picture=3))
    alone.prefill_subgoal(INSTRUCTION)
    np.testing.assert_array_equal(planning.session.keys_values(), alone.session.keys_values())


steps = st.one_of(
    st.tuples(st.just("observe"), st.integers(0, 2)),
    st.tuples(st.just("act"), st.sampled_from(WORDS), st.sampled_from((-0.9, 0.0, 0.001, 0.1, 0.9))),
    st.tuples(st.just("ask"), st.sampled_from(WORDS)),
    st.tuples(st.just("fork")),
)


@settings(max_examples=40)
@given(
    todo=st.lists(steps, max_size=8),
    text=st.sampled_from((None, StateText(256), StateText(512, slots=6))),
    space=st.sampled_from((None, "Rel EEF")),
)
def test_whatever_is_kept_is_what_a_whole_prompt_gives(
    tokenizer: PromptTokenizer, todo: list[tuple[Any, ...]], text: StateText | None, space: Any
) -> None:
    encoder = new_encoder(tokenizer, text, action_space=space)
    whole = Encoder(encoder.manifest, encoder.prompts, ModelSession(encoder.session._engine, capacity=512))
    picture = 0
    for kind, *asked in [("observe", 1), *todo]:
        if kind == "observe":
            picture = asked[0]
            encoder.observe(observation(picture))
            continue
        if kind == "fork":
            session = ModelSession(encoder.session._engine, capacity=512)
            other = Encoder(encoder.manifest, encoder.prompts, session)
            encoder.fork(other)
            encoder = other
            continue
        whole.encode_images(observation(picture))
        if kind == "act":
            words, state = asked
            encoder.prefill_action(observation(picture, state), words, observed=True)
            whole.prefill_action(observation(picture, state), words)
        else:
            encoder.prefill_subgoal(asked[0], observed=True)
            whole.prefill_subgoal(asked[0])
        np.testing.assert_array_equal(encoder.session.keys_values(), whole.session.keys_values())


def test_a_failed_prefill_leaves_nothing_to_rely_on(tokenizer: PromptTokenizer) -> None:
    encoder = new_encoder(tokenizer, StateText(256))
    encoder.observe(observation())
    encoder.prefill_action(observation(), WORDS[0], observed=True)
    with pytest.raises(EngineError, match="shorten"):
        encoder.prefill_action(observation(), "go " * 600, observed=True)
    prompt = encoder.prefill_action(observation(), WORDS[0], observed=True)
    assert encoder.session.length == len(prompt.ids)
    whole = new_encoder(tokenizer, StateText(256))
    whole.encode_images(observation())
    whole.prefill_action(observation(), WORDS[0])
    np.testing.assert_array_equal(encoder.session.keys_values(), whole.session.keys_values())


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_the_common_front(cached: list[int], ids: list[int]) -> None:
    """3 stands for an image, 4 for the state."""
    tokens: Any = SimpleNamespace(image=3, state=4)
    front = common_front(np.array(cached, np.int64), np.array(ids, np.int64), tokens)
    assert 0 <= front < len(ids)
    assert cached[:front] == ids[:front]
    assert 4 not in ids[:front]
    assert not (3 in ids[:front] and 3 in ids[front:])
    if front < min(len(cached), len(ids) - 1) and 3 not in ids:
        assert cached[front] != ids[front] or ids[front] == 4


def test_states_leave_no_prompts_behind(tokenizer: PromptTokenizer) -> None:
    manifest = text_manifest()
    prompts: Prompts = text_prompts(tokenizer, manifest)
    for words in WORDS:
        prompts.subgoal(words)
    kept = len(prompts._cache)
    for number in range(200):
        prompts.action(WORDS[0], f"{number} 0 0")
    assert len(prompts._cache) == kept


def test_a_state_for_a_graph_without_a_token(tokenizer: PromptTokenizer) -> None:
    session = new_encoder(tokenizer, StateText(256)).session
    ids, positions, state = np.zeros(2, np.int64), np.zeros((3, 2), np.int64), np.zeros(5, np.float32)
    with pytest.raises(EngineError, match="without a state token"):
        session.prefill(ids, positions, state, state)
