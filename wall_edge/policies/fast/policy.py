"""A ``wall-oss-fast`` policy on an engine: observation → FAST tokens → action chunk."""

from __future__ import annotations

import itertools

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.bundle import FAST_TOKENIZER, MAX_FAST_TOKENS, Bundle, FastActions
from wall_edge.errors import BundleError, PolicyError
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.fast.codec import FastCodec
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.transforms import physical


class FastPolicy:
    """Action chunks in words of the FAST vocabulary. One thread at a time.

    Unlike the references, which drop what is no action token and return zeros for what cannot be decoded,
    it raises :class:`PolicyError`: the arm then holds.
    """

    def __init__(self, encoder: Encoder, codec: FastCodec) -> None:
        self._encoder, self._manifest, self._codec = encoder, encoder.manifest, codec
        self._tokenizer = encoder.prompts.tokenizer
        self._first = first_action_token(self._tokenizer, codec.settings.vocab_size)
        # The tokens hold the live slots in the model's order, which need not be the robot's.
        self._columns = np.argsort(np.argsort(encoder.manifest.embodiment.action.slots))

    def chunk(self, observation: Observation, words: str) -> Floats:
        """Policy values ``[horizon, degrees]``, step k due k action periods after the observation.

        ``words`` is the subgoal (or the instruction). Raises :class:`PolicyError` when the tokens are not a
        whole action chunk.
        """
        self.observe(observation)
        return self.act(observation, words)

    def observe(self, observation: Observation) -> None:
        """As :meth:`wall_edge.policies.flow_policy.FlowPolicy.observe`."""
        self._encoder.observe(observation)

    def act(self, observation: Observation, words: str, guidance: Guidance | None = None) -> Floats:
        """As :meth:`chunk`, of an observation that :meth:`observe` took. Words cannot be guided."""
        if guidance is not None:
            raise PolicyError("guidance for FAST actions", expected="a flow policy, or another scheduler")
        actions = self._codec.decode(self._decode(observation, words, observed=True))
        return physical(self._manifest, actions[:, self._columns], observation.state)

    def tokens(self, observation: Observation, words: str) -> list[int]:
        """FAST ids of the next chunk, decoded greedily up to ``<|im_end|>``; see :class:`FastCodec`."""
        self._encoder.encode_images(observation)
        return self._decode(observation, words, observed=False)

    def _decode(self, observation: Observation, words: str, *, observed: bool) -> list[int]:
        prompt = self._encoder.prefill_action(observation, words, observed=observed)
        ids: list[int] = []
        for token in itertools.islice(self._encoder.greedy_tokens(prompt), MAX_FAST_TOKENS):
            if token == self._tokenizer.ids.turn_end:
                return ids
            ids.append(self._fast_id(token))
        raise PolicyError(
            "the action chunk did not end", expected=f"<|im_end|> within {MAX_FAST_TOKENS} tokens"
        )

    def _fast_id(self, token: int) -> int:
        count = self._codec.settings.vocab_size
        if not 0 <= token - self._first < count:
            raise PolicyError(
                f"token {token} ({self._tokenizer.decode([token])!r}) in an action chunk",
                expected=f"<|action_token_0|> to <|action_token_{count - 1}|>, or <|im_end|>",
            )
        return token - self._first


def first_action_token(tokenizer: PromptTokenizer, count: int) -> int:
    """The id of ``<|action_token_0|>``.

    Raises :class:`BundleError` unless each of ``count`` action tokens is one id, one after the other.
    """
    ids = tokenizer.encode("".join(f"<|action_token_{i}|>" for i in range(count)))
    if len(ids) != count or np.any(np.diff(ids) != 1):
        raise BundleError(
            "the prompt's tokenizer has no row of action tokens",
            expected=f"<|action_token_0|> to <|action_token_{count - 1}|> with ids one after the other",
            fix="take tokenizer.json from the wall-oss-fast checkpoint and the FAST folder it was made with",
        )
    return int(ids[0])


def fast_codec(bundle: Bundle) -> FastCodec:
    """The codec of a bundle; raises :class:`BundleError` when it has no FAST actions."""
    manifest = bundle.manifest
    if not isinstance(manifest.actions, FastActions):
        raise BundleError(f"{bundle.folder}: no FAST actions", expected="a bundle of wall-oss-fast")
    codec = FastCodec(bundle.path(FAST_TOKENIZER), manifest.actions.spelling, manifest.horizon, manifest.dof)
    bundle.require_unchanged(FAST_TOKENIZER)
    return codec
