"""``normalizer_action.pth`` and ``normalizer_propri.pth``: pickles, of which nothing but tensors is taken.

Format (github.com/X-Square-Robot/wall-x 1.1, ``fsdp_trainer/checkpoint_io.py`` and
``core/action/normalizer.py``): ``torch.save`` of the ``state_dict`` of a module with the parameters
``min.<robot>`` and ``delta.<robot>``, one axis each. Upstream reads them with plain ``torch.load``, which
runs what a pickle asks for. Here a file is first looked through without being run: every name in its pickle
must be one that tensors need (:mod:`~wall_edge_export.checkpoint.normalizers.torch_archive`). Then torch's
restricted reader takes what was looked at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from wall_edge import files
from wall_edge.array_types import Floats
from wall_edge.checks import MAX_SLOTS
from wall_edge.errors import CheckpointError
from wall_edge_export.checkpoint.normalizers.torch_archive import LARGEST, Suspect, plain_archive

_FIX = "take the file that was saved with these weights"


def read_pickle(path: Path) -> dict[str, Floats]:
    """The vectors in a ``.pth`` file by name, whose code never runs. Raises :class:`CheckpointError`."""
    content = files.read_bytes(path, CheckpointError, LARGEST, _FIX)
    try:
        archive = io.BytesIO(plain_archive(content))
        loaded = torch.load(archive, map_location="cpu", weights_only=True, mmap=False)
        return dict(_vectors(path, loaded))
    except CheckpointError:
        raise
    except Suspect as problem:
        raise _wrong(path, str(problem)) from None
    except Exception as problem:  # noqa: BLE001 - zipfile, pickletools and torch raise whatever they meet
        what = f"{type(problem).__name__}: {files.shown(problem, 120)}"
        raise _wrong(path, f"damaged, or no file of torch.save ({what})") from None


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
