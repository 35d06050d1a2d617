"""How much work a regular expression can make: a bound that needs no knowledge of the text.

Backtracking multiplies choices. An element offers one for each way that it can match: a character one, an
option two, a group the sum of its alternatives, ``{n,m}`` as many as it has lengths; an unbounded repetition
as many as the text is long. Groups that repeat can offer more than any power of that, so they are refused.
"""

from __future__ import annotations

import re

MAX_LENGTH = 2000
MAX_CHOICES = 64
MAX_UNBOUNDED = 2
"""Unbounded repetitions in one alternative: quadratic in a prompt is still instant."""
_ATOM = re.compile(r"\\[pP]\{\^?\w+\}|\\[dDwWsSnrtfvbB\W_]|[^\\()\[\]|*+?{}]", re.DOTALL)
_CLASS = re.compile(r"\[\^?(?:\\[pP]\{\^?\w+\}|\\[dDwWsSnrtfv\W_]|[^\\\[\]&])+\]", re.DOTALL)
_GROUP = re.compile(r"\((?:\?(?:i?:|!|=))?")
_REPEAT = re.compile(r"([*+?]|\{(\d{0,4}),?(\d{0,4})\})([?+]?)")


class _Unbounded(Exception):
    pass


def is_bounded(pattern: str) -> bool:
    """Whether matching takes few steps whatever the text: at most a small multiple of its square.

    Understands the common part of Python's and Oniguruma's syntax; what it does not understand is not
    bounded.
    """
    try:
        if len(pattern) > MAX_LENGTH:
            return False
        _, _, end = _alternatives(pattern, 0, 0)
    except (_Unbounded, RecursionError):
        return False
    return end == len(pattern)


def _alternatives(text: str, at: int, depth: int) -> tuple[int, int, int]:
    """Choices and unbounded repetitions of the alternatives from ``at``, and where they end."""
    choices, unbounded = 0, 0
    while True:
        ways, open_ended, at = _branch(text, at, depth)
        choices, unbounded = choices + ways, max(unbounded, open_ended)
        if at >= len(text) or text[at] != "|":
            return choices, unbounded, at
        at += 1


def _branch(text: str, at: int, depth: int) -> tuple[int, int, int]:
    choices, unbounded = 1, 0
    while at < len(text) and text[at] not in "|)":
        ways, open_ended, at = _element(text, at, depth)
        choices, unbounded = choices * ways, unbounded + open_ended
        if choices > MAX_CHOICES or unbounded > MAX_UNBOUNDED:
            raise _Unbounded
    return choices, unbounded, at


def _element(text: str, at: int, depth: int) -> tuple[int, int, int]:
    """An atom, a class or a group, and what repeats it."""
    ways, open_ended, group = 1, 0, False
    if opening := _GROUP.match(text, at):
        if depth > 8:
            raise _Unbounded
        group = True
        ways, open_ended, at = _alternatives(text, opening.end(), depth + 1)
        if at >= len(text):
            raise _Unbounded
        at += 1
    else:
        atom = _CLASS.match(text, at) or _ATOM.match(text, at)
        if atom is None:
            raise _Unbounded
        at = atom.end()
    repeat = _REPEAT.match(text, at)
    if repeat is None:
        return ways, open_ended, at
    more, endless = _repetition(repeat)
    if group and repeat[1] != "?":
        raise _Unbounded
    return ways * more, open_ended + endless, repeat.end()


def _repetition(repeat: re.Match[str]) -> tuple[int, int]:
    """Choices and unbounded repetitions that a quantifier adds."""
    if repeat[1] == "?":
        return 2, 0
    if repeat[1] in "*+":
        return 1, 1
    low, high = repeat[2], repeat[3]
    if "," not in repeat[1]:
        return 1, 0
    if not high:
        return 1, 1
    return max(1, int(high) - int(low or 0) + 1), 0
