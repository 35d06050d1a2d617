"""FAST chunks from scripted logits: what is asked, what is decoded, and what must not move an arm.

The session is a fake that follows ``ModelSession``'s contract: ``prefill`` and ``append`` leave the last
hidden state on the device, ``logits`` are those of the token after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import AddedToken, models, pre_tokenizers

from tests.unit.policies.test_fast import SETTINGS, byte_level, tiny_tokenizer
from wall_edge.bundle import (
    MAX_FAST_TOKENS,
    Embodiment,
    FastActions,
    FastSettings,
    FlowActions,
    ImageGeometry,
    Reference,
    joint_layout,
)
from wall_edge.errors import BundleError, CameraError, PolicyError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.fast.codec import FastCodec, dct_matrix
from wall_edge.policies.fast.policy import FastPolicy, fast_codec, first_action_token
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import SPECIAL_TOKENS, PromptTokenizer, action_text, observation_text
from wall_edge.policies.prompts import Prompts

HORIZON, SLOTS = 4, 6
STATE_SLOTS, ACTION_SLOTS = (
    (1, 3),
    (5, 0),
)  # the robot names its joints in another order than the model's slots
CAMERA = ImageGeometry(64, 64, resolution=64)


BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def prompt_tokenizer(
    path: Path, action_tokens: Sequence[int], alphabet: Sequence[str] = BYTES
) -> PromptTokenizer:
    """Bytes, special tokens, and action tokens added as WALL-OSS adds them: not marked as special."""
    vocabulary = {byte: i for i, byte in enumerate(alphabet)}
    tokenizer = byte_level(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([f"<|action_token_{i}|>" for i in action_tokens])
    tokenizer.save(str(path))
    return PromptTokenizer(path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    path = tmp_path_factory.mktemp("prompt") / "tokenizer.json"
    return prompt_tokenizer(path, range(SETTINGS.vocab_size))


@pytest.fixture(scope="module")
def fast_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(tmp_path_factory.mktemp("fast") / "fast_tokenizer.json", SETTINGS)


@pytest.fixture(scope="module")
def codec(fast_path: Path) -> FastCodec:
    return FastCodec(fast_path, SETTINGS, HORIZON, len(ACTION_SLOTS))


class ScriptedSession:
    """Says ``rows`` of the vocabulary head one after the other, and notes what it is given."""

    def __init__(self, rows: Sequence[int], peak: float = 1.0) -> None:
        self._rows, self._peak = rows, peak
        self.images: dict[str, Any] | None = None
        self.prefilled: tuple[Any, ...] = ()
        """Ids and positions of the whole prompt that is cached; state and mask as given last."""
        self.kept: list[int] = []
        """Of each prefill: how many cached tokens it went on from."""
        self.appended: list[tuple[int, int]] = []
        self.asked = 0

    def encode_images(self, images: dict[str, Any]) -> None:
        self.images = images

    def prefill(self, ids: Any, positions: Any, *given: Any, keep: int = 0) -> None:
        assert self.images is not None, "images first"
        assert keep <= (len(self.prefilled[0]) if self.prefilled else 0), "only what is cached can be kept"
        self.kept.append(keep)
        if keep:
            ids = np.concatenate((self.prefilled[0][:keep], ids))
            positions = np.concatenate((self.prefilled[1][:, :keep], positions), axis=1)
        self.prefilled = ids, positions, *given

    def next_token(self) -> tuple[int, bool]:
        assert self.prefilled, "a prompt first"
        assert len(self.appended) == self.asked, "asked once a token"
        self.asked += 1
        return self._rows[self.asked - 1], bool(np.isfinite(self._peak))

    def append(self, token: int, position: int) -> None:
        self.appended.append((token, position))


def embodiment(reference: Reference) -> Embodiment:
    return Embodiment(
        name="arm",
        state=joint_layout(("wrist", "base"), (0.0, 1.0), (2.0, 4.0), STATE_SLOTS),
        action=joint_layout(("wrist", "base"), (0.5, -0.5), (2.0, 10.0), ACTION_SLOTS, reference=reference),
    )


def observation(state: Sequence[float] = (0.2, 3.0)) -> Observation:
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    return Observation(time_ns=0, frames={"face_view": frame}, state=np.array(state))


class Setup:
    """A policy whose session says ``tokens``, through a whole head or a trimmed one."""

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        codec: FastCodec,
        tokens: Sequence[int],
        *,
        reference: Reference = "absolute",
        head: npt.NDArray[np.int64] | None = None,
        peak: float = 1.0,
    ) -> None:
        prompts = Prompts({"face_view": CAMERA}, tokenizer, head)
        rows = tokens if head is None else [head.tolist().index(token) for token in tokens]
        self.prompt, self.shared = prompts.action("go"), prompts.observation_tokens
        self.session = ScriptedSession(rows, peak)
        manifest: Any = SimpleNamespace(
            cameras={"face_view": CAMERA},
            embodiment=embodiment(reference),
            dof=2,
            state_slots=SLOTS,
            state_text=None,
        )
        session: Any = self.session
        self.policy = FastPolicy(Encoder(manifest, prompts, session), codec)


def said(tokenizer: PromptTokenizer, fast_ids: Sequence[int]) -> list[int]:
    first = first_action_token(tokenizer, SETTINGS.vocab_size)
    return [*(first + i for i in fast_ids), tokenizer.ids.turn_end]


def smooth() -> npt.NDArray[np.float64]:
    """A chunk on the coefficients' grid, so that tokens hold it exactly; columns in slot order."""
    coefficients = np.array([[12, -7], [3, 4], [0, -2], [1, 0]]) / SETTINGS.scale
    actions: npt.NDArray[np.float64] = dct_matrix(HORIZON).T @ coefficients
    return actions


def test_a_chunk_goes_from_tokens_to_radians_in_the_robots_order(
    tokenizer: PromptTokenizer, codec: FastCodec
) -> None:
    setup = Setup(tokenizer, codec, said(tokenizer, codec.encode(smooth())))
    chunk = setup.policy.chunk(observation(), "go")
    wrist, base = smooth()[:, 1], smooth()[:, 0]  # slots 5 and 0: the lower slot is the first column
    expected = np.stack((wrist * 2.0 + 0.5, base * 10.0 - 0.5), axis=1)
    np.testing.assert_allclose(chunk, expected, atol=1e-5)
    assert chunk.dtype == np.float64


def test_actions_relative_to_the_state_are_added_to_it(tokenizer: PromptTokenizer, codec: FastCodec) -> None:
    tokens = said(tokenizer, codec.encode(smooth()))
    absolute = Setup(tokenizer, codec, tokens).policy.chunk(observation(), "go")
    relative = Setup(tokenizer, codec, tokens, reference="state").policy.chunk(observation(), "go")
    np.testing.assert_allclose(relative - absolute, np.tile([0.2, 3.0], (HORIZON, 1)))


def test_the_prompt_is_the_action_prompt_with_nothing_behind_it(
    tokenizer: PromptTokenizer, codec: FastCodec
) -> None:
    setup = Setup(tokenizer, codec, said(tokenizer, codec.encode(smooth())))
    setup.policy.chunk(observation(), "go")
    ids, positions, state, mask = setup.session.prefilled
    text = observation_text({"face_view": CAMERA.tokens}) + action_text("go")
    assert text.endswith("<|im_start|>assistant\n")
    assert ids.tolist() == tokenizer.encode(text).tolist()
    assert setup.session.kept == [0, setup.shared]  # the images' tokens are computed once, for both prompts
    assert positions.shape == (3, len(ids))
    np.testing.assert_array_equal(positions, setup.prompt.positions)
    assert tokenizer.ids.action not in ids
    np.testing.assert_allclose(state, [0, 0.1, 0, 0.5, 0, 0])
    assert mask.tolist() == [0, 1, 0, 1, 0, 0]
    assert list(setup.session.images or ()) == ["face_view"]


def test_every_token_but_the_last_is_put_behind_the_prompt(
    tokenizer: PromptTokenizer, codec: FastCodec
) -> None:
    tokens = said(tokenizer, codec.encode(smooth()))
    setup = Setup(tokenizer, codec, tokens)
    setup.policy.chunk(observation(), "go")
    following = setup.prompt.following
    assert setup.session.appended == [(token, following + i) for i, token in enumerate(tokens[:-1])]


def test_rows_of_a_trimmed_head_are_mapped_to_tokens(tokenizer: PromptTokenizer, codec: FastCodec) -> None:
    head = np.arange(tokenizer.largest_id, 255, -1)  # special and action tokens, backwards
    tokens = said(tokenizer, codec.encode(smooth()))
    trimmed = Setup(tokenizer, codec, tokens, head=head)
    whole = Setup(tokenizer, codec, tokens)
    np.testing.assert_array_equal(
        trimmed.policy.chunk(observation(), "go"), whole.policy.chunk(observation(), "go")
    )
    assert trimmed.session.appended == whole.session.appended


def one_byte_codec(path: Path, horizon: int) -> tuple[FastCodec, int]:
    """A codec whose coefficient 0 is the byte ``(``, and that byte's id."""
    made = FastSettings(scale=10.0, vocab_size=600, min_token=-40)
    codec = FastCodec(tiny_tokenizer(path, made), made, horizon, 2)
    return codec, BYTES.index("(")


@pytest.mark.parametrize("spare", [0, 1])
def test_a_chunk_ends_within_the_limit(tokenizer: PromptTokenizer, tmp_path: Path, spare: int) -> None:
    count = MAX_FAST_TOKENS - 2  # an even number, so that whole steps of two joints come out
    codec, zero = one_byte_codec(tmp_path / "fast_tokenizer.json", count // 2)
    setup = Setup(tokenizer, codec, said(tokenizer, [zero] * count))
    assert setup.policy.chunk(observation(), "go").shape == (count // 2, 2)
    late = Setup(tokenizer, codec, said(tokenizer, [zero] * (MAX_FAST_TOKENS + spare)))
    with pytest.raises(PolicyError, match=r"did not end; expected <\|im_end\|> within 256 tokens"):
        late.policy.chunk(observation(), "go")
    assert late.session.asked == MAX_FAST_TOKENS
    assert len(late.session.appended) == MAX_FAST_TOKENS - 1


def test_the_last_allowed_token_may_be_the_end(tokenizer: PromptTokenizer, codec: FastCodec) -> None:
    tokens = said(tokenizer, [0] * (MAX_FAST_TOKENS - 1))
    assert len(Setup(tokenizer, codec, tokens).policy.tokens(observation(), "go")) == MAX_FAST_TOKENS - 1


@pytest.mark.parametrize("other", ["a", "<|action|>", "<|im_start|>", "beyond"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_token_that_is_no_action_stops_the_chunk(
    tokenizer: PromptTokenizer, codec: FastCodec, other: str, place: int
) -> None:
    """The references drop such tokens, and decode what is left."""
    first = first_action_token(tokenizer, SETTINGS.vocab_size)
    token = first + SETTINGS.vocab_size if other == "beyond" else int(tokenizer.encode(other)[0])
    tokens = said(tokenizer, codec.encode(smooth()))
    tokens.insert(place, token)
    head = np.arange(first + SETTINGS.vocab_size + 8)  # a head is wider than its tokenizer
    setup = Setup(tokenizer, codec, tokens, head=head)
    with pytest.raises(
        PolicyError, match=rf"token {token} .* in an action chunk; expected <\|action_token_0\|>"
    ):
        setup.policy.chunk(observation(), "go")
    assert setup.session.asked == place + 1


@pytest.mark.parametrize("fast_ids", [[], [0], [0] * 17])
def test_tokens_that_are_no_whole_chunk_are_refused(
    tokenizer: PromptTokenizer, codec: FastCodec, fast_ids: list[int]
) -> None:
    setup = Setup(tokenizer, codec, said(tokenizer, fast_ids))
    with pytest.raises(PolicyError, match=r"characters; expected 8 \(4 steps of 2"):
        setup.policy.chunk(observation(), "go")


@pytest.mark.parametrize("peak", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(
    tokenizer: PromptTokenizer, codec: FastCodec, peak: float
) -> None:
    setup = Setup(tokenizer, codec, said(tokenizer, codec.encode(smooth())), peak=peak)
    with pytest.raises(PolicyError, match="not finite"):
        setup.policy.chunk(observation(), "go")


def test_a_bad_observation_runs_nothing(tokenizer: PromptTokenizer, codec: FastCodec) -> None:
    setup = Setup(tokenizer, codec, said(tokenizer, codec.encode(smooth())))
    with pytest.raises(PolicyError, match="state"):
        setup.policy.chunk(observation((np.nan, 0.0)), "go")
    with pytest.raises(CameraError, match="no frame from face_view"):
        setup.policy.chunk(Observation(0, {}, np.zeros(2)), "go")
    assert setup.session.images is None


@pytest.mark.parametrize("action_tokens", [(), (0, 1), (0, 2, 1), (1, 2, 0)])
@pytest.mark.parametrize("alphabet", [BYTES, ()], ids=["bytes", "no bytes"])
def test_action_tokens_that_do_not_follow_each_other_are_refused(
    tmp_path: Path, action_tokens: tuple[int, ...], alphabet: Sequence[str]
) -> None:
    """Without bytes, a tokenizer drops what it does not know."""
    tokenizer = prompt_tokenizer(tmp_path / "tokenizer.json", action_tokens, alphabet)
    with pytest.raises(
        BundleError, match=r"no row of action tokens; expected <\|action_token_0\|> to .*_2\|>"
    ):
        first_action_token(tokenizer, 3)


def test_the_first_action_token_is_found(tmp_path: Path) -> None:
    tokenizer = prompt_tokenizer(tmp_path / "tokenizer.json", (0, 1, 2))
    assert [first_action_token(tokenizer, count) for count in (1, 2, 3)] == [256 + len(SPECIAL_TOKENS)] * 3


def test_a_bundle_says_whether_it_has_fast_actions(fast_path: Path) -> None:
    made = SimpleNamespace(actions=FastActions(SETTINGS), horizon=HORIZON, dof=2)
    folder = fast_path.parent
    bundle: Any = SimpleNamespace(
        folder=folder, manifest=made, path=folder.joinpath, require_unchanged=lambda _: None
    )
    codec = fast_codec(bundle)
    np.testing.assert_allclose(codec.decode(codec.encode(smooth())), smooth(), atol=1e-6)
    made.actions = FlowActions((0.0, 1.0))
    with pytest.raises(BundleError, match="no FAST actions; expected a bundle of wall-oss-fast"):
        fast_codec(bundle)
