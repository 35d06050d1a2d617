"""Opening a ``tokenizer.json`` of the tokenizers library, the one way that everything here does it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from wall_edge.errors import WallEdgeError
from wall_edge.files import JSON_BYTES, read_bytes, shown

__all__ = ["load_tokenizer"]


def load_tokenizer(path: Path, error: type[WallEdgeError]) -> Tokenizer:
    """The tokenizer, without the padding and truncation that may be stored in it. Raises ``error``.

    transformers stores whatever its last padded call used (``BatchLongest``, a multiple of 8); a prompt here
    is exactly its tokens.
    """
    content = read_bytes(path, error, JSON_BYTES)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except BaseException as problem:  # bare Exception for a broken file, a PanicException for some
        if isinstance(problem, KeyboardInterrupt | SystemExit):
            raise
        raise error(
            f"{shown(path)}: {shown(problem)}", expected="a tokenizer.json of the tokenizers library"
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
