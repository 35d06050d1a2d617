"""FAST tokens and actions: the round trip, known values, and what must not become a motion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wall_edge.bundle import FastSettings
from wall_edge.errors import BundleError, CheckpointError, PolicyError
from wall_edge.policies.fast.codec import LARGEST_ACTION, FastCodec, dct_matrix

HORIZON, DOF = 8, 3
SETTINGS = FastSettings(scale=10.0, vocab_size=600, min_token=-354)
PUBLISHED = {"action_dim": None, "min_token": -354, "scale": 10, "time_horizon": None, "vocab_size": 2048}


def byte_level(model: models.Model) -> Tokenizer:
    """A tokenizer as ``ByteLevelBPETokenizer`` makes them, which FAST was trained with."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def tiny_tokenizer(path: Path, made: FastSettings, alphabet: Iterable[str] | None = None) -> Path:
    """Train FAST's BPE on smooth random actions of six degrees of freedom and save it."""
    tokenizer, rng = byte_level(models.BPE()), np.random.default_rng(0)
    trainer = trainers.BpeTrainer(
        vocab_size=made.vocab_size,
        special_tokens=[],
        initial_alphabet=list(pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet),
        show_progress=False,
    )
    texts = []
    for _ in range(200):
        low = rng.normal(size=(HORIZON, 6)) * np.exp(-np.arange(HORIZON))[:, None]
        codes = np.maximum(np.rint(low * made.scale).astype(int) - made.min_token, 0)
        texts.append("".join(map(chr, codes.ravel())))
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(tmp_path_factory.mktemp("fast") / "tokenizer.json", SETTINGS)


@pytest.fixture(scope="module")
def codec(tokenizer_path: Path) -> FastCodec:
    return FastCodec(tokenizer_path, SETTINGS, HORIZON, DOF)


def spelled(tokenizer_path: Path, text: str) -> list[int]:
    """Ids of ``text``, made without the codec."""
    return list(Tokenizer.from_file(str(tokenizer_path)).encode(text).ids)


def transform(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Orthonormal DCT-II by an FFT of the mirrored signal: the oracle of the matrix."""
    length = len(signal)
    spectrum = np.fft.fft(np.concatenate((signal, signal[::-1])))[:length]
    sums = (spectrum * np.exp(-0.5j * np.pi * np.arange(length) / length)).real / 2
    coefficients: npt.NDArray[np.float64] = sums * np.sqrt(np.where(np.arange(length) == 0, 1, 2) / length)
    return coefficients


@given(st.integers(1, 64), st.integers(0, 2**32 - 1))
def test_the_matrix_is_the_dct_and_its_transpose_the_inverse(length: int, seed: int) -> None:
    signal = np.random.default_rng(seed).normal(size=length)
    matrix = dct_matrix(length)
    np.testing.assert_allclose(matrix @ signal, transform(signal), atol=1e-12)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(length), atol=1e-12)


chunks = arrays.arrays(np.float64, (HORIZON, DOF), elements=st.floats(-LARGEST_ACTION, LARGEST_ACTION))


@settings(max_examples=200)
@given(chunk=chunks)
def test_a_round_trip_rounds_each_coefficient_by_half_a_step(
    codec: FastCodec, chunk: npt.NDArray[np.float64]
) -> None:
    back = codec.decode(codec.encode(chunk))
    assert back.shape == (HORIZON, DOF)
    assert back.dtype == np.float32
    change = dct_matrix(HORIZON) @ (back - chunk)
    assert np.abs(change).max() <= 0.5 / SETTINGS.scale + 1e-5


@given(chunk=chunks)
def test_tokens_come_back_as_they_were(codec: FastCodec, chunk: npt.NDArray[np.float64]) -> None:
    """A decoded chunk lies on the grid, so encoding it again changes nothing."""
    ids = codec.encode(chunk)
    assert codec.encode(codec.decode(ids)) == ids


def test_the_published_settings_write_these_characters(tokenizer_path: Path) -> None:
    """Coefficient + 354 = code point; the values are an example from the field."""
    codec = FastCodec(tokenizer_path, SETTINGS, 8, 1)
    coefficients = np.array([29, -14, -3, -1, -1, 1, 0, -2])
    ids = spelled(tokenizer_path, "ſŔşššţŢŠ")
    expected = np.linalg.inv(dct_matrix(8)) @ coefficients / 10
    np.testing.assert_allclose(codec.decode(ids)[:, 0], expected, atol=1e-6)


def test_characters_are_row_major_with_the_lowest_frequency_first(tokenizer_path: Path) -> None:
    """Two steps of three degrees of freedom, worked out by hand: mean and half difference over sqrt(2)."""
    codec = FastCodec(tokenizer_path, SETTINGS, 2, 3)
    text = "".join(chr(354 + c) for c in (10, 20, 30, 1, 0, -1))
    expected = np.array([[1.1, 2.0, 2.9], [0.9, 2.0, 3.1]]) / math.sqrt(2)
    np.testing.assert_allclose(codec.decode(spelled(tokenizer_path, text)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "text", ["  . , ! ? n't 's  ", "\x00\x00\t\n \r\x0b\x1c\xa0", "it's  'll we  ", "ſÅe\u0301ŉⅣ"]
)
def test_no_character_is_stripped_cleaned_or_normalised(tmp_path: Path, text: str) -> None:
    """With a small min_token, coefficients are spaces, punctuation and control characters."""
    made = FastSettings(scale=1000.0, vocab_size=600, min_token=-32)
    path = tiny_tokenizer(tmp_path / "tokenizer.json", made)
    codec = FastCodec(path, made, len(text), 1)
    codes = np.array([ord(c) for c in text])[:, None]
    actions = dct_matrix(len(text)).T @ ((codes + made.min_token) / made.scale)
    ids = codec.encode(actions)
    assert Tokenizer.from_file(str(path)).decode(ids, skip_special_tokens=False) == text
    np.testing.assert_allclose(codec.decode(ids), actions, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, HORIZON * DOF - 1, HORIZON * DOF + 1, 2 * HORIZON * DOF])
def test_too_few_or_too_many_characters_are_counted(
    codec: FastCodec, tokenizer_path: Path, count: int
) -> None:
    with pytest.raises(PolicyError, match=rf"spell {count} characters; expected 24 \(8 steps of 3"):
        codec.decode(spelled(tokenizer_path, "Ţ" * count))


@pytest.mark.parametrize("unknown", [-1, 600, 601, 151_643])
def test_an_id_outside_the_vocabulary_is_named(codec: FastCodec, tokenizer_path: Path, unknown: int) -> None:
    ids = [*spelled(tokenizer_path, "Ţ" * HORIZON * DOF), unknown]
    with pytest.raises(
        PolicyError, match=f"FAST id {unknown} is not in the vocabulary; expected ids below 600"
    ):
        codec.decode(ids)


def test_bytes_that_are_no_whole_character_are_refused(codec: FastCodec, tokenizer_path: Path) -> None:
    """Half a character decodes to U+FFFD, which would be a coefficient of 65179."""
    half = Tokenizer.from_file(str(tokenizer_path)).get_vocab()["Å"]  # the byte 0xC5
    ids = [half, *spelled(tokenizer_path, "Ţ" * (HORIZON * DOF - 1))]
    with pytest.raises(PolicyError, match="coefficient 65179 at frequency 0, degree of freedom 0"):
        codec.decode(ids)


LARGEST = math.ceil(LARGEST_ACTION * math.sqrt(HORIZON) * 10)  # 283


@pytest.mark.parametrize("coefficient", [-LARGEST, LARGEST])
def test_the_largest_sane_coefficient_passes(
    codec: FastCodec, tokenizer_path: Path, coefficient: int
) -> None:
    text = chr(354 + coefficient) + "Ţ" * (HORIZON * DOF - 1)
    actions = codec.decode(spelled(tokenizer_path, text))
    np.testing.assert_allclose(actions[:, 0], coefficient / 10 / math.sqrt(HORIZON), rtol=1e-6)


@pytest.mark.parametrize("coefficient", [-LARGEST - 1, LARGEST + 1, 1600])
def test_a_coefficient_that_no_sane_chunk_has_is_refused(
    codec: FastCodec, tokenizer_path: Path, coefficient: int
) -> None:
    text = "Ţ" * (HORIZON * DOF - 2) + chr(354 + coefficient) + "Ţ"
    with pytest.raises(PolicyError, match=f"coefficient {coefficient} at frequency 7, degree of freedom 1; "):
        codec.decode(spelled(tokenizer_path, text))
    chunk = dct_matrix(HORIZON).T[:, :1] * np.eye(1, DOF) * coefficient / 10
    with pytest.raises(PolicyError, match=f"coefficient {coefficient} at frequency 0, degree of freedom 0; "):
        codec.encode(chunk)


@pytest.mark.parametrize(("lowest", "passes"), [(-10, True), (-11, False)])
def test_a_coefficient_below_min_token_is_refused_and_not_clamped(
    tmp_path: Path, lowest: int, passes: bool
) -> None:
    made = FastSettings(scale=10.0, vocab_size=600, min_token=-10)
    codec = FastCodec(tiny_tokenizer(tmp_path / "tokenizer.json", made), made, 1, 1)
    actions = np.array([[lowest / 10]])
    if passes:
        np.testing.assert_allclose(codec.decode(codec.encode(actions)), actions, rtol=1e-6)
    else:
        with pytest.raises(PolicyError, match="coefficient -11"):
            codec.encode(actions)


@pytest.mark.parametrize(
    "actions",
    [
        np.zeros((HORIZON, DOF + 1)),
        np.zeros((HORIZON + 1, DOF)),
        np.zeros(HORIZON * DOF),
        np.full((HORIZON, DOF), np.nan),
        np.full((HORIZON, DOF), np.inf),
    ],
)
def test_actions_that_cannot_be_encoded(codec: FastCodec, actions: npt.NDArray[np.float64]) -> None:
    with pytest.raises(PolicyError, match=r"expected finite values of shape \[8, 3\]"):
        codec.encode(actions)


def test_a_byte_without_a_token_is_not_dropped_in_silence(tmp_path: Path) -> None:
    """The reference's alphabet is characters, so a byte that no training chunk had is without a token."""
    made = FastSettings(scale=10.0, vocab_size=600, min_token=-40)
    codec = FastCodec(tiny_tokenizer(tmp_path / "tokenizer.json", made, alphabet="()*"), made, 1, 1)
    with pytest.raises(PolicyError, match="cannot spell this chunk"):
        codec.encode(np.array([[9.9]]))


def test_the_published_settings_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({**PUBLISHED, "processor_class": "UniversalActionProcessor"}))
    assert FastSettings.read(path) == FastSettings(scale=10.0, vocab_size=2048, min_token=-354)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0}, "scale is 0.*expected more than 0"),
        ({"scale": "10"}, "scale is '10'"),
        ({"vocab_size": 0}, "vocab_size is 0; expected at least 1"),
        ({"vocab_size": 2048.5}, "vocab_size is 2048.5"),
        ({"min_token": 1}, "min_token is 1; expected an integer from -55295 to 0"),
        ({"min_token": -55296}, "min_token is -55296"),
        ({"min_token": None}, "min_token is"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({**PUBLISHED, **change}))
    with pytest.raises(BundleError, match=message):
        FastSettings.read(path)


@pytest.mark.parametrize("missing", ["scale", "vocab_size", "min_token"])
def test_a_setting_is_never_guessed(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({name: value for name, value in PUBLISHED.items() if name != missing}))
    with pytest.raises(CheckpointError, match=f"{missing} is missing"):
        FastSettings.read(path, CheckpointError)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_settings_file_that_is_no_settings_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "processor_config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"processor_config\.json"):
        FastSettings.read(path, CheckpointError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"processor_config\.json: No such file"):
        FastSettings.read(tmp_path / "processor_config.json", CheckpointError)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: No such file"):
        FastCodec(tmp_path / "tokenizer.json", SETTINGS, HORIZON, DOF, CheckpointError)


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(BundleError, match=r"expected a tokenizer\.json of the tokenizers library"):
        FastCodec(path, SETTINGS, HORIZON, DOF)


def test_a_tokenizer_with_more_tokens_than_the_model_has_is_refused(tokenizer_path: Path) -> None:
    """The checkpoint's own tokenizer has the same file name, and spells any text."""
    made = FastSettings(scale=10.0, vocab_size=64, min_token=-354)
    with pytest.raises(BundleError, match=r"tokens; expected at most vocab_size 64; take tokenizer\.json"):
        FastCodec(tokenizer_path, made, HORIZON, DOF)


@pytest.mark.parametrize("fault", ["no decoder", "prefix space", "normaliser"])
def test_a_tokenizer_that_does_not_give_characters_back(tmp_path: Path, fault: str) -> None:
    made = FastSettings(scale=10.0, vocab_size=600, min_token=-383)  # rest is U+017F, which NFKC turns into s
    path = tiny_tokenizer(tmp_path / "tokenizer.json", made)
    document = json.loads(path.read_text())
    if fault == "no decoder":
        document["decoder"] = None
    elif fault == "prefix space":
        document["pre_tokenizer"]["add_prefix_space"] = True
    else:
        document["normalizer"] = {"type": "NFKC"}
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match="a chunk of zeros does not survive its tokens"):
        FastCodec(path, made, HORIZON, DOF)
