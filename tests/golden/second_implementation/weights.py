"""safetensors by hand: eight bytes of header length, a JSON header, the tensors' bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def read(path: Path) -> dict[str, Floats]:
    """Every float32 tensor of a file, in float64; names without LeRobot's ``model.`` in front of them all."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
        first, last = entry["data_offsets"]
        values = np.frombuffer(content[start + first : start + last], dtype="<f4")
        tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    if all(name.startswith("model.") for name in tensors):
        return {name.removeprefix("model."): value for name, value in tensors.items()}
    return tensors


def write(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 tensors, sorted by name."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, value in sorted(tensors.items()):
        offsets = [at, at + value.nbytes]
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": offsets}
        at = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, value in sorted(tensors.items()):
            file.write(np.ascontiguousarray(value, dtype="<f4").tobytes())
