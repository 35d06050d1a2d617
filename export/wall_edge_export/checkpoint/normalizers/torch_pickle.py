"""``normalizer_action.pth`` and ``normalizer_propri.pth``: pickles, of which nothing but tensors is taken.

Format (github.com/X-Square-Robot/wall-x 1.1, ``fsdp_trainer/checkpoint_io.py`` and
``core/action/normalizer.py``): ``torch.save`` of the ``state_dict`` of a module with the parameters
``min.<robot>`` and ``delta.<robot>``, one axis each. Upstream reads them with plain ``torch.load``, which
runs what a pickle asks for. Here a file is first looked through without being run: every name in its pickle
must be one that tensors need. Then torch's restricted reader takes it.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from wall_edge import files
from wall_edge.array_types import Floats
from wall_edge.errors import CheckpointError
from wall_edge_export.model.shapes import MAX_SLOTS

LARGEST = 4 << 20
"""Bytes: statistics of a hundred robots take some 100 kB."""
_FIX = "take the file that was saved with these weights"
_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch FloatStorage",
        "torch DoubleStorage",
        "torch HalfStorage",
        "torch BFloat16Storage",
    }
)
"""What a pickle of plain tensors names."""
_MOST_TUPLES = 20_000
"""A tensor takes six; as deep as this they could still be hashed."""
_NAMES_OTHERWISE = ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
"""Operations that call by a name which is computed, or looked up elsewhere."""


def read_pickle(path: Path) -> dict[str, Floats]:
    """The vectors in a ``.pth`` file by name, whose code never runs. Raises :class:`CheckpointError`."""
    content = files.read_bytes(path, CheckpointError, LARGEST, _FIX)
    try:
        _refuse_names(path, content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True, mmap=False)
        return dict(_vectors(path, loaded))
    except CheckpointError:
        raise
    except Exception as problem:  # noqa: BLE001 - zipfile, pickletools and torch raise whatever they meet
        what = f"{type(problem).__name__}: {files.shown(problem, 120)}"
        raise _wrong(path, f"damaged, or no file of torch.save ({what})") from None


def _refuse_names(path: Path, content: bytes) -> None:
    """Look through the pickle of a ``torch.save`` archive, whose members are small and not packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > LARGEST:
            raise _wrong(path, f"more than {LARGEST} bytes when inflated")
        pickles = [member for member in members if member.filename.endswith(".pkl")]
        if len(pickles) != 1 or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise _wrong(path, "no plain archive of torch.save with one pickle")
        _check_operations(path, archive.read(pickles[0]))


def _check_operations(path: Path, content: bytes) -> None:
    """No name but those of tensors, and no tuple that takes hours, or all of the stack, to hash as a key."""
    tuples: set[object] = set()
    tuple_on_top, count = False, 0
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name in _NAMES_OTHERWISE:
            raise _wrong(path, f"its pickle holds the operation {name}")
        if name == "GLOBAL" and argument not in _GLOBALS:
            raise _wrong(path, f"its pickle names {files.shown(str(argument).replace(' ', '.'), 80)}")
        if name.endswith("PUT"):
            (tuples.add if tuple_on_top else tuples.discard)(argument)
            continue
        tuple_on_top = "TUPLE" in name
        count += tuple_on_top
        if count > _MOST_TUPLES or (name.endswith("GET") and argument in tuples):
            raise _wrong(path, "its pickle uses a tuple twice, or very many")


def _vectors(path: Path, loaded: object) -> Iterator[tuple[str, Floats]]:
    if not isinstance(loaded, dict):
        raise _wrong(path, f"holds a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _wrong(path, f"holds {files.shown(repr(name), 60)}, a {type(value).__name__}")
        plain = value.layout == torch.strided and value.dtype.is_floating_point
        if not plain or value.ndim != 1 or not 1 <= value.numel() <= MAX_SLOTS:
            kind = f"{value.dtype} of shape {files.shown(list(value.shape), 60)}"
            raise _wrong(path, f"{files.shown(name, 60)} is {kind}")
        yield name, value.detach().double().numpy().astype(np.float64)


def _wrong(path: Path, what: str) -> CheckpointError:
    expected = f"tensors of floats by name, one axis of 1 to {MAX_SLOTS} each, and nothing else"
    return CheckpointError(f"{files.shown(path)}: {what}", expected=expected, fix=_FIX)
