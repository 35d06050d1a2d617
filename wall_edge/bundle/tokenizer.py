"""Opening a ``tokenizer.json`` of the tokenizers library, the one way that everything here does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from wall_edge.bundle.patterns import is_bounded
from wall_edge.errors import WallEdgeError
from wall_edge.files import JSON_BYTES, parse_json, read_text, shown

_SUPPORTED = {
    "normalizer": ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"),
    "pre_tokenizer": ("ByteLevel", "Split", "Whitespace", "WhitespaceSplit", "Digits", "Punctuation"),
    "decoder": ("ByteLevel", "ByteFallback", "Fuse"),
    "model": ("BPE", "WordLevel"),
}
"""Parts that work in a time linear in the text, as long as a Split's pattern does. A row of Replace does not:
each can make the text ten times as long."""
_LISTS = ("normalizers", "pretokenizers", "decoders")
_EXPECTED = "a tokenizer.json of the tokenizers library"


def load_tokenizer(path: Path, error: type[WallEdgeError]) -> Tokenizer:
    """The tokenizer, without the padding and truncation that may be stored in it. Raises ``error``.

    transformers stores whatever its last padded call used (``BatchLongest``, a multiple of 8); a prompt here
    is exactly its tokens. What could make encoding slow or random is refused: regular expressions that
    backtrack without bound, parts that no WALL-OSS tokenizer has, dropout.
    """
    text = read_text(path, error, JSON_BYTES)
    _check_parts(parse_json(text, shown(path), error), path, error)
    try:
        tokenizer = Tokenizer.from_str(text)
    except BaseException as problem:  # bare Exception for a broken file, a PanicException for some
        if isinstance(problem, KeyboardInterrupt | SystemExit):
            raise
        raise error(f"{shown(path)}: {shown(problem)}", expected=_EXPECTED) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _check_parts(document: Any, path: Path, error: type[WallEdgeError]) -> None:
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise error(f"{shown(path)}: no model", expected=_EXPECTED)
    for section, kinds in _SUPPORTED.items():
        for part in _parts(document.get(section)):
            kind = part.get("type", "BPE" if section == "model" else None)
            if kind not in kinds:
                what = f"{shown(path)}: {section} {shown(kind, 60)} is not supported"
                raise error(what, expected=f"one of {', '.join(kinds)}")
            pattern = part.get("pattern")
            if isinstance(pattern, dict) and "Regex" in pattern and not is_bounded(str(pattern["Regex"])):
                what = f"{shown(path)}: {section} with the regular expression {shown(pattern['Regex'], 80)}"
                raise error(what, expected="one without repeated groups, as Qwen2's and GPT-2's are")
    if document["model"].get("dropout"):
        raise error(f"{shown(path)}: dropout makes its tokens random", expected="a model without dropout")


def _parts(part: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """A part, or the parts of a Sequence."""
    if part is None or depth > 8:
        return
    if not isinstance(part, dict):
        yield {"type": part}
        return
    if part.get("type") != "Sequence":
        yield part
        return
    for name in _LISTS:
        for inner in part.get(name) or () if isinstance(part.get(name), list | None) else ():
            yield from _parts(inner, depth + 1)
