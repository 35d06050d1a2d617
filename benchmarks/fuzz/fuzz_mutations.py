"""How a small valid file becomes a nasty one: by its bytes, by its structure, by what lies in its place."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.fuzz.fuzz_pickles import changed_pickle
from benchmarks.fuzz.fuzz_values import NASTY, changed_array, changed_bytes

Json = Any


def mutate(rng: random.Random, kind: str, content: bytes) -> bytes:
    """``content`` of a file of one of the kinds of ``_STRUCTURE``, or of any other, changed."""
    changed = content
    structure = _STRUCTURE.get(kind)
    if structure is not None and rng.random() < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            try:
                changed = structure(rng, changed)
            except Exception:  # noqa: BLE001 - an earlier change left what no writer can spell
                changed = changed_bytes(rng, changed)
        return changed
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed = changed_bytes(rng, changed)
    return changed


def replace_file(rng: random.Random, path: Path) -> None:
    """Something that is no plain file, or none at all."""
    path.unlink(missing_ok=True)
    how = rng.randrange(7)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        path.symlink_to("/dev/zero")
    elif how == 2:
        path.mkdir()
    elif how == 3:
        path.symlink_to(path)
    elif how == 4:
        path.write_bytes(b"")
    elif how == 5:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # sparse: a terabyte that takes no room


def clear(path: Path) -> None:
    """Remove whatever :func:`replace_file` left."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _places(data: Json, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container and key of a document."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found.append((data, key))
        _places(value, found)
    return found


def _change(rng: random.Random, data: Json) -> tuple[Json, list[tuple[str, Json]]]:
    """A document with one thing changed, and keys that shall stand twice."""
    data = copy.deepcopy(data)
    places = _places(data, [])
    if not places or rng.random() < 0.01:
        return copy.deepcopy(rng.choice(NASTY)), []
    # Long lists (vocabularies) must not draw all the blows: first choose a depth, by a short walk.
    holder, key = rng.choice(places) if rng.random() < 0.5 else rng.choice(places[:60])
    value, how = holder[key], rng.randrange(10)
    if how <= 4:
        holder[key] = copy.deepcopy(rng.choice(NASTY))
    elif how == 5:
        del holder[key]
    elif how == 6 and isinstance(holder, dict):
        if rng.random() < 0.5:
            return data, [(str(key), value)]
        name = rng.choice([name for name in NASTY if isinstance(name, str)])
        holder[name] = holder.pop(key)
    elif how == 6:
        holder.insert(key, copy.deepcopy(value))
    elif how == 7:
        other, there = rng.choice(places)
        holder[key] = (
            copy.deepcopy(other[there])
            if there in other or (isinstance(other, list) and there < len(other))
            else None
        )
    elif how == 8 and isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = rng.choice(
            (-value, value + 1, value - 1, value * 2, value / 2, float(value), str(value))
        )
    elif how == 8 and isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        holder[key] = value[:at] + rng.choice(("", "\0", "\x1b[1m", "/", "é", " ", value)) + value[at:]
    elif how == 8 and isinstance(value, list):
        holder[key] = value * rng.choice((0, 2, 3)) if len(value) < 100 else value[::-1]
    else:
        for _ in range(rng.choice((1, 2, 70, 900))):
            holder[key] = (
                rng.choice((list, tuple))([holder[key]]) if rng.random() < 0.5 else {"a": holder[key]}
            )
    return data, []


def _plain(data: Json) -> Json:
    return json.loads(json.dumps(data))


def _json(rng: random.Random, content: bytes) -> bytes:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return changed_bytes(rng, content)
    data, twice = _change(rng, data)
    text = json.dumps(data, indent=rng.choice((None, 1)) if len(content) < 10_000 else None)
    for key, value in twice:
        text = text.replace(
            json.dumps(key) + ":", f"{json.dumps(key)}: {json.dumps(value)}, {json.dumps(key)}:", 1
        )
    return text.encode()


def _jsonl(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines() or [b"{}"]
    at = rng.randrange(len(lines))
    lines[at] = _json(rng, lines[at]).replace(b"\n", b" ")
    if rng.random() < 0.2:
        lines.insert(at, rng.choice(lines))
    return b"\n".join(lines) + b"\n"


def _yaml(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.1:
        return _yaml_text(rng, content)
    try:
        if b"&" in content:  # aliases of an earlier change stand for gigabytes
            return changed_bytes(rng, content)
        data, twice = _change(rng, yaml.load(content, _Loader))
        text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10**6)
    except Exception:  # noqa: BLE001 - what an earlier change made of it need not be YAML
        return changed_bytes(rng, content)
    for key, value in twice:
        line = f"{key}:"
        text = text.replace(line, f"{key}: {json.dumps(value, default=str)}\n{line}", 1)
    return text.encode(errors="surrogatepass")


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _yaml_text(rng: random.Random, content: bytes) -> bytes:
    """What only YAML has: aliases, merges, tags, numbers of base 60."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    key = lines[at].split(b":")[0] + b": "
    bomb = b"[" + b",".join([b"&a [" + b"1," * 9 + b"1]", *[b"*a"] * 9]) + b"]"
    for name in b"bcdefghi":
        bomb = b"[&" + bytes([name]) + b" " + bomb + (b", *" + bytes([name])) * 9 + b"]"
    lines[at] = rng.choice((
        key + bomb, key + b"&x [*x]", key + b"1" + b":59" * 50, key + b"!!binary eA==",
        key + b"!!timestamp 2020-99-99", key + b"0x" + b"f" * 900, key + b"2020-13-45", key + b"!!set {a, b}",
        key + b"!!omap [a: 1]", key + b"{<<: {a: 1}}", key + b"!!python/name:os.system", b"? [1, 2]\n: 3",
        key + b"|\n  " + b"x" * 3000, b"--- a\n--- b", b"%YAML 9.9", key + b"!!float ''", key + b"!!int x",
        key + b"!!bool maybe", key + b"[" * 70 + b"]" * 70, b"\t" + lines[at],
    ))  # fmt: skip
    return b"\n".join(lines)


def _npz(rng: random.Random, content: bytes) -> bytes:
    try:
        with np.load(io.BytesIO(content), allow_pickle=True) as file:
            arrays = {name: file[name] for name in file.files}
        name = rng.choice(list(arrays))
    except Exception:  # noqa: BLE001 - an earlier change may have left nothing that can be read
        return changed_bytes(rng, content)
    if rng.random() < 0.15:
        return _members(rng, content)
    if rng.random() < 0.1:
        del arrays[name]
    elif rng.random() < 0.1:
        arrays[rng.choice(("a/../b", "more", "é", "x" * 300))] = arrays[name]
    else:
        arrays[name] = changed_array(rng, arrays[name])
    made = io.BytesIO()
    (np.savez_compressed if rng.random() < 0.2 else np.savez)(made, **arrays)
    return made.getvalue()


def _members(rng: random.Random, content: bytes) -> bytes:
    """Members whose bytes are changed under a right CRC, or that stand twice."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            data = old.read(name)
            if name == chosen and rng.random() < 0.9:
                head = changed_bytes(rng, data[:128])
                data = head + data[128:]
            new.writestr(
                name, data, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            )
        if rng.random() < 0.2:
            new.writestr(zipfile.ZipInfo(chosen), old.read(chosen))
    return made.getvalue()


def _npy(rng: random.Random, content: bytes) -> bytes:
    try:
        made = io.BytesIO()
        np.save(made, changed_array(rng, np.load(io.BytesIO(content), allow_pickle=True)))
        return made.getvalue()
    except Exception:  # noqa: BLE001 - as above
        return changed_bytes(rng, content)


def _safetensors(rng: random.Random, content: bytes) -> bytes:
    length = int.from_bytes(content[:8], "little")
    if length > len(content) or rng.random() < 0.15:
        wrong = rng.choice(
            (0, 1, max(length, 1) - 1, length + 1, 10**9, 2**63, 2**64 - 1, rng.getrandbits(64))
        )
        return wrong.to_bytes(8, "little") + content[8:]
    header = _json(rng, content[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _text(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    word = rng.choice([value for value in NASTY if isinstance(value, str)])
    lines[at] = rng.choice((lines[at] + b" ", b"")) + word.encode(errors="surrogatepass")
    return b"\n".join(lines)


def _parquet(rng: random.Random, content: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(io.BytesIO(content)).to_pydict()
    except Exception:  # noqa: BLE001 - as above
        return changed_bytes(rng, content)
    name = rng.choice(list(columns) or ["none"])
    values = columns.get(name, [])
    how = rng.randrange(6)
    if how == 0:
        columns.pop(name, None)
    elif how == 1:
        nasty = rng.choice(NASTY)
        columns[name] = [nasty if rng.random() < 0.5 else value for value in values]
    elif how == 2 and values:
        columns[name] = [rng.choice(NASTY)] * len(values)
    elif how == 3:
        columns = {key: column[: len(column) // 2] for key, column in columns.items()}
    elif how == 4 and values:
        columns[name] = [None, *values[1:]]
    elif values and isinstance(values[0], int | float):
        columns[name] = [value * rng.choice((-1, 1e9, 1e300, 0)) for value in values]
    made = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), made)
    except Exception:  # noqa: BLE001 - Arrow holds no such column
        return changed_bytes(rng, content)
    return made.getvalue()


_STRUCTURE: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "json": _json,
    "jsonl": _jsonl,
    "yaml": _yaml,
    "npz": _npz,
    "npy": _npy,
    "safetensors": _safetensors,
    "text": _text,
    "parquet": _parquet,
    "pth": changed_pickle,
}
