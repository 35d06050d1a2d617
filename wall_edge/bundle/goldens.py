"""Whether a bundle's goldens are all there: inputs and outputs of every stage, in the manifest's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wall_edge.array_types import Array
from wall_edge.bundle.actions import GoldenShape
from wall_edge.bundle.manifest import GOLDENS, Manifest
from wall_edge.errors import BundleError
from wall_edge.files import shown


def require_goldens(manifest: Manifest, goldens: Mapping[str, Array], folder: Path) -> None:
    """A stage whose golden is missing or of another shape would be a stage that nobody checked."""
    for name, (kinds, shape) in _golden_shapes(manifest).items():
        golden = goldens.get(name)
        if golden is None:
            raise unchecked_stage(folder, f"golden {name} is missing", name)
        fits = len(golden.shape) == len(shape) and all(
            size == length or (length == -1 and size > 0)
            for size, length in zip(golden.shape, shape, strict=True)
        )
        if golden.dtype.kind not in kinds or not fits:
            what = f"golden {name} is {golden.dtype} {list(golden.shape)}"
            raise unchecked_stage(folder, what, f"{list(shape)}, -1 being any size")
        if golden.dtype.kind == "f" and not np.all(np.isfinite(golden)):
            raise unchecked_stage(folder, f"golden {name} holds values that are not finite", "finite values")


def unchecked_stage(folder: Path, what: str, expected: str) -> BundleError:
    """The error of a bundle of which not every stage can be checked."""
    return BundleError(
        f"{shown(folder / GOLDENS)}: {what}: not every stage can be checked",
        expected=expected,
        fix="export the bundle again",
    )


def _golden_shapes(manifest: Manifest) -> dict[str, GoldenShape]:
    """Kinds and shapes of inputs and outputs, with -1 for the length of a prompt or of words."""
    graphs = manifest.graphs
    tail = [int(axis) for axis in graphs["prefix"].inputs["past_kv"].shape[1:]]
    rows = [int(axis) for axis in graphs["lm_head"].outputs["logits"].shape]
    images = [int(axis) for axis in graphs["vision"].outputs["image_embeds"].shape]
    shapes: dict[str, GoldenShape] = {
        f"frames.{name}": ("u", (camera.height, camera.width, 3)) for name, camera in manifest.cameras.items()
    }
    shapes |= {
        "state": ("f", (manifest.state_dof,)),
        "instruction": ("U", ()),
        "action_prompt_ids": ("i", (-1,)),
        "image_embeds": ("f", tuple(images)),
        "keys_values": ("f", (-1, *tail)),
        "text_logits": ("f", tuple(rows)),
        "subgoal_ids": ("i", (-1,)),
    }
    return shapes | manifest.actions.golden_shapes(graphs, manifest.horizon, manifest.dof)
