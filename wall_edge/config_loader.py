"""YAML → frozen dataclasses, in one small generic loader.

Every mistake becomes one line that names the file, the dotted key, the value and what was expected.
A dataclass checks what its types cannot say in ``__post_init__`` by raising :class:`Invalid`;
the loader adds the file and the path.
"""

from __future__ import annotations

import difflib
import reprlib
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from wall_edge.errors import ConfigError, WallEdgeError
from wall_edge.files import YAML_BYTES, parse_yaml, read_text, shown

T = TypeVar("T")


class Invalid(ConfigError):
    """A value of the right type that cannot be meant; ``key`` is relative to the dataclass that raises it."""

    def __init__(self, key: str, value: object, *, expected: str, fix: str = "") -> None:
        super().__init__(f"{key} is {_brief(value)}", expected=expected, fix=fix)
        self.key, self.value, self.expected, self.fix = key, value, expected, fix


def read_yaml(path: Path, error: type[WallEdgeError] = ConfigError) -> object:
    """The plain data in a YAML file (YAML's safe types). Raises ``error``, in one line."""
    return parse_yaml(read_text(path, error, YAML_BYTES), shown(path), error)


def from_mapping(
    cls: type[T],
    data: object,
    where: str,
    error: type[WallEdgeError] = ConfigError,
    *,
    strict: bool = True,
    path: str = "",
) -> T:
    """Builds the dataclass ``cls`` from plain data, nested dataclasses included.

    Understands bool, int, float (finite; an int will do), str, Path, Literal, Optional and other unions,
    ``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str, X]`` and Any. A union of dataclasses that each have a
    ``kind`` (a Literal) is one of those by the ``kind`` in the data; a bare word stands for ``{kind: word}``.
    A value that is an instance of the dataclass already stands for itself.
    ``where`` (the file) begins each message, ``path`` (dotted) each key: where in the file the data stands.
    Unless ``strict``, keys that the dataclass does not have are ignored: for files that belong to others.
    Raises ``error`` for unknown or missing keys, wrong types and whatever the dataclass itself finds Invalid.
    """
    return cast(T, _convert(cls, data, _Place(where, path, error, strict)))


def require_choice(
    choices: Iterable[str], value: object, where: str, path: str, error: type[WallEdgeError] = ConfigError
) -> str:
    """``value`` if it is one of the words; else raises ``error``, with a guess at what was meant."""
    return cast(str, _literal(tuple(choices), value, _Place(where, path, error, strict=True)))


@dataclass(frozen=True)
class _Place:
    where: str
    path: str
    error: type[WallEdgeError]
    strict: bool

    def at(self, key: object) -> _Place:
        if isinstance(key, int):
            return self._of(f"{self.path}[{key}]")
        name = shown(key, 64)
        return self._of(f"{self.path}.{name}" if self.path else name)

    def _of(self, path: str) -> _Place:
        return _Place(self.where, path, self.error, self.strict)

    def problem(self, what: str, expected: str = "", fix: str = "") -> WallEdgeError:
        return self.error(f"{self.where}: {self.path or 'the document'} {what}", expected=expected, fix=fix)


def _convert(kind: Any, value: object, place: _Place) -> object:
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, place)
    if origin is Literal:
        return _literal(get_args(kind), value, place)
    if origin is tuple:
        return _tuple(get_args(kind), value, place)
    if origin is dict:
        entries = _mapping(value, place)
        return {name: _convert(get_args(kind)[1], item, place.at(name)) for name, item in entries.items()}
    if is_dataclass(kind):
        return _dataclass(cast(type, kind), value, place)
    return _scalar(kind, value, place)


def _dataclass(cls: type, value: object, place: _Place) -> object:
    if isinstance(value, cls):
        return value
    data, hints = _mapping(value, place), _hints(cls)
    names = [f.name for f in fields(cls) if f.init]
    for key in data:
        if place.strict and key not in names:
            raise place.at(key).problem("is not a known key", f"one of {', '.join(names)}", _hint(key, names))
    for f in fields(cls):
        if f.init and f.name not in data and _required(f):
            raise place.at(f.name).problem("is missing", _name(hints[f.name]))
    values = {name: _convert(hints[name], data[name], place.at(name)) for name in names if name in data}
    try:
        return cls(**values)
    except Invalid as problem:
        raise place.at(problem.key).problem(
            f"is {_brief(problem.value)}", problem.expected, problem.fix
        ) from None
    except ConfigError as problem:  # of several values together, which no one key is to blame for
        within = f"{place.where}: {place.path}" if place.path else place.where
        raise place.error(f"{within}: {problem}") from None


@cache
def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields: evaluated anew for each of 90,000 entries, they took most of half a minute."""
    return get_type_hints(cls)


def _required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _union(arms: tuple[Any, ...], value: object, place: _Place) -> object:
    if value is None and types.NoneType in arms:
        return None
    rest = [arm for arm in arms if arm is not types.NoneType]
    if len(rest) == 1:
        return _convert(rest[0], value, place)
    if all(is_dataclass(arm) and "kind" in _hints(cast(type, arm)) for arm in rest):
        return _tagged_union(rest, value, place)
    for arm in rest:
        try:
            return _convert(arm, value, place)
        except place.error:
            continue
    raise place.problem(f"is {_show(value)}", " or ".join(_name(arm) for arm in arms))


def _tagged_union(arms: list[Any], value: object, place: _Place) -> object:
    """The arm whose ``kind`` the data has; a bare word stands for ``{kind: word}``."""
    by_kind = {kind: arm for arm in arms for kind in get_args(_hints(arm)["kind"])}
    word, kinds = isinstance(value, str), " or ".join(map(repr, by_kind))
    if not word and not isinstance(value, Mapping):
        raise place.problem(f"is {_show(value)}", f"{kinds}, or a mapping with one of them as its kind")
    data = _mapping({"kind": value} if word else value, place)
    kind_place = place if word else place.at("kind")
    if "kind" not in data:
        raise kind_place.problem("is missing", kinds)
    kind = _literal(tuple(by_kind), data["kind"], kind_place)
    return _dataclass(by_kind[kind], data, place)


def _literal(choices: tuple[object, ...], value: object, place: _Place) -> object:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    expected = " or ".join(repr(choice) for choice in choices)
    raise place.problem(f"is {_show(value)}", expected, _hint(str(value), map(str, choices)))


def _tuple(kinds: tuple[Any, ...], value: object, place: _Place) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise place.problem(f"is {_show(value)}", "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise place.problem(f"has {len(value)} entries", f"{len(kinds)}")
    return tuple(
        _convert(kind, item, place.at(i)) for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _mapping(value: object, place: _Place) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise place.problem(f"is {_show(value)}", "a mapping (key: value)")
    for key in value:
        if not isinstance(key, str):
            raise place.problem(
                f"has the key {_brief(key)}", "text as a key", "quote it: YAML reads on, yes and 1 as values"
            )
    return dict(value)


def _scalar(kind: Any, value: object, place: _Place) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number and abs(cast(float, value)) <= sys.float_info.max:  # neither NaN nor infinite
        return float(cast(float, value))
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind) and (kind is not int or number) and kind is not float:
        return value
    raise place.problem(f"is {_show(value)}", _name(kind), _float_hint(kind, value))


def _float_hint(kind: object, value: object) -> str:
    if kind is not float or not isinstance(value, str):
        return ""
    try:
        return f"write {float(value)!r}: YAML takes {shown(value, 60)} as text"
    except ValueError:
        return ""


def _show(value: object) -> str:
    return "null" if value is None else _brief(value)


def _brief(value: object) -> str:
    """``repr``, but of a value that may be huge: shortened before it is spelt."""
    return shown(_REPR.repr(value), 100)


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel = 3
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 8


def _name(kind: Any) -> str:
    plain = {
        int: "a whole number",
        float: "a finite number",
        str: "text",
        bool: "true or false",
        Path: "a path",
    }
    if kind in plain:
        return plain[kind]
    if kind is types.NoneType:
        return "null"
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_name(arm) for arm in get_args(kind))
    return "a list" if get_origin(kind) is tuple else "a mapping (key: value)"


def _hint(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word[:64], list(choices), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
