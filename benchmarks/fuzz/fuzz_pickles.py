"""How a small file of ``torch.save`` becomes a nasty one: its tensors, its pickle's operations, its members.

The members' checksums are right again afterwards: changed bytes alone never get past them.
"""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile

import numpy as np

from benchmarks.fuzz.fuzz_values import NASTY, changed_array, changed_bytes

_NUMBERS = (
    0, 1, 2, 26, 255, 257, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 200, -1, -26,
    -(1 << 62),
)  # fmt: skip
_GLOBALS = (
    b"cposix\nsystem\n", b"cbuiltins\nbytearray\n", b"cbuiltins\nset\n", b"ctorch\nFloatStorage\n",
    b"ctorch\nDoubleStorage\n", b"ctorch\nUntypedStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ccollections\nOrderedDict\n", b"ctorch\nTensor\n",
)  # fmt: skip
_OPERATIONS = (
    b"R", b"b", b"Q", b"\x81", b"\x93", b"(", b"t", b")", b"]", b"}", b"N", b"\x85", b"\x86", b"\x87", b"a",
    b"e", b"s", b"u", b"2", b"0", b"\x88", b"\x8f", b".", b"q\x00", b"q\xff", b"r\xff\xff\xff\x7f", b"h\x00",
    b"h\x05", b"j\xff\xff\xff\xff", b"\x80\x04", b"\x95" + b"\xff" * 8, b"Ptext\n", b"U\x03abc",
    b"G\x7f\xf8" + b"\0" * 6,
)  # fmt: skip
_CODE = b"cposix\nsystem\nU\x04true\x85R"


def changed_pickle(rng: random.Random, content: bytes) -> bytes:
    """A ``.pth`` file with one thing changed."""
    how = rng.random()
    if how < 0.35:
        return _tensors(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickle = next(name for name in members if name.endswith(".pkl"))
    if how < 0.8:
        members[pickle] = _pickle(rng, members[pickle])
        return _archive(members)
    return _members(rng, members, pickle)


def _archive(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return made.getvalue()


def _tensors(rng: random.Random, content: bytes) -> bytes:
    """What is stored, of whatever type, under whatever name: torch writes it as it writes all."""
    import torch

    values = dict(torch.load(io.BytesIO(content), weights_only=True))
    name = rng.choice(list(values))
    how = rng.randrange(7)
    if how == 0:
        del values[name]
    elif how == 1:
        named = rng.choice([word for word in NASTY if isinstance(word, str)])
        values[rng.choice((named, f"min.{named}", f"delta.{named}", f"min.{name}"))] = values[name]
    elif how == 2:
        values[name] = rng.choice(NASTY)
    elif how == 3:
        values[name] = values[name].expand(rng.choice((1, 2, 1 << 40)), -1)
    elif how == 4:
        values[name] = values[name].to(rng.choice((torch.float64, torch.bfloat16, torch.int64, torch.bool)))
    else:
        changed = changed_array(rng, values[name].numpy())
        values[name] = torch.from_numpy(np.ascontiguousarray(changed))
    made = io.BytesIO()
    torch.save(rng.choice((values, values, values, list(values), torch.nn.ParameterDict())), made)
    return made.getvalue()


def _pickle(rng: random.Random, content: bytes) -> bytes:
    """One operation left out, said twice, moved, put in, or with another argument."""
    if rng.random() < 0.15:
        return changed_bytes(rng, content)
    starts = [at for _, _, at in pickletools.genops(content)]
    pieces = [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]
    at = rng.randrange(len(pieces))
    how = rng.randrange(7)
    if how == 0:
        del pieces[at]
    elif how == 1:
        pieces[at] *= rng.choice((2, 100, 30_000))
    elif how == 2:
        other = rng.randrange(len(pieces))
        pieces[at], pieces[other] = pieces[other], pieces[at]
    elif how == 3:
        pieces.insert(at, rng.choice((*_OPERATIONS, *_GLOBALS, _CODE)) * rng.choice((1, 1, 1, 3, 30_000)))
    elif how == 4:
        pieces[at] = rng.choice((*_OPERATIONS, *_GLOBALS))
    else:
        numbers = [place for place, piece in enumerate(pieces) if piece[:1] in (b"K", b"M", b"J")]
        pieces[rng.choice(numbers or [at])] = _number(rng.choice(_NUMBERS))
    return b"".join(pieces)


def _number(value: int) -> bytes:
    if 0 <= value < 256:
        return struct.pack("<cB", b"K", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def _members(rng: random.Random, members: dict[str, bytes], pickle: str) -> bytes:
    """Records shorter, longer, in another order of bytes, by other names; a second pickle; bytes in front."""
    name, how = rng.choice(list(members)), rng.randrange(8)
    if how == 0:
        del members[name]
    elif how == 1:
        members[name] = members[name][: rng.randrange(len(members[name]) + 1)]
    elif how == 2:
        members[name] *= rng.choice((0, 2, 1000))
    elif how == 3:
        members[pickle.replace("data.pkl", "byteorder")] = rng.choice((b"big", b"little", b"middle", b""))
    elif how == 4:
        members[name.upper()] = members.pop(name)
    elif how == 5:
        members[
            rng.choice(("x.pkl", "archive/DATA.PKL", "other/data.pkl", "../evil", "archive/constants.pkl"))
        ] = _CODE
    elif how == 6:
        members |= {f"{name}{number}": b"" for number in range(rng.choice((1, 3000)))}
    else:
        return rng.choice((b"PK", b"x" * 1000)) + _archive(members)
    return _archive(members)
