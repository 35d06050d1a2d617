"""The state as words: which bin a value is of, by another way of counting, and how long words can be."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.policies.text_robot import merging_tokenizer, qwen_like_tokenizer, text_manifest, text_prompts
from wall_edge.bundle import Degree, Layout, StateText, joint_layout
from wall_edge.config_loader import Invalid
from wall_edge.errors import PolicyError
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.state_text import said_state, state_words

BINS = (2, 256, 512)


def counted_bin(value: float, bins: int) -> int:
    """By whole numbers: no edge is computed."""
    above = math.floor((Fraction(value) + 1) * bins / 2)
    return min(max(above, 0), bins - 1)


@given(st.lists(st.floats(-1.5, 1.5, width=32), min_size=1, max_size=30), st.sampled_from(BINS))
@example([0.0, -0.0, 1.0, -1.0, 1.5, -1.5], 256)
def test_bins_counted_another_way(values: list[float], bins: int) -> None:
    expected = " ".join(str(counted_bin(value, bins)) for value in values)
    assert state_words(np.array(values), bins) == expected
    assert state_words(np.array(values, np.float32), bins) == expected


@pytest.mark.parametrize("bins", BINS)
def test_every_edge_is_of_the_bin_above_it(bins: int) -> None:
    edges = 2 * np.arange(bins) / bins - 1
    below, above = np.nextafter(edges, -2), np.nextafter(edges, 2)
    assert state_words(edges, bins).split() == [str(n) for n in range(bins)]
    assert state_words(above, bins) == state_words(edges, bins)
    assert state_words(below, bins).split() == [str(max(n - 1, 0)) for n in range(bins)]


@pytest.mark.parametrize("bins", BINS)
def test_the_ends_and_what_is_beyond(bins: int) -> None:
    last = bins - 1
    values = np.array([-np.inf, -9.0, -1.0, 1.0, 9.0, np.inf])
    assert state_words(values, bins) == f"0 0 0 {last} {last} {last}"


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        state_words(np.array([0.0, np.nan]), 256)
    manifest = text_manifest()
    for state in ([0.0, np.nan, 0.0], [0.0, np.inf, 0.0], [0.0, 0.0]):
        with pytest.raises(PolicyError, match="3 finite values"):
            said_state(manifest.embodiment.state, manifest.state_text, np.array(state))


def test_only_degrees_of_freedom_are_said_in_the_models_order() -> None:
    """Upstream's way: slots 0, 2 and 4 are wrist, base and elbow."""
    layout = text_manifest().embodiment.state
    state = np.array([0.999, -1.0, 0.5])  # elbow at its end, wrist at its beginning, base in the middle
    assert said_state(layout, StateText(256), state) == "0 128 255"
    assert said_state(layout, StateText(512), state) == "0 256 511"
    assert said_state(layout, StateText(256), np.array([5.0, -5.0, 0.5])) == "0 128 255"
    assert said_state(layout, None, state) is None


def test_all_slots_are_said_as_training_had_them() -> None:
    """LeRobot's way: what no degree of freedom takes is ``masked``, and 0 behind it."""
    plain = joint_layout(("wrist", "base"), (0.0, 1.0), (2.0, 4.0), (1, 3))
    layout = Layout(plain.degrees, plain.offset, plain.scale, masked=(-1.0, 7.0, 0.25))
    state = np.array([-2.0, 4.999])
    assert said_state(layout, StateText(256, slots=6), state) == "0 0 160 255 128 128"
    assert said_state(layout, StateText(256), state) == "0 255"
    assert (StateText(256).width(layout), StateText(256, slots=6).width(layout)) == (4, 6)


def test_a_rotation_is_said_as_the_statistics_have_it() -> None:
    """-170 degrees of a policy that saw 0 to 360 are 190 to it."""
    degrees = tuple(Degree(f"turn{i}", i, "rotation", "hand", i) for i in range(3))
    layout = Layout(degrees, (0.0, 0.0, np.pi), (np.pi, np.pi / 2, np.pi), 1.0, {"hand": "rpy"})
    said = said_state(layout, StateText(360), np.radians([0.0, 0.0, -170.5]))
    assert said == "180 180 189"


@pytest.mark.parametrize(("bins", "slots"), [(1, None), (1 << 17, None), (256, 0), (256, 1000)])
def test_numbers_that_no_text_can_have(bins: int, slots: int | None) -> None:
    with pytest.raises(Invalid):
        StateText(bins, slots)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[PromptTokenizer, PromptTokenizer]:
    return merging_tokenizer(), qwen_like_tokenizer(tmp_path_factory.mktemp("qwen"))


@settings(max_examples=20)
@given(bins=st.sampled_from((2, 10, 11, 256, 512)), data=st.data())
def test_room_for_the_longest_words(
    tokenizers: tuple[PromptTokenizer, PromptTokenizer], bins: int, data: st.DataObject
) -> None:
    """Whatever a tokenizer merges, within a number or across the border; Qwen's needs all the room."""
    manifest = text_manifest(StateText(bins))
    said = " ".join(map(str, data.draw(st.lists(st.integers(0, bins - 1), min_size=3, max_size=3))))
    for tokenizer in tokenizers:
        prompts = text_prompts(tokenizer, manifest)
        assert len(prompts.action("go", said).ids) <= prompts.most_action_tokens("go")
    longest = " ".join([str(bins - 1)] * 3)
    assert len(tokenizers[1].encode(longest)) == manifest.state_text.most_tokens(3)
