"""H6: regular expressions from files are matched only when they cannot backtrack without bound."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from wall_edge.bundle.patterns import is_bounded
from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.errors import BundleError
from wall_edge.policies.prompt_text import PromptTokenizer

TABLETOP = Path(__file__).parents[3] / "examples/tabletop/checkpoint/tokenizer.json"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize("pattern", [QWEN2, GPT2, CL100K, " (?:red|green|blue)", r"\s+", " {2,}", "▁", ""])
def test_tokenizers_own_patterns_are_bounded(pattern: str) -> None:
    """Qwen2's, which WALL-OSS has, GPT-2's, OpenAI's, the tabletop's."""
    assert is_bounded(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$", r"(a|a)*b", r"(a|ab)*c", "(?:a?){30}", "a?" * 30 + "b", "(?:a|a)" * 40, "a*a*a*b",
        r"(a)\1", "(?<=a)b", "(?R)", "(?>a)", "(", "a)", "[a", "(?:a{1,1000}){1,1000}", "a{1,9999}", "a**",
        "a+*", "a" * 3000,
        r"(?:(?:a*)?)?(a*)?a*", "(" * 3000, r"\p{L", "(?P<n>a)(?P=n)", "[[:alpha:]&&[a-z]]",
    ],
)  # fmt: skip
def test_what_backtracks_or_is_not_understood_is_not_bounded(pattern: str) -> None:
    assert not is_bounded(pattern)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab|()?*+{}1,2[]^\\.:"), max_size=14))
def test_a_bounded_pattern_is_fast(pattern: str) -> None:
    """Whatever is accepted, Python's backtracking matcher does at once."""
    if not is_bounded(pattern):
        return
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    began = time.process_time()
    compiled.search("a" * 300 + "!")
    assert time.process_time() - began < 1


def written(path: Path, **changes: Any) -> Path:
    document = json.loads(TABLETOP.read_text())
    document.update(changes)
    path.write_text(json.dumps(document))
    return path


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pre_tokenizer": split("(a+)+$")}, "the regular expression (a+)+$"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split("(x*)*y")]}}, "expression (x*)*y"),
        ({"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}}, "Replace"),
        ({"normalizer": {"type": "Prepend", "prepend": "a"}}, "normalizer Prepend is not supported"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace"}]}}, "Replace"),
        ({"decoder": {"type": "Replace", "pattern": {"Regex": "(a+)+"}, "content": ""}}, "decoder Replace"),
        ({"pre_tokenizer": 3}, "pre_tokenizer 3"),
        ({"model": 3}, "no model"),
        ({"model": {"type": "Unigram"}}, "model Unigram"),
    ],
)  # fmt: skip
def test_h6_a_tokenizer_that_could_hang_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BundleError) as refused:
        load_tokenizer(written(tmp_path / "tokenizer.json", **changes), BundleError)
    assert words in str(refused.value)


def test_dropout_would_make_prompts_random(tmp_path: Path) -> None:
    model = json.loads(TABLETOP.read_text())["model"] | {"dropout": 0.5}
    with pytest.raises(BundleError, match="dropout makes its tokens random"):
        load_tokenizer(written(tmp_path / "tokenizer.json", model=model), BundleError)


def test_a_tokenizer_like_qwens_is_read(tmp_path: Path) -> None:
    """NFC, Split by Qwen2's pattern, ByteLevel: as Qwen2.5-VL's tokenizer.json has them."""
    tokenizer = Tokenizer.from_file(str(TABLETOP))
    tokenizer.normalizer = normalizers.NFC()
    parts = [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    words = "touch the red block. "
    read = PromptTokenizer(tmp_path / "tokenizer.json")
    assert read.encode(words).tolist() == tokenizer.encode(words, add_special_tokens=False).ids
